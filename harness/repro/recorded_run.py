# SPDX-License-Identifier: MIT
"""A recorded run as something to repeat: its machine, its operations, its seed, its verdict."""

from __future__ import annotations

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
