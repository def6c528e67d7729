# SPDX-License-Identifier: MIT
"""The result of an acceptance case: passed, failed, unknown or skipped, with what was seen and where the evidence is."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

import msgspec

from harness.acceptance.case import Case
from harness.acceptance.user_mode import heard
from harness.contract.verdict import Verdict
from harness.errors import ExitCode, GuestCrash, HarnessError
from harness.history import driver as d
from harness.history.reader import History
from harness.history.record import Agreement, Expectation
from harness.run.run import RunResult


class CaseOutcome(StrEnum):
    """The outcome of a case on a guest."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


EXIT_CODES = {
    CaseOutcome.PASSED: ExitCode.HOLDS,
    CaseOutcome.SKIPPED: ExitCode.HOLDS,
    CaseOutcome.FAILED: ExitCode.VIOLATED,
    CaseOutcome.UNKNOWN: ExitCode.UNKNOWN,
}


class CaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """One case on one guest. ``seen`` are sentences, ``why`` says why it did not pass.

    ``directory`` is the run directory, "" if nothing was run; ``exit_code`` is the run's own if its
    infrastructure failed.
    """

    number: int
    name: str
    guest: str
    outcome: CaseOutcome
    expected: str
    source: str
    seen: list[str] = []
    why: list[str] = []
    directory: str = ""
    exit_code: ExitCode = ExitCode.HOLDS


def skipped(case: Case, guest: str, why: str) -> CaseResult:
    """Return the result of a case that this guest cannot show."""
    return _result(case, guest, CaseOutcome.SKIPPED, [why])


def not_run(case: Case, guest: str, why: str) -> CaseResult:
    """Return the result of a case that was not tried, because the guest does not boot."""
    return _result(case, guest, CaseOutcome.UNKNOWN, [why])


def _result(case: Case, guest: str, outcome: CaseOutcome, why: list[str]) -> CaseResult:
    return CaseResult(
        number=case.number,
        name=case.name,
        guest=guest,
        outcome=outcome,
        expected=case.expected,
        source=case.source,
        why=why,
        exit_code=EXIT_CODES[outcome],
    )


def result_of(case: Case, guest: str, run: RunResult) -> CaseResult:
    """Return the result of a case from its run."""
    outcome, why = _outcome(case, run)
    code = EXIT_CODES[outcome]
    if outcome is CaseOutcome.UNKNOWN and run.error is not None:
        code = run.error.exit_code
    return msgspec.structs.replace(
        _result(case, guest, outcome, why),
        seen=[*seen_in(run.history), *heard(run.directory)],
        directory=str(run.directory),
        exit_code=code,
    )


def _outcome(case: Case, run: RunResult) -> tuple[CaseOutcome, list[str]]:
    verdict = run.verdict
    if verdict.verdict is Verdict.VIOLATED:
        return CaseOutcome.FAILED, verdict.reasons
    if case.ends == "crash":
        if isinstance(run.error, GuestCrash):
            return CaseOutcome.PASSED, []
        return CaseOutcome.UNKNOWN, [_said(run.error) or "the guest was to crash, and did not"]
    if run.error is not None:
        return CaseOutcome.UNKNOWN, [_said(run.error)]
    if verdict.verdict is not Verdict.HOLDS and not case.races:
        return CaseOutcome.UNKNOWN, verdict.reasons
    idle = {rule.rule for rule in verdict.rules if not rule.exercised}
    missed = [rule for rule in case.exercises if rule in idle]
    if missed:
        return CaseOutcome.UNKNOWN, [f"nothing was seen that {rule} could judge" for rule in missed]
    return CaseOutcome.PASSED, []


def _said(error: HarnessError | None) -> str:
    return error.message if error is not None else ""


def seen_in(history: History) -> list[str]:
    """Return sentences about the run: each attempt's outcome, the driver's notifications, the plan's requirements."""
    told: Counter[str] = Counter()
    sentences: list[str] = []
    existing = False
    for record in history:
        match record:
            case d.CallEnter(call="reg_sync"):
                existing = True
            case d.CallExit(call="reg_sync"):
                existing = False
            case d.SyncEnter(state=state):
                told[f"{d.STATE_NAMES.get(state, state)}{' of existing' if existing else ''}"] += 1
            case d.AsyncEnter(event="arrival", cls=cls):
                told[f"{cls} arrival"] += 1
            case Agreement(attempt=attempt, agreed=agreed, expected=expected, detail=detail, ost=ost):
                answers = ", ".join(f"({source:#x}, {status:#x})" for source, status in ost)
                word = f"went as expected: {expected}" if agreed else f"was to be {expected}: {detail}"
                sentences.append(f"{attempt} {word}; _OST {answers or 'none'}")
            case Expectation(met=False, demanded=demanded, seen=seen):
                sentences.append(f"demanded {demanded}, seen {seen}")
            case _:
                pass
    counts = ", ".join(f"{count} {what}" for what, count in sorted(told.items()))
    return [*sentences, f"the driver was told: {counts or 'nothing'}"]
