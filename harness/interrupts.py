# SPDX-License-Identifier: MIT
"""Interrupts: signals that ask this process to end, held back where a step must not be interrupted."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from harness.delicate import is_delicate, protect, send_again

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
"""The signals that end a command: a terminal that closes, Ctrl-C, Ctrl-\\, and the signal of CI systems and timeouts."""

TIMERS = (signal.SIGALRM, signal.SIGVTALRM)
"""The signals by which a test runner ends a test that takes too long."""

DEEPEST = 100
"""How many exceptions, each the cause of the one before, are followed."""

_came: list[int] = []


class Interrupted(KeyboardInterrupt):
    """A signal that asks this process to end. ``number`` is the signal's. A plain KeyboardInterrupt is SIGINT's."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number


@contextlib.contextmanager
def interruptible(*, last: bool = False) -> Iterator[list[int]]:
    """Let each of :data:`ENDING` raise :class:`Interrupted` within the block, and yield the list of received ones.

    An ignored signal stays ignored: ``nohup`` ignores SIGHUP, a shell's background job ignores Ctrl-C. On another thread than
    the main one nothing changes, because only the main thread receives signals (Python: signal). With ``last`` the process
    ends after the block, and no signal ends it before what it does then is done.

    Python prints and ignores an exception in a finalizer or in a callback of a weak reference (Python: sys.unraisablehook). A
    signal whose exception was lost there is sent again.
    """
    _came.clear()
    if threading.current_thread() is not threading.main_thread():
        yield _came
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    hook = sys.unraisablehook
    sys.unraisablehook = _lost(hook)
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield _came
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            # None means that Python did not set the handler.
            signal.signal(number, _note if last else signal.SIG_DFL if handler is None else handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if is_delicate(frame) and send_again(number):
        return
    # A terminal that closes sends SIGHUP more than once.
    again = number == signal.SIGHUP and bool(_came)
    _came.append(number)
    if not again:
        raise Interrupted(number)


def _lost(hook: Callable[[sys.UnraisableHookArgs], object]) -> Callable[[sys.UnraisableHookArgs], None]:
    """Return a hook that sends the signal of a lost interruption again, and passes all else to ``hook``."""

    def again(lost: sys.UnraisableHookArgs) -> None:
        error = lost.exc_value
        if isinstance(error, Interrupted) and error.number in _came and send_again(error.number):
            # It has not taken effect: the next one of its kind is not the second.
            _came.remove(error.number)
        else:
            hook(lost)

    return again


def interruption() -> int:
    """Return the number of the first signal, SIGINT's if none is known."""
    return _came[0] if _came else signal.SIGINT


def interrupted_by(number: int) -> str:
    """Return an interrupted command's message. Ctrl-C is not named: the user pressed it."""
    return "interrupted" if number == signal.SIGINT else f"interrupted by {signal.Signals(number).name}"


def interruption_behind(error: BaseException) -> KeyboardInterrupt | None:
    """Return the interruption that ``error`` is or has replaced, None if there is none.

    Before 3.12, Python raises RuntimeError in place of an exception within ``__set_name__``, which it calls while it
    creates a class (Python: reference/datamodel, object.__set_name__). So a signal that arrives during an import may
    become one. An error of the cleanup that an interruption began replaces the interruption, too.
    """
    one: BaseException | None = error
    for _ in range(DEEPEST):
        if one is None or isinstance(one, KeyboardInterrupt):
            return one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return None


@contextlib.contextmanager
def unreplaced_interruptions() -> Iterator[None]:
    """Raise the interruption itself if another error has replaced it: see :func:`interruption_behind`."""
    try:
        yield
    except Exception as error:
        stop = interruption_behind(error)
        if stop is None:
            raise
        raise stop from None


def settle() -> None:
    """Record signals from now on and raise nothing: the work that they would end is done."""
    for number in ENDING:
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, _note)


def unsettle() -> None:
    """Let the signals that :func:`settle` only records end the process again."""
    for number in ENDING:
        if signal.getsignal(number) is _note:
            signal.signal(number, signal.SIG_DFL)


def _note(number: int, _frame: FrameType | None) -> None:
    _came.append(number)


def answered(error: KeyboardInterrupt) -> bool:
    """Treat a Ctrl-C as the answer to a prompt that offered it, not as an interruption. Return False for other signals."""
    if getattr(error, "number", signal.SIGINT) != signal.SIGINT:
        return False
    _came.clear()
    return True


@contextlib.contextmanager
def uninterrupted(then: Callable[[], object] = lambda: None) -> Iterator[threading.Event]:
    """Hold back :data:`ENDING` and :data:`TIMERS` while the block runs. They take effect at its end.

    The signals of ENDING set the event. ``then`` is called for each signal, in its handler: it may end what the block waits for.

    Only the main thread receives signals (Python: signal); on any other this does nothing. A signal that the program ignores
    (a shell's background job ignores Ctrl-C), or that ends it at once, stays as it is. SIGHUP does not set the event: a
    terminal that closes sends it more than once, and needs no quick end.
    """
    hurry = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield hurry
        return
    came: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if number not in (signal.SIGHUP, *TIMERS):
            hurry.set()
        then()

    handlers = {int(number): signal.getsignal(number) for number in (*ENDING, *TIMERS)}
    before = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in before:
        signal.signal(number, hold)
    try:
        yield hurry
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            before[came[0]](came[0], None)


# A signal while the handlers are exchanged would lose one of them, or what the block has to do.
protect(uninterrupted.__wrapped__.__code__)  # type: ignore[attr-defined]
