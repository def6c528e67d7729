# SPDX-License-Identifier: MIT
"""A run with a session: from its request to its verdict, and to another run each time the session goes back to a
place."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Literal

import msgspec

from harness.deadline import Deadline
from harness.errors import HarnessError, UsageError
from harness.history.reader import History
from harness.history.record import Stage
from harness.history.writer import Listener
from harness.report.escape import printable
from harness.report.timeline import zero_of
from harness.repro.attachment import how_to_attach
from harness.repro.prompt import SessionLines
from harness.repro.record_tape import RecordTape
from harness.repro.recorded_run import operations_in
from harness.repro.session import Session
from harness.run.boot import Live
from harness.run.operation import Operation
from harness.run.request import RunRequest
from harness.run.run import Learnt, Run, RunResult
from harness.run.say import Say

SessionOpening = Literal["prompt", "violated"]
"""When a session begins: at once, or at the plan's first violation. Until then the plan is executed."""


class InteractiveRuns(msgspec.Struct, kw_only=True):
    """The result of a session: its runs in order, and the line that ended its script early."""

    results: list[RunResult]
    refused: UsageError | None = None


@dataclasses.dataclass(eq=False)
class InteractiveRun:
    """Boots guests for one user. ``lines`` is created when a session begins on the first guest.

    ``opening`` is ``violated`` for a watched plan: without a violation no session begins. ``steps`` operations are
    executed first. ``ready`` is called when the guest is up, before anything is printed.
    """

    request: RunRequest
    lines: Callable[[], SessionLines]
    say: Say
    _: dataclasses.KW_ONLY
    opening: SessionOpening = "prompt"
    steps: int = 0
    recorded: History | None = None
    listeners: tuple[Listener, ...] = ()
    learnt: Learnt = lambda _: None
    ready: Callable[[], None] = lambda: None
    _source: SessionLines | None = dataclasses.field(default=None, init=False)
    _places: dict[str, list[Operation]] = dataclasses.field(default_factory=dict, init=False)

    def perform(self) -> InteractiveRuns:
        """Execute the run with its sessions and return the result.

        Raises RunInterrupted after the guest has ended, and InfrastructureError as ``perform`` does.
        """
        done = InteractiveRuns(results=[])
        again: list[Operation] | None = None
        while True:
            session = self._one(done, again)
            if session is None or not session.back or done.refused is not None:
                return done
            result = done.results[-1]
            self.say(f"{result.directory}: {result.verdict.verdict.value}")
            again = self._places[session.back]

    def _one(self, done: InteractiveRuns, again: list[Operation] | None) -> Session | None:
        tape = RecordTape()
        run = Run(self.request, listeners=(*self.listeners, tape), learnt=self.learnt)
        session: Session | None = None

        def use(live: Live) -> None:
            nonlocal session
            self.ready()
            tape.take()
            session = Session(run, live, self.say, tape=tape, recorded=self.recorded, places=self._places)
            done.refused = self._converse(session, live, run, again)
            session.end()

        done.results.append(run.attempt(use))
        return session

    def _converse(
        self, session: Session, live: Live, run: Run, again: list[Operation] | None
    ) -> UsageError | None:
        if again is not None:
            session.repeat(again)
        elif self.opening == "violated":
            session.quiet = True
            within = Deadline(live.executor.budget.test, "the plan")
            if not session.advance(stop=lambda: bool(session.known_violated), within=within):
                return None
            session.speak()
        elif self.steps:
            session.advance(most=self.steps)
        self._greet(session, live, run)
        live.writer.write(Stage(name="held", phase="begin"))
        try:
            return converse(session, self._lines_now(), self.say)
        finally:
            # However the session ends, the history records that the user no longer has the guest.
            with contextlib.suppress(HarnessError):
                live.writer.write(Stage(name="held", phase="end", detail="taken back"))

    def _lines_now(self) -> SessionLines:
        if self._source is None:
            self._source = self.lines()
        return self._source

    def _greet(self, session: Session, live: Live, run: Run) -> None:
        if self._source is None and not self._lines_now().scripted:
            for line in how_to_attach(live.machine, run):
                self.say(line)
            self.say("")
            self.say(
                "The guest is yours: 'help' lists what can be typed, Tab completes; Ctrl-C ends it and judges the run."
            )
        left = len(session.plan.do) - session.place
        self.say(f"{session.place} of {len(session.plan.do)} operations of the plan, {left} left")


def converse(session: Session, lines: SessionLines, say: Say) -> UsageError | None:
    """Execute line after line until the session ends. Return the error that ended a script."""

    def show(new: list[str]) -> None:
        for line in new:
            say(line)

    while not session.over and (line := lines.next(session, show)) is not None:
        try:
            session.do(line)
        except UsageError as error:
            if lines.scripted:
                number = getattr(lines, "number", 0)
                return UsageError(f"standard input:{number}: {error.message}", hint=error.hint)
            say(printable(error.message, 600))
            for hint in error.hint.splitlines()[:3]:
                say(f"  {printable(hint, 600)}")
    show(session.lines())
    return None


def hold_here(run: Run, live: Live, lines: SessionLines, say: Say) -> Session:
    """Hold a session on the guest of a test's run, which the test continues afterwards.

    Earlier operations count as done, so they are saved too. Raises the error that ends the run.
    """
    tape = RecordTape()
    live.writer.subscribe(tape)
    history = History(run.directory.path)
    # Read after the tape listens: no add is missed between the two.
    tape.zero = zero_of(history)
    session = Session(run, live, say, tape=tape, done=operations_in(history))
    if not lines.scripted:
        say("The guest is yours: 'help' lists what can be typed, Tab completes; 'quit' continues the test.")
    session.tell_violated()
    if (refused := converse(session, lines, say)) is not None:
        say(refused.message)
    return session
