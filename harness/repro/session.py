# SPDX-License-Identifier: MIT
"""A session on a live guest: each typed line is an operation, or a command of :data:`COMMANDS`.

The plan checker checks each operation, and the executor executes it as a plan's. Everything is in the run's history.
``run.json`` has the executed operations as the run's plan, so that the run can be judged and repeated like any other.
"""

from __future__ import annotations

import bisect
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.choice import suggest
from harness.contract.checker import judge_history
from harness.contract.rules.catalogue import all_rules
from harness.contract.verdict import RunVerdict, Verdict
from harness.deadline import Deadline
from harness.errors import BadDocument, FailureClass, HarnessError, UsageError
from harness.history.reader import History
from harness.history.record import OperationProgress, Stage
from harness.machine.inspection import Inspectable
from harness.report.causes import causes
from harness.report.escape import printable
from harness.repro import saved_session
from harness.repro.attachment import how_to_attach
from harness.repro.record_tape import RecordTape, kinds_of
from harness.repro.session_commands import (
    COMMANDS,
    RECORD_KINDS,
    candidates,
    check_words,
    help_lines,
    suggested,
    unknown,
)
from harness.repro.typed_operation import KINDS, line_of, typed_operation
from harness.repro.what_happened import WhatHappened, violated_in
from harness.run.boot import Live
from harness.run.executor import too_late
from harness.run.operation import BootGuest, Operation
from harness.run.plan import Plan, checked
from harness.run.rehearsal import rehearse
from harness.run.run import Run
from harness.run.say import Say

ASK = 60.0
"""Seconds that a QMP command of the user may take, and a screenshot."""

DUMP = 600.0
"""Seconds that a dump of the guest's memory may take."""

MOST_LINES = 1000
"""The most lines of an answer of QEMU that are shown."""

TAKEN = "session"
"""The folder in the run directory for the dumps and pictures of a session."""


_PLACE = re.compile(r"^do\[\d+\] \(([a-z-]+)\)")


class Session:
    """One guest and its operations. ``say`` prints a line.

    ``done`` are the operations that were begun; ``place`` counts those of the plan. ``error`` is the first error that
    the run ends with; a refused line is not one. ``back`` is the place requested by ``restore``, which ends the
    session. ``places`` is None if no new guest can be booted. ``quiet`` hides the executed operations.
    ``known_violated`` are the rules violated after the last operation. ``recorded`` is the history of the repeated
    run, None for a new plan.
    """

    def __init__(
        self,
        run: Run,
        live: Live,
        say: Say,
        *,
        tape: RecordTape,
        recorded: History | None = None,
        places: dict[str, list[Operation]] | None = None,
        done: list[Operation] | None = None,
    ) -> None:
        self.run = run
        self.live = live
        self.plan = run.request.plan
        self.done: list[Operation] = done or []
        self.place = len(self.plan.do) if done is not None else 0
        self.error: HarnessError | None = None
        self.over = False
        self.back = ""
        self.places = places
        self.quiet = False
        self._say = say
        self._tape = tape
        self._recorded = recorded
        self._legal: list[Operation] = [*self.done]
        self._seen: set[str] = set()
        self.known_violated: set[str] = set()
        self._by_hand = 0
        live.executor.rest.tell = self._tell_wait
        self._last: list[str] = []
        self._files = 0
        self._happened = WhatHappened(run, tape, say)
        self._methods: dict[str, Callable[..., None]] = {
            "step": self._step, "continue": self._continue, "until": self._until, "plan": self._plan,
            "records": self._happened.records, "events": self._happened.events, "check": self._happened.check,
            "explain": self._happened.explain, "qmp": self._qmp, "snapshot": self._snapshot, "restore": self._restore,
            "dump": self._dump, "screenshot": self._screenshot, "save": self._save, "attach": self._attach,
            "help": lambda name="": self._say_all(help_lines(name)), "quit": self._quit,
        }  # fmt: skip

    # -- lines --------------------------------------------------------------------------------------------------

    def do(self, line: str) -> None:
        """Execute a line. An empty line, or one that begins with ``#``, does nothing.

        Raises UsageError for a line that cannot be executed, before anything is sent. An error of an operation is
        printed and kept.
        """
        try:
            name, *words = shlex.split(line, comments=True) or [""]
        except ValueError as error:
            raise UsageError(f"{printable(line)}: {error}", hint="Close the quote.") from error
        if not name:
            return
        if name in KINDS:
            self.perform(typed_operation(name, words))
            return
        if name not in COMMANDS:
            raise unknown(name)
        check_words(name, words)
        self._methods[name](*words)

    # -- operations ---------------------------------------------------------------------------------------------

    def perform(self, operation: Operation, *, planned: bool = False) -> bool:
        """Execute one operation. Return whether it succeeded. Raises UsageError if the plan checker refuses it."""
        self._check(operation)
        self._refuse_dead()
        self.done.append(operation)
        self.place += planned
        self.run.did(self.done)
        try:
            self.live.executor.step(operation)
        except HarnessError as error:
            self._show()
            self._say(f"failed: {printable(error.message, 600)}")
            if error.hint:
                self._say(f"  {printable(error.hint.splitlines()[0], 300)}")
            if error.failure_class is not FailureClass.PLAN:
                self.error = self.error or error
            return False
        self._legal.append(operation)
        self._show()
        self.tell_violated()
        return True

    def repeat(self, operations: Sequence[Operation]) -> None:
        """Repeat operations from another guest, until one fails."""
        for operation in operations:
            planned = self.plan.do[self.place : self.place + 1] == [operation]
            if not self.perform(operation, planned=planned):
                return

    def advance(
        self,
        *,
        stop: Callable[[], bool] = lambda: False,
        most: int | None = None,
        within: Deadline | None = None,
    ) -> bool:
        """Execute the plan's next operations until ``stop()`` or a failure. Return whether ``stop()`` ended it.

        Raises GuestError if the plan's time limit ``within`` has passed.
        """
        last = len(self.plan.do) if most is None else min(len(self.plan.do), self.place + most)
        while self.place < last:
            if not self.perform(self.plan.do[self.place], planned=True):
                return False
            if stop():
                return True
            if within is not None and within.expired:
                raise too_late(within, self.place, len(self.plan.do))
        return False

    def end(self) -> None:
        """Wait until nothing is under way, as at the end of a plan, or raise the error that the run ends with."""
        if self.error is not None:
            raise self.error
        self.live.executor.execute([])

    def violated(self) -> set[str]:
        """Return the rules violated so far."""
        return violated_in(self.run.judge_so_far())

    def lines(self) -> list[str]:
        """Return lines for the records since the last call."""
        taken = self._tape.take()
        for record in taken:
            self._seen |= kinds_of(record)
        return self._tape.lines(taken)

    def _show(self) -> None:
        self._last = self.lines()
        if not self.quiet:
            self._say_all(self._last)

    def _tell_wait(self, what: str) -> None:
        if not self.quiet:
            self._say(f"… {what}. Ctrl-C interrupts the run.")

    def speak(self) -> None:
        """From now on show what is executed, beginning with the last operation."""
        self.quiet = False
        self._say_all(self._last)

    def tell_violated(self) -> None:
        """Judge the history so far, and name the rules that are violated since the last call."""
        now = self.violated()
        new = [f"VIOLATED so far: {rule}   (explain {rule})" for rule in sorted(now - self.known_violated)]
        self.known_violated = now
        if self.quiet:
            self._last += new
        else:
            self._say_all(new)

    def _check(self, operation: Operation) -> None:
        """Raise UsageError if the guest's machine cannot execute ``operation`` after the earlier ones."""
        request = self.run.request
        do = [*self._legal, operation]
        if self.plan.machine.started != "running" and not any(isinstance(one, BootGuest) for one in do):
            do.append(BootGuest())
        plan = msgspec.structs.replace(self.plan, name="session", do=do)
        try:
            checked(plan, "", "session")
            rehearse(
                plan, guest=request.guest, machine=request.machine, backend=request.backend, kd=request.kd
            )
        except BadDocument as error:
            said = error.message.partition(": ")[2] or error.message
            # At a prompt the line that was typed needs no place in a plan.
            raise UsageError(_PLACE.sub(r"\1", said), hint=error.hint) from error

    def _refuse_dead(self) -> None:
        if not self.live.machine.alive():
            raise UsageError(
                "the guest has ended", hint="check, explain, records and save still work; then quit."
            )

    # -- the plan -----------------------------------------------------------------------------------------------

    def _step(self, count: str = "1") -> None:
        if not count.isdecimal() or not 0 < int(count) <= 10_000:
            raise UsageError(f"step takes a whole number from 1, got {count!r}")
        self._check_left()
        self.advance(most=int(count))
        self._tell_place()

    def _continue(self) -> None:
        self._check_left()
        self.advance()
        self._tell_place()

    def _until(self, what: str) -> None:
        rules = {rule.id for rule in all_rules()}
        if not what.isdecimal() and what not in {*rules, "violated", *RECORD_KINDS}:
            raise UsageError(
                f"until: {what!r} is not a rule, a kind of record, or the number of a record",
                hint=f"{suggested(what, [*RECORD_KINDS, 'violated', *rules])} help until says more.".strip(),
            )
        self._check_left()
        if what.isdecimal():
            last = self._operation_of(int(what))
            self.advance(most=max(0, last - self.place))
            self._say(f"Record {what} of the recorded run belongs to its operation {last}.")
        elif what in rules or what == "violated":
            wanted = rules if what == "violated" else {what}
            if known := sorted(self.known_violated & wanted):
                self._say(f"Nothing was executed. Already violated: {', '.join(known)}")
            elif not self.advance(stop=lambda: bool(self.known_violated & wanted)):
                self._say(f"until {what}: no violation so far.")
                for said in self.run.judge_so_far().rules:
                    if said.rule == what and said.verdict is Verdict.UNKNOWN:
                        self._say(f"  It is unknown so far: {printable(said.reason, 300)}")
        else:
            self._seen.discard(what)
            if not self.advance(stop=lambda: what in self._seen):
                self._say(f"No record {what!r} arrived.")
        self._tell_place()

    def _operation_of(self, record: int) -> int:
        """Return the operation of the recorded run during which a record came."""
        if self._recorded is None:
            raise UsageError("no recorded run is repeated here, so there are no record numbers")
        begun, last = [], 0
        for one in self._recorded:
            last = one.n
            if isinstance(one, OperationProgress) and one.phase == "begin":
                begun.append(one.n)
        if not 1 <= record <= last:
            raise UsageError(f"the recorded run has no record {record}: they are 1 to {last}")
        return min(bisect.bisect_right(begun, record), len(self.plan.do))

    def _check_left(self) -> None:
        if self.place >= len(self.plan.do):
            raise UsageError(
                "all operations of the plan have been executed", hint="Type an operation, save, or quit."
            )

    def _tell_place(self) -> None:
        left = len(self.plan.do) - self.place
        self._say(f"{self.place} of {len(self.plan.do)} operations of the plan, {left} left")

    def _plan(self) -> None:
        for number, operation in enumerate(self.done, 1):
            self._say(f"  {number:>3}. {line_of(operation)}")
        for number, operation in enumerate(self.plan.do[self.place :], self.place + 1):
            self._say(f"  to come {number}. {line_of(operation)}")

    def _say_all(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._say(line)

    def _attach(self) -> None:
        self._say_all(how_to_attach(self.live.machine, self.run))

    # -- the machine --------------------------------------------------------------------------------------------

    def _qmp(self, command: str, *words: str) -> None:
        self._refuse_dead()
        arguments = {}
        for word in words:
            key, equals, value = word.partition("=")
            if not equals:
                raise UsageError(
                    f"qmp: {word!r} is not key=value", hint="qmp qom-get path=/machine property=type"
                )
            try:
                arguments[key] = msgspec.json.decode(value)
            except msgspec.DecodeError:
                arguments[key] = value
        self._note(f"qmp {command} {msgspec.json.encode(arguments).decode() if arguments else ''}".rstrip())
        self._by_hand += not command.startswith("query-")
        try:
            answer = self.live.machine.execute(command, Deadline(ASK, command), **arguments)
        except HarnessError as error:
            self._say(f"failed: {printable(error.message, 600)}")
            return
        text = (
            answer if isinstance(answer, str) else msgspec.json.format(msgspec.json.encode(answer)).decode()
        )
        self._say_all(printable(line, 300) for line in text.splitlines()[:MOST_LINES])

    def _dump(self) -> None:
        file = self._file("memory", ".elf")
        self._look(lambda inspector: inspector.dump(file, Deadline(DUMP, "dump the guest's memory")), file)

    def _screenshot(self) -> None:
        if not self.live.machine.spec.screen:
            raise UsageError("the machine has no screen", hint="Start the session with --vnc.")
        stem = self._file("screen", ".png")
        self._look(lambda inspector: inspector.screenshot(stem, Deadline(ASK, "picture of the screen")), stem)

    def _look(self, act: Callable[[Any], Path | None], file: Path) -> None:
        self._refuse_dead()
        machine = self.live.machine
        if not isinstance(machine, Inspectable):
            raise UsageError("this machine is a process, and only QEMU can be inspected from outside")
        try:
            file.parent.mkdir(mode=0o700, exist_ok=True)
            written = act(machine.inspector()) or file
            self._note(f"{written.name} saved")
            self._say(f"{written}: {written.stat().st_size} bytes")
        except HarnessError as error:
            self._say(f"failed: {printable(error.message, 600)}")
        except OSError as error:
            self._say(f"failed: {file}: {error.strerror}")

    def _file(self, what: str, suffix: str) -> Path:
        self._files += 1
        return self.run.directory.path / TAKEN / f"{what}-{self._files}{suffix}"

    def _note(self, text: str) -> None:
        """Note in the history an action that is not an operation, so that readers see what was done by hand."""
        self.live.writer.write(Stage(name="session", phase="note", detail=printable(text, 500)))

    # -- going back ---------------------------------------------------------------------------------------------

    def _snapshot(self, name: str) -> None:
        self._named_places()[name] = [*self.done]
        self._note(f"place {name} after {len(self.done)} operations")
        self._say(f"{name}: after {len(self.done)} operations, which restore {name} repeats on a fresh guest")

    def _restore(self, name: str) -> None:
        places = self._named_places()
        if name not in places:
            hint = suggest(name, list(places)) if places else "snapshot NAME names the current place."
            raise UsageError(f"no place is called {name!r}", hint=hint)
        self._note(f"back to {name}, in another run")
        self.back, self.over = name, True

    def _named_places(self) -> dict[str, list[Operation]]:
        if self.places is None:
            raise UsageError(
                "the guest belongs to a test, and cannot be restarted here",
                hint="Write the operations with save test_FILE.py, and run that test.",
            )
        return self.places

    def _quit(self) -> None:
        self.over = True

    # -- saving -------------------------------------------------------------------------------------------------

    def did(self) -> Plan:
        """Return the executed operations as a plan. Raises UsageError if there are none."""
        if not self.done:
            raise UsageError(
                "no operation was executed yet", hint="step executes the plan's first operation."
            )
        return msgspec.structs.replace(self.plan, do=[*self.done])

    def _save(self, name: str) -> None:
        file = Path(name)
        plan = self.did()
        facts, request = self.run.facts, self.run.request
        of = f", which repeated run {facts.repro_of}" if facts.repro_of else f" with plan {request.plan.name}"
        origin = f"the session {facts.run}{of}"
        if file.suffix == ".toml":
            written = [saved_session.save_plan(plan, file, origin=origin)]
        elif file.suffix == ".py" and file.name.startswith("test_"):
            verdict = self.run.judge_so_far()
            first = self._broken_first(verdict)
            needed = saved_session.needed(verdict, first, History(self.run.directory.path)) or len(self.done)
            if left := len(self.done) - needed:
                plan = msgspec.structs.replace(plan, do=self.done[:needed])
                self._say(f"{first} was broken by operation {needed}; the {left} after it are left out.")
            written = saved_session.save_test(plan, file, request, verdict, origin=origin, first=first)
        else:
            raise UsageError(
                f"save: {name!r} is neither FILE.toml nor test_FILE.py",
                hint="pytest collects files whose names begin with test_.",
            )
        if self._by_hand:
            self._say(f"{self._by_hand} QMP commands are left out: a plan has no operation for them.")
        self._say_all(f"written: {one}" for one in written)
        command = saved_session.test_command if file.suffix == ".py" else saved_session.plan_command
        self._say(f"run it: {command(file, self.run.request)}")

    def _broken_first(self, verdict: RunVerdict) -> str:
        """Return the rule that a saved test is about: the recorded run's first one if it is broken here, too."""
        before = [] if self._recorded is None else causes(judge_history(self._recorded).findings)
        broken = violated_in(verdict)
        return next((one.rule for one in [*before, *causes(verdict.findings)] if one.rule in broken), "")

    def completions(self, before: str) -> list[str]:
        """Return the completions of the last word of ``before``, a line up to the cursor."""
        *earlier, last = before.split(" ")
        words = [word for word in earlier if word]
        return sorted(word for word in candidates(words, last, self.places or {}) if word.startswith(last))
