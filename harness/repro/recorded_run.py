# SPDX-License-Identifier: MIT
"""A recorded run as something to repeat: its machine, its operations, its seed, its verdict."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.config import from_plain
from harness.contract.checker import judge_history
from harness.contract.verdict import RunVerdict, Verdict
from harness.errors import BadHistory, HarnessError, UsageError
from harness.history.reader import History
from harness.history.record import OperationProgress as OperationRecord
from harness.history.run_directory import RunDirectory, RunFacts
from harness.run.operation import Operation, Settle
from harness.run.options import RunOptions, gathered, is_process
from harness.run.plan import Plan
from harness.run.request import RunRequest

MOST_OPERATIONS = 10_000
"""The most operations that are taken from a history. A plan has no more."""

RUNTIME = re.compile(r"[^,=:\s]*/hotplug-[0-9a-f]{16}")
"""The runtime directory in an argument. Its name is different for every machine."""


HUMAN = ("socket,id=human,", "chardev=human,")
"""The prefixes of the arguments of a second monitor (:mod:`harness.machine.devices`)."""


class RepeatableRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``plan`` is the plan that it executed. For a run driven by a test, it is taken from the history."""

    directory: Path
    facts: RunFacts
    plan: Plan
    verdict: RunVerdict

    @classmethod
    def read(cls, directory: Path) -> RepeatableRun:
        """Read the run in ``directory``. Raises BadHistory, or UsageError with the reason why it cannot be
        repeated."""
        facts = RunDirectory(directory).facts()
        try:
            plan = from_plain(facts.plan, Plan)
        except msgspec.ValidationError as error:
            raise UsageError(
                f"{directory} cannot be repeated: its plan is invalid: {error}",
                hint="The run was made by another version of the harness, or its files were changed.",
            ) from error
        history = History(directory)
        return cls(
            directory=directory,
            facts=facts,
            plan=_done(plan, history),
            verdict=judge_history(history),
        )

    def request(
        self, options: Mapping[str, Any], *, cache: Path, argv: list[str], anyway: bool = False
    ) -> RunRequest:
        """Return a request for the same machine, plan and seed. ``options`` override the run's own.

        ``anyway`` takes the QEMU on PATH if the run's no longer exists. Raises UsageError for anything else that no
        longer exists.
        """
        facts = self.facts
        asked: dict[str, Any] = {}
        for name, kind in typing.get_type_hints(RunOptions).items():
            # The recorded run's monitor does not apply to its repetition.
            if name in facts.request and name != "monitor":
                try:
                    asked[name] = from_plain(facts.request[name], kind)
                except (msgspec.ValidationError, UsageError) as error:
                    raise UsageError(f"{self.directory}: run.json has an invalid {name}: {error}") from error
        asked |= {"guest": facts.guest, "inject_fault": facts.fault, "seed": facts.seed}
        if not is_process(facts.guest):
            asked["accelerator"] = facts.accelerator or "auto"
            asked["qemu"] = facts.qemu if Path(facts.qemu).exists() or not anyway else ""
            asked["machine"] = facts.machine or "q35"
            asked["firmware"] = facts.firmware
            asked["backend"] = facts.backend or "qemu"
        return RunRequest(
            **gathered(options, asked),
            plan=self.plan,
            cache=cache,
            argv=argv,
            repro_of=facts.run,
        )


def operations_in(history: History) -> list[Operation]:
    """Return the operations that a history records as begun. Raises BadHistory for an unknown one."""
    done: list[Operation] = []
    try:
        for record in history:
            if isinstance(record, OperationRecord) and record.phase == "begin":
                done.append(from_plain({"op": record.name, **record.arguments}, Operation))
                if len(done) > MOST_OPERATIONS:
                    break
    except (msgspec.ValidationError, TypeError) as error:
        raise BadHistory(f"{history.path}: an operation that this harness does not know: {error}") from error
    return done


def _done(plan: Plan, history: History) -> Plan:
    """Return the plan with the same operations as the history.

    It is the run's own plan, unless a test drove the guest: then only the history has the operations. The executor's
    own last ``settle`` does not count.
    """
    done = operations_in(history)
    if done == plan.do[: len(done)] or done == [*plan.do, Settle()]:
        return plan
    if done[-1] == Settle():
        done.pop()
    return msgspec.structs.replace(plan, do=done or plan.do)


REFUSED = (
    ("image_digest", "the guest's image"),
    ("image", "the guest's system"),
    ("driver", "the driver"),
    ("qemu_version", "QEMU"),
    ("accelerator", "the accelerator"),
)
"""Facts that make it a different machine if they differ, with their names in messages."""

OF_THE_HOST = (
    ("system", "the host's system"),
    ("processor", "the host's processor"),
    ("cpus", "the number of the host's processors"),
)
"""The same for :attr:`RunFacts.host`."""


class Differences:
    """Compares the facts of a new run with those of the recorded one, as soon as they are known.

    It is called with the new run's facts, and sets ``differs`` in them. A fact that makes it a different machine
    raises UsageError with the whole list, before QEMU starts. With ``anyway`` it is only noted. ``notes`` describes
    all differences.
    """

    def __init__(self, old: RunFacts, *, anyway: bool) -> None:
        self.notes: list[str] = []
        self._old = old
        self._anyway = anyway
        self._told: set[str] = set()
        self._refused: list[str] = []

    def __call__(self, new: RunFacts) -> None:
        """Compare the facts known so far. Raises UsageError if they differ and all facts about the machine are
        known."""
        old = self._old
        if old.harness != new.harness:
            self._note("harness", f"the harness's version is {new.harness}; it was {old.harness}")
        for name, what in REFUSED:
            self._differ(name, what, getattr(old, name), getattr(new, name))
        for name, what in OF_THE_HOST:
            self._differ(name, what, old.host.get(name, ""), new.host.get(name, ""))
        before, now = old.libvirt.get("libvirt", ""), new.libvirt.get("libvirt", "")
        self._differ("libvirt", "libvirt", before, now)
        if old.qemu_argv and new.qemu_argv and not new.libvirt:
            self._compare(normal(old), normal(new))
        new.differs = [*self.notes]
        if self._refused and not self._anyway and _begins(new):
            raise UsageError(
                f"this machine would differ from that of run {old.run}: {'; '.join(self._refused)}",
                hint="--anyway continues despite the differences.",
            )

    def lines(self) -> list[str]:
        """Return what differs, a line each."""
        return [f"Different from the recorded run: {note}" for note in self.notes]

    def _differ(self, key: str, what: str, before: str, now: str) -> None:
        if before and now and before != now and key not in self._told:
            text = f"{what} differs: {_short(now)}, it was {_short(before)}"
            self._refused.append(text)
            self._note(key, text)

    def _compare(self, before: list[str], now: list[str]) -> None:
        gone = [word for word in before if word not in now]
        come = [word for word in now if word not in before]
        if gone or come:
            self._note(
                "argv", f"QEMU's command differs: without {gone or 'nothing'}, with {come or 'nothing'}"
            )

    def _note(self, key: str, text: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self.notes.append(text)


def _begins(facts: RunFacts) -> bool:
    """Return whether all facts are known that can be known before the guest's machine starts."""
    return bool(facts.image_digest) and (
        is_process(facts.guest) or bool(facts.accelerator and facts.qemu_version)
    )


def normal(facts: RunFacts) -> list[str]:
    """Return QEMU's arguments without the parts that differ between runs: its directory, its sockets' place, its name.

    A second monitor is left out too.
    """
    run = re.compile(rf"[^,=:\s]*/{re.escape(facts.run)}(?![\w-])")
    return [
        RUNTIME.sub("RUNTIME", run.sub("RUN", word)).replace(facts.run, "NAME")
        for word in facts.qemu_argv[1:]
        if not word.startswith(HUMAN)
    ]


def _short(text: str) -> str:
    return text[:12] if re.fullmatch(r"[0-9a-f]{40,}", text) else text[:80]


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a run as far as two runs of one plan can agree: verdict, failure class and violated rules."""

    verdict: str
    failure_class: str
    violated: list[str]

    @classmethod
    def of(cls, verdict: RunVerdict, error: HarnessError | None = None) -> Signature:
        """Return the result of a verdict. ``error`` is what ended the run, if the history does not record it."""
        return cls(
            verdict=verdict.verdict.value,
            failure_class=verdict.failure_class or (str(error.failure_class) if error else ""),
            violated=sorted(
                rule.rule
                for rule in verdict.rules
                if rule.verdict is Verdict.VIOLATED and rule.level.value in DECIDE
            ),
        )

    def __str__(self) -> str:
        why = ", ".join(self.violated) or self.failure_class
        return f"{self.verdict} ({why})" if why else self.verdict


DECIDE = ("error", "error(driver)", "error(harness)")
"""Levels of rules that make a run violated."""
