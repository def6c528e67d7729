# SPDX-License-Identifier: MIT
"""Derives the findings of an acceptance from the histories of its runs, the template's build and its
promises."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

import harness
from harness.acceptance.findings import (
    FindingLine,
    Findings,
    GuestIdentity,
    QuestionValue,
    Showing,
    Status,
)
from harness.acceptance.open_questions import EDITIONS, OPEN_QUESTIONS, REPORTED, answering
from harness.acceptance.result import CaseResult
from harness.acceptance.windows_statements import (
    Shown,
    Statement,
    StatementEvidence,
    in_build,
    in_run,
    statements,
)
from harness.contract.observe import rule_and_part
from harness.contract.rules.catalogue import all_rules
from harness.contract.rules.rule import Rule
from harness.contract.showing import ShownVerdict
from harness.contract.verdict import Level, Verdict
from harness.errors import HarnessError, UsageError
from harness.history.record import Add, Agreement, GuestEvent, Record
from harness.history.run_directory import RunDirectory
from harness.report.verdict_text import guest_label
from harness.run.judging import open_history
from harness.template.promise import PromiseFinding, promised
from harness.template.store import BuiltTemplate

LEVELS = (Level.ERROR, Level.ERROR_DRIVER, Level.WARN)
"""Levels of rules that repeat pages. Gates and policies are about the evidence and the harness."""

MOST_VALUES = 16
"""Maximum number of values of one question."""

LONGEST = 400
"""Maximum characters of text from a guest."""

VISIT = "template verify"


class _Run(NamedTuple):
    """One case's run: its name, what its history shows, and its records of the host."""

    case: str
    shown: ShownVerdict
    statements: dict[str, StatementEvidence]
    system: str
    outcomes: list[tuple[int, str]]
    reports: list[tuple[int, str]]
    made_of: tuple[str, str]


def findings_of(
    results: Sequence[CaseResult],
    guest: str,
    *,
    built: BuiltTemplate | None = None,
    promises: Sequence[PromiseFinding] = (),
    unproved: str = "",
) -> Findings:
    """Return the findings of the runs of ``results`` for each line.

    ``built`` is the guest's template, None for a guest without one. ``promises`` are the results of its
    check, and ``unproved`` says why there was none. An unreadable run contributes nothing.
    """
    runs = list(_read(results))
    windows = built is not None and guest.startswith("windows")
    lines = Findings(
        about=_identity(guest, runs, built, windows=windows),
        cases={_name(one): str(one.outcome) for one in results},
        rules=[_rule(rule, runs) for rule in all_rules() if rule.level in LEVELS],
        questions=[_question(name, text, runs) for name, text in OPEN_QUESTIONS.items()],
        statements=_statements(built, runs) if built is not None else [],
        promises=_promises(built, promises, unproved) if built is not None else [],
    )
    return lines if windows else _of_no_windows(lines)


def _name(result: CaseResult) -> str:
    return f"{result.number:02}-{result.name}"


def _read(results: Sequence[CaseResult]) -> Iterator[_Run]:
    for one in results:
        with contextlib.suppress(HarnessError, OSError):
            if one.directory:
                yield _read_run(_name(one), Path(one.directory))


def _read_run(case: str, directory: Path) -> _Run:
    shown = ShownVerdict(open_history(directory))
    records = list(_of_interest(open_history(directory)))
    return _Run(
        case=case,
        shown=shown,
        statements=in_run(open_history(directory)),
        system=next((one.detail for one in records if isinstance(one, GuestEvent)), ""),
        outcomes=list(_outcomes(records)),
        reports=list(_reports(records)),
        made_of=_made_of(directory),
    )


def _made_of(directory: Path) -> tuple[str, str]:
    """Return the version of QEMU and the accelerator of a run, "" for unknown values."""
    with contextlib.suppress(UsageError):
        facts = RunDirectory(directory).facts()
        return facts.qemu_version, facts.accelerator
    return "", ""


def _of_interest(records: Iterable[Record]) -> Iterator[Record]:
    for record in records:
        if isinstance(record, Add | Agreement) or (
            isinstance(record, GuestEvent) and record.event == "windows"
        ):
            yield record


def _outcomes(records: Iterable[Record]) -> Iterator[tuple[int, str]]:
    """Yield the results of adding processors to the running guest, if the three sources agree."""
    processors = set()
    for record in records:
        if isinstance(record, Add) and record.what == "cpu":
            processors.add(record.attempt)
        elif isinstance(record, Agreement) and record.agreed and record.attempt in processors:
            if record.expected == "added":
                yield record.n, "a processor is taken while it runs"
            elif record.expected == "ignored":
                yield record.n, "a processor is not taken while it runs"


def _reports(records: Iterable[Record]) -> Iterator[tuple[int, str]]:
    for record in records:
        if isinstance(record, Agreement) and record.ost:
            answers = ", ".join(f"({source:#x}, {status:#x})" for source, status in record.ost)
            yield record.n, f"{record.expected}: {answers}"


def _identity(guest: str, runs: list[_Run], built: BuiltTemplate | None, *, windows: bool) -> GuestIdentity:
    manifest = built.manifest if built is not None else None
    return GuestIdentity(
        guest=guest,
        windows=windows,
        worth=guest_label(guest),
        system=_joined(run.system for run in runs),
        edition=f"{manifest.edition}: {manifest.image}" if manifest else "",
        build=manifest.facts.get("build", "") if manifest else "",
        digest=built.digest() if built is not None else "",
        qemu=_joined(run.made_of[0] for run in runs),
        accelerator=_joined(run.made_of[1] for run in runs),
        harness=harness.__version__,
    )


def _joined(words: Iterable[str]) -> str:
    return ", ".join(sorted({word[:LONGEST] for word in words} - {""}))


def _rule(rule: Rule, runs: list[_Run]) -> FindingLine:
    status, shown, why = Status.OPEN, None, ""
    for run in runs:
        (said,) = [one for one in run.shown.verdict.rules if one.rule == rule.id]
        if said.verdict is Verdict.VIOLATED:
            words = said.reason[:LONGEST]
            shown = Showing(run=run.case, records=[*run.shown.broken(rule.id)], words=words)
            status = Status.REFUTED
            break
        if said.verdict is Verdict.HOLDS and rule.id in run.shown.kept and shown is None:
            status, shown = Status.CONFIRMED, Showing(run=run.case, records=[run.shown.kept[rule.id]])
        elif said.verdict is Verdict.UNKNOWN and not why:
            why = f"unknown in {run.case}: {said.reason}"[:LONGEST]
    why = "" if shown is not None else why or "nothing was seen that it could judge"
    return FindingLine(
        id=rule.id,
        says=rule.says,
        level=str(rule.level),
        source=rule.source,
        status=status,
        shown=shown,
        why=why,
    )


def _question(name: str, text: str, runs: list[_Run]) -> FindingLine:
    answers: dict[tuple[str, str], QuestionValue] = {}
    for run in runs:
        for rule, value, record in _values(name, run):
            if (rule, value) not in answers and len(answers) < MOST_VALUES:
                shown = Showing(run=run.case, records=[record])
                answers[rule, value] = QuestionValue(rule=rule, value=value, shown=shown)
    return FindingLine(
        id=name,
        says=text,
        source="docs/contract.md",
        status=Status.ANSWERED if answers else Status.OPEN,
        why="" if answers else "nothing was seen that answers it",
        answers=[answers[key] for key in sorted(answers)],
    )


def _values(name: str, run: _Run) -> Iterator[tuple[str, str, int]]:
    """Yield the rule, the value and the record of each observation of one run about a question."""
    for rule in answering(name):
        if rule.level is Level.OBSERVE:
            for question, values in run.shown.seen.items():
                if rule_and_part(question)[0] == rule.id:
                    for value, record in values.items():
                        yield question, value[:LONGEST], record
            continue
        (said,) = [one for one in run.shown.verdict.rules if one.rule == rule.id]
        if said.verdict is Verdict.HOLDS and rule.id in run.shown.kept:
            yield rule.id, f"yes: {rule.says}", run.shown.kept[rule.id]
        elif said.verdict is Verdict.VIOLATED:
            for record in run.shown.broken(rule.id)[:1]:
                yield rule.id, f"no: {said.reason}"[:LONGEST], record
    for record, value in run.outcomes if name in EDITIONS else run.reports if name == REPORTED else ():
        yield "", value, record


def _statements(built: BuiltTemplate, runs: list[_Run]) -> list[FindingLine]:
    shown: dict[str, tuple[str, StatementEvidence]] = {}
    for name, found in in_build(built).items():
        shown[name] = (found.place, found.evidence)
    for run in runs:
        for name, evidence in run.statements.items():
            known = shown.get(name)
            if known is None or (known[1].shown is Shown.TRUE and evidence.shown is Shown.FALSE):
                shown[name] = (run.case, evidence)
    return [_statement(one, shown.get(one.id)) for one in statements(built.template())]


def _statement(statement: Statement, shown: tuple[str, StatementEvidence] | None) -> FindingLine:
    line = FindingLine(
        id=statement.id,
        says=statement.says,
        source=statement.page,
        status=Status.OPEN,
        why="nothing was seen of it",
    )
    if shown is None:
        return line
    place, evidence = shown
    return msgspec.structs.replace(
        line,
        status=Status.CONFIRMED if evidence.shown is Shown.TRUE else Status.REFUTED,
        why="",
        shown=Showing(run=place, records=[evidence.record], words=evidence.words[:LONGEST]),
    )


def _promises(built: BuiltTemplate, found: Sequence[PromiseFinding], unproved: str) -> list[FindingLine]:
    known = {(one.name, one.says): one for one in found}
    lines = []
    for name, says in promised(built.manifest):
        one = known.get((name, says))
        lines.append(
            FindingLine(
                id=name,
                says=says,
                source="docs/templates.md",
                status=Status.OPEN if one is None else Status.CONFIRMED if one.kept else Status.REFUTED,
                why=(unproved or "not checked")[:LONGEST] if one is None else "",
                shown=Showing(run=VISIT, words=one.seen[:LONGEST]) if one is not None else None,
            )
        )
    return lines


def _of_no_windows(found: Findings) -> Findings:
    """Return the findings of a guest other than Windows: every line is open, and says what this guest showed."""
    guest = found.about.guest

    def opened(line: FindingLine) -> FindingLine:
        showed = f"; on {guest} it is {line.status}" if line.status is not Status.OPEN else ""
        why = f"{guest} is not Windows{showed or f': {line.why}'}"
        return msgspec.structs.replace(line, status=Status.OPEN, why=why)

    kinds = {name: [opened(line) for line in getattr(found, name)] for name in ("rules", "questions")}
    return msgspec.structs.replace(found, **kinds)
