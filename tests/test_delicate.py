# SPDX-License-Identifier: MIT
"""A signal at any moment of delicate code takes effect right after it, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import gc
import itertools
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FrameType
from typing import Any, Self

from harness import interrupts
from harness.deadline import Deadline
from harness.interrupts import ENDING, Interrupted, interruptible, uninterrupted


class Strike:
    """Calls the handler of a signal between two bytecodes of some code, at the ``moment``-th of them, as Python does.

    Code that has the local variable ``until`` has its delicate part behind it.
    """

    def __init__(self, moment: int, codes: Sequence[CodeType], until: str) -> None:
        self.moment = moment
        self.came = False
        self._codes = codes
        self._until = until

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        if sys.version_info < (3, 12):
            sys.settrace(self._call)
        else:
            # With settrace, Python 3.13 leaves opcodes out of the first calls of a function.
            sys.monitoring.use_tool_id(sys.monitoring.DEBUGGER_ID, "strike")
            sys.monitoring.register_callback(
                sys.monitoring.DEBUGGER_ID, sys.monitoring.events.INSTRUCTION, self._instruction
            )
            self._watch(sys.monitoring.events.INSTRUCTION)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        if sys.version_info >= (3, 12):
            sys.monitoring.free_tool_id(sys.monitoring.DEBUGGER_ID)

    def _stop(self) -> None:
        if sys.version_info < (3, 12):
            sys.settrace(None)
        else:
            self._watch(sys.monitoring.events.NO_EVENTS)

    def _watch(self, events: int) -> None:
        if sys.version_info >= (3, 12):
            for code in self._codes:
                sys.monitoring.set_local_events(sys.monitoring.DEBUGGER_ID, code, events)

    def _instruction(self, _code: CodeType, _offset: int) -> None:
        if threading.get_ident() == self._thread:
            self._step(sys._getframe(1), "opcode", None)

    def be_interrupted(self) -> None:
        """Wait for the signal, which comes from another thread, if it is on its way."""
        if self.came:
            Deadline(20, "the signal").poll(lambda: False)

    def _call(self, frame: FrameType, _event: str, _argument: object) -> Callable[..., Any] | None:
        if frame.f_code not in self._codes:
            return None
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        if event == "opcode" and self._until not in frame.f_locals:
            self.moment -= 1
            if not self.moment:
                self._stop()
                self.came = True
                interrupts._interrupt(signal.SIGTERM, frame)
        return self._step


def struck(act: Callable[[Strike], None], *codes: CodeType, until: str = "") -> Iterator[int]:
    """Do something again and again, each time with a signal at another moment of its delicate code. Yield after each."""
    for moment in itertools.count(1):
        with interruptible(), Strike(moment, codes, until) as strike:
            try:
                act(strike)
            except Interrupted:
                assert strike.came
            else:
                # There are no more moments, and no signal is lost.
                assert not strike.came
                assert moment > 10
                return
        yield moment


def is_free(lock: Any) -> bool:
    """Return whether another thread can have the lock."""
    had = []

    def take() -> None:
        if had_now := lock.acquire(blocking=False):
            lock.release()
        had.append(had_now)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return bool(had[0])


def test_a_condition_is_given_back() -> None:
    """The block is entered, and its end releases the lock."""
    lock = threading.RLock()
    condition = threading.Condition(lock)
    entered = []

    def act(strike: Strike) -> None:
        with condition:
            entered.append(True)
        strike.be_interrupted()

    for moment in struck(act, threading.Condition.__enter__.__code__, threading.Condition.__exit__.__code__):
        assert len(entered) == moment
        assert is_free(lock)


def test_a_wait_takes_its_condition_again() -> None:
    """Also if the signal comes between the release of the lock and its note: the end of the block finds it taken."""
    lock = threading.RLock()
    condition = threading.Condition(lock)

    def act(strike: Strike) -> None:
        with condition:
            condition.wait(0.2)
        strike.be_interrupted()

    for _ in struck(act, threading.Condition.wait.__code__, until="gotit"):
        assert is_free(lock)


def test_a_callback_of_the_garbage_collector_loses_no_signal() -> None:
    """Python ignores what such a callback raises, whichever generation is searched. The youngest is searched fastest."""
    phases: list[str] = []

    def callback(phase: str, info: dict[str, int]) -> None:
        phases.append(f"{phase} of generation {info['generation']}")

    def act(strike: Strike) -> None:
        phases.clear()
        gc.collect(0)
        strike.be_interrupted()

    gc.callbacks.append(callback)
    try:
        for _ in struck(act, callback.__code__):
            assert "stop of generation 0" in phases
    finally:
        gc.callbacks.remove(callback)


@contextlib.contextmanager
def noted(notes: list[str]) -> Iterator[None]:
    """A context that says whether it was left."""
    notes.append("entered")
    try:
        yield
    finally:
        notes.append("left")


def test_what_a_stack_has_entered_is_left() -> None:
    """Wherever in the stack's code or in the context's the signal comes."""
    notes: list[str] = []

    def act(strike: Strike) -> None:
        notes.clear()
        with contextlib.ExitStack() as stack:
            stack.enter_context(noted(notes))
        strike.be_interrupted()

    codes = (
        contextlib.ExitStack.enter_context.__code__,
        contextlib.ExitStack.__exit__.__code__,
        contextlib._GeneratorContextManager.__enter__.__code__,
        contextlib._GeneratorContextManager.__exit__.__code__,
    )
    for _ in struck(act, *codes):
        assert notes == ["entered", "left"]


def test_a_block_that_holds_signals_back_is_reached() -> None:
    """A signal while the handlers are exchanged loses neither the block nor a handler."""
    notes: list[str] = []
    during = []

    def act(strike: Strike) -> None:
        notes.clear()
        with uninterrupted():
            notes.append("ended")
        during.append([signal.getsignal(number) for number in ENDING])
        strike.be_interrupted()

    before = [signal.getsignal(number) for number in ENDING]
    for _ in struck(act, uninterrupted.__wrapped__.__code__):  # type: ignore[attr-defined]
        assert notes == ["ended"]
        assert [interrupts._interrupt] * len(ENDING) == during.pop()
        assert before == [signal.getsignal(number) for number in ENDING]
