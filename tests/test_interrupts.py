# SPDX-License-Identifier: MIT
"""What must not be cut short is not, and what was held back takes effect afterwards."""

from __future__ import annotations

import signal
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest

from harness.interrupts import (
    ENDING,
    TIMERS,
    Interrupted,
    answered,
    interruptible,
    interruption_behind,
    settle,
    uninterrupted,
    unreplaced_interruptions,
    unsettle,
)

HASTY = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The signals raise KeyboardInterrupt, as in ``harness run``, and are as before when the test ends."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in HASTY}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", HASTY)
def test_held_back_until_the_block_is_left(number: signal.Signals) -> None:
    """The block hears of it and comes to its end; then it takes effect, once."""
    reached = []

    def act() -> None:
        with uninterrupted() as hurry:
            signal.raise_signal(number)
            signal.raise_signal(number)
            reached.append(hurry.is_set())

    with pytest.raises(KeyboardInterrupt):
        act()
    assert [True] == reached


def test_nested() -> None:
    """What an inner block held back is held back by the outer one too."""
    reached = []

    def act() -> None:
        with uninterrupted() as outer:
            with uninterrupted() as inner:
                signal.raise_signal(signal.SIGTERM)
            reached.extend([inner.is_set(), outer.is_set()])

    with pytest.raises(KeyboardInterrupt):
        act()
    assert [True, True] == reached


def test_what_is_ignored_stays_ignored() -> None:
    """A job in the background ignores Ctrl-C, and still ends on SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted() as hurry:
        signal.raise_signal(signal.SIGINT)
        assert not hurry.is_set()
    with pytest.raises(KeyboardInterrupt):
        _terminated()
    assert signal.SIG_IGN == signal.getsignal(signal.SIGINT)


def _terminated() -> None:
    with uninterrupted() as hurry:
        signal.raise_signal(signal.SIGTERM)
        assert hurry.is_set()


def test_other_threads_receive_no_signals() -> None:
    """On another thread nothing is changed."""
    seen = []

    def look() -> None:
        with uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert [signal.default_int_handler] == seen


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_is_raised_and_noted(number: signal.Signals) -> None:
    """Each has its number, and the handlers are as before when the block is left."""
    before = {each: signal.getsignal(each) for each in ENDING}
    with interruptible() as came:
        with pytest.raises(Interrupted) as raised:
            signal.raise_signal(number)
        assert (number, [number]) == (raised.value.number, came)
    assert before == {each: signal.getsignal(each) for each in ENDING}


class Ends:
    """An object whose end a signal interrupts: Python ignores the exceptions of a finalizer."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_in_a_finalizer_is_not_lost(number: signal.Signals) -> None:
    """Python ignores the exception there (Python: sys.unraisablehook), so the signal comes again, and counts once."""
    received: list[int] = []

    def act() -> None:
        with interruptible() as came:
            try:
                Ends(number)
                threading.Event().wait(30)
            finally:
                received.extend(came)

    with pytest.raises(Interrupted) as told:
        act()
    assert (number, [number]) == (told.value.number, received)


def test_a_signal_in_the_callback_of_a_weak_reference_is_not_lost() -> None:
    """Hypothesis and ast drop weakly referenced objects while plans are generated: the exploration has to end."""

    def act() -> None:
        one = threading.Event()
        watched = weakref.ref(one, lambda _: signal.raise_signal(signal.SIGTERM))
        with interruptible():
            del one
            threading.Event().wait(30)
            assert watched() is None, "the interruption has to come first"

    with pytest.raises(Interrupted):
        act()


def test_an_ignored_exception_of_another_kind_is_still_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an interruption is sent again; the rest is for the hook that was there, which is there again afterwards."""
    reported: list[sys.UnraisableHookArgs] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    hook = sys.unraisablehook
    one = threading.Event()
    with interruptible() as came:
        watched = weakref.ref(one, lambda _: [][0])
        del one
    assert (["IndexError"], []) == ([kind.exc_type.__name__ for kind in reported], came)
    assert (None, hook) == (watched(), sys.unraisablehook)


def test_a_terminal_that_closes_is_in_no_hurry() -> None:
    """SIGHUP comes from the kernel and from the shell: held back it cuts nothing short, and the second raises nothing."""
    with interruptible() as came:
        with pytest.raises(Interrupted):
            _hung_up_twice()
        signal.raise_signal(signal.SIGHUP)
        assert {signal.SIGHUP} == set(came)


def _hung_up_twice() -> None:
    with uninterrupted() as hurry:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert not hurry.is_set()


def test_a_signal_after_the_end_is_noted_and_raises_nothing() -> None:
    """The exit code may still become the signal's."""
    with interruptible() as came:
        settle()
        signal.raise_signal(signal.SIGTERM)
        assert [signal.SIGTERM] == came


def test_a_signal_after_the_last_block_is_noted() -> None:
    """The process does what remains to be done; where it goes on, signals end it again."""
    with interruptible(last=True) as came:
        pass
    signal.raise_signal(signal.SIGTERM)
    assert [signal.SIGTERM] == came
    unsettle()
    assert {signal.getsignal(number) for number in HASTY} == {signal.SIG_DFL}


def test_ctrl_c_may_be_the_answer_to_a_prompt() -> None:
    """Then it interrupts nothing; another signal is no answer."""
    with interruptible() as came:
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        assert (True, []) == (answered(Interrupted(signal.SIGINT)), came)
        assert (True, False) == (answered(KeyboardInterrupt()), answered(Interrupted(signal.SIGTERM)))


def test_what_is_ignored_interrupts_nothing() -> None:
    """A run under nohup goes on when its terminal closes."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible() as came:
            signal.raise_signal(signal.SIGHUP)
            assert ([], signal.SIG_IGN) == (came, signal.getsignal(signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", TIMERS)
def test_a_test_s_timeout_is_held_back_and_in_no_hurry(number: signal.Signals) -> None:
    """What ends a guest is not cut by the time of a test, which takes effect afterwards."""
    reached = []

    def late(_number: int, _frame: object) -> None:
        raise TimeoutError

    def act() -> None:
        with uninterrupted() as hurry:
            signal.raise_signal(number)
            reached.append(hurry.is_set())

    before = signal.signal(number, late)
    try:
        with pytest.raises(TimeoutError):
            act()
    finally:
        signal.signal(number, before)
    assert [False] == reached


class SignalledField:
    """A descriptor during whose naming a signal arrives."""

    def __set_name__(self, owner: type, name: str) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_an_interruption_while_a_class_is_created_is_one() -> None:
    """Python 3.11 raises RuntimeError in place of what ``__set_name__`` raised."""
    with interruptible() as came, pytest.raises(Interrupted), unreplaced_interruptions():
        type("Created", (), {"field": SignalledField()})
    assert came == [signal.SIGTERM]


def test_an_interruption_that_an_error_of_the_cleanup_replaced_is_one() -> None:
    """The context of an error shows it, unless the code says that it is no cause."""
    stop = Interrupted(signal.SIGHUP)

    def fail(*, unrelated: bool) -> None:
        try:
            raise stop
        except KeyboardInterrupt:
            if unrelated:
                raise OSError("disk full") from None
            raise OSError("disk full")  # noqa: B904  the context is the matter

    with pytest.raises(Interrupted), unreplaced_interruptions():
        fail(unrelated=False)
    with pytest.raises(OSError, match="disk full"), unreplaced_interruptions():
        fail(unrelated=True)


def test_an_error_without_an_interruption_stays_itself() -> None:
    """Neither a circle of causes nor an ordinary chain has one."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert interruption_behind(first) is None
    with pytest.raises(ValueError, match="first"), unreplaced_interruptions():
        raise ValueError("first")
