# SPDX-License-Identifier: MIT
"""The document of a report: everything that its page shows, as data. Nothing is judged here, and every text is printable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from harness import __version__
from harness.contract.explanation import MISSING, describe, reproduction, steps
from harness.contract.observe import question, rule_and_part
from harness.contract.rules.catalogue import find
from harness.contract.verdict import Finding, RunVerdict, Verdict, Witness
from harness.errors import UsageError
from harness.history import driver as d
from harness.history import record as r
from harness.history.absent import AbsentFields, ReadableRecords
from harness.history.reader import History
from harness.history.run_directory import RunDirectory, lasting
from harness.invocation import invocation
from harness.report.causes import following, ordered
from harness.report.escape import printable
from harness.report.operations import Operations
from harness.report.page import lanes
from harness.report.page.beside import BesideRecords
from harness.report.page.counted import CountedRecords
from harness.report.page.fault import at_fault
from harness.report.page.kept import LIMIT, KeptRecords
from harness.report.page.made_of import digests, environment, facts_of
from harness.report.page.picture import REASONS, Picture
from harness.report.page.placement import Placement
from harness.report.page.record_columns import RecordColumns, RecordRow
from harness.report.page.telling import telling
from harness.report.rule_text import pages
from harness.report.run_summary import Failure, coverage_line, verdict_sentence
from harness.report.sentence import lane as speaker
from harness.report.sentence import sentence
from harness.report.timeline import Replies, TimelineSelection
from harness.report.verdict_text import MINOR, guest_label

VERSION = 1
LONG = 2000

MOST_FINDINGS = 200
"""Findings that a report shows; the rest are counted."""

SILENT = ("bug check", "guest hang")
"""Failure classes of a guest that said no more. What its driver did last is shown."""

BUG_CHECK = "bug check"
"""The failure class of a guest that crashed or reset itself."""

LARGEST = (1 << 53) - 1
"""The largest whole number that a script counts with."""

GUESTS = {
    "twin": "a Linux guest under QEMU that runs the driver's source in its kernel",
    "host": "a Linux process that runs the driver's source",
    "wine": "Wine, which runs the driver as a Windows binary",
}
"""What the guests are that are not Windows."""

MOST_CRASH = 5
"""Records of a crash that a report leads with."""


class ReportInput(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is made of: a run's ``history``, its ``verdict``, and how many records the page holds at most."""

    history: History
    verdict: RunVerdict
    limit: int = LIMIT


def report_document(given: ReportInput) -> dict[str, Any]:
    """Return the document of one run. Reads the history twice; raises OSError if it cannot be read any more."""
    return _Builder(given).document()


class _Builder:
    def __init__(self, given: ReportInput) -> None:
        self._history, self._verdict = given.history, given.verdict
        named = {witness.record for finding in given.verdict.findings for witness in finding.witnesses}
        self._kept = KeptRecords(named, limit=given.limit)
        self._named = named
        self._step = steps(given.history)
        self._records: dict[int, r.Record] = {}
        self._replies: dict[int, str] = {}
        self._absent: dict[str, AbsentFields] = {}
        self._placement, self._picture, self._table = Placement(), Picture(), RecordColumns()
        self._operations = Operations()
        self._begun: dict[int, int] = {}
        self._failure: r.RunFailure | None = None
        self._crash: list[r.Record] = []
        self._beside = BesideRecords()
        self._count = CountedRecords((), {})
        self._outcome = ""
        self._follow: set[str] = set()
        self._zero = -1
        self._first = 0

    def document(self) -> dict[str, Any]:
        for record in self._history:
            self._placement.learn(record)
            self._kept.count(record)
            self._look(record)
        findings = _shown(self._verdict.findings[: MOST_FINDINGS * 5])[:MOST_FINDINGS]
        self._count = CountedRecords(findings, self._records)
        self._fill()
        verdict, facts = self._verdict, facts_of(self._history)
        directory = lasting(self._history.path.parent)
        failure = self._failure
        told = None if failure is None else Failure(failure.failure_class, failure.stage, failure.message)
        interrupted = self._outcome == "interrupted"
        self._follow = following([one for one in findings if _weight(one) == _weight(findings[0])])
        return {
            "version": VERSION,
            "kind": "run",
            "harness": __version__,
            "run": printable(verdict.run),
            "guest": printable(verdict.guest, 60),
            "worth": _worth(verdict.guest),
            "guest_is": GUESTS.get(verdict.guest, ""),
            "verdict": verdict.verdict.value,
            "sentence": verdict_sentence(verdict, failure=told, interrupted=interrupted),
            "failure_class": self._class(verdict.failure_class),
            "failure": None if failure is None else self._failed(failure),
            "outcome": self._outcome,
            "reasons": [printable(reason, LONG) for reason in verdict.reasons[:50]],
            "findings": [self._finding(finding) for finding in findings],
            "more_findings": len(verdict.findings) - len(findings),
            "rules": self._rules(),
            "coverage": coverage_line(verdict),
            "observations": _observations(verdict.observations),
            "operations": [
                {"index": _number(one.index), "text": printable(one.text, LONG), "state": one.state, "record": self._begun.get(one.index, 0)}
                for one in self._operations.outcomes
            ],
            "evidence": _evidence(directory),
            "environment": environment(facts, self._history, verdict),
            "digests": digests(facts),
            "commands": self._commands(directory, findings),
            "history": {
                "name": self._history.path.name,
                "joined": printable(getattr(self._history, "note", ""), LONG),
                "damage": printable(self._history.damage, LONG),
                "records": self._kept.total,
                "left_out": [[printable(kind), count] for kind, count in self._kept.left_out.most_common()],
            },
            **self._drawn(),
        }  # fmt: skip

    def _look(self, record: r.Record) -> None:
        """First pass: what the words of the report need."""
        self._operations.take(record)
        self._first = self._first or record.host_ns
        if isinstance(record, r.Mapped):
            self._absent[record.driver] = AbsentFields(record)
        if record.n in self._named:
            blank = self._absent.get(record.driver) if isinstance(record, d.DriverRecord) else None
            # As it was judged: without what a mapped driver does not say.
            self._records[record.n] = (
                blank.blank(record) if blank and isinstance(record, d.DriverRecord) else record
            )
        if isinstance(record, r.OperationProgress) and record.phase == "begin":
            self._begun[record.index] = record.n
        elif isinstance(record, r.Add | r.Removal):
            self._zero = record.host_ns if self._zero < 0 else self._zero
        elif isinstance(record, r.RunFailure):
            self._failure = self._failure or record
        elif isinstance(record, r.End):
            self._outcome = record.outcome
        again = isinstance(record, r.Boot) and record.epoch > 1
        if (again or _crashed(record)) and len(self._crash) < MOST_CRASH and self._failure is None:
            self._crash.append(record)
        if isinstance(record, d.DriverRecord) and self._failure is None:
            self._beside.take(record)

    def _fill(self) -> None:
        """Second pass: the picture and the table."""
        if self._zero < 0:
            self._zero = self._first
        replies, selection = Replies(), TimelineSelection(self._zero)
        before: r.Record | None = None
        lines = _raw_lines(self._history)
        for record in ReadableRecords(self._history):
            raw = next(lines, "")
            answers = replies.answered(record)
            at = self._placement.place(record) - self._zero
            self._picture.take(record, at)
            shown = selection.shows(record, answers, before)
            before = record if shown else before
            if not self._kept.keeps(record):
                continue
            self._count.take(record)
            if record.n in self._named:
                self._replies[record.n] = answers
            self._table.add(
                RecordRow(
                    number=record.n, at=at, lane=lanes.key(record), kind=str(type(record).__struct_config__.tag),
                    source=lanes.source(record), processor=lanes.processor(record), subject=lanes.subject(record),
                    told=shown or record.n in self._named, sentence=sentence(record, answers=answers), raw=raw,
                )
            )  # fmt: skip
        self._table.finish()
        self._picture.finish(self._history.damage)

    def _drawn(self) -> dict[str, Any]:
        table, picture = self._table, self._picture
        kept = set(table.numbers)
        all_lanes = lanes.lanes(table.lane_names)
        place = {one.key: number for number, one in enumerate(all_lanes)}
        driver = place.get(lanes.DRIVER, 0)
        names = [place.get(name, driver) for name in table.lane_names]
        return {
            "lanes": all_lanes,
            "kinds": [printable(name) for name in table.kind_names],
            "sources": list(table.source_names),
            "records": {
                "n": _steps(table.numbers),
                "t": _steps(table.times),
                "lane": [names[one] for one in table.lanes],
                "kind": table.kinds,
                "source": table.sources,
                "cpu": table.processors,
                "nt": table.subjects,
                "told": table.told,
            },
            "spans": [
                [place.get(s.lane, driver), s.begin, s.end, s.first, s.last, s.label, s.look]
                for s in picture.spans
                if s.first in kept
            ],
            "gaps": [[gap.begin, gap.end, gap.text, gap.record] for gap in picture.gaps],
            "order_reasons": REASONS,
            "order": [
                [one.before, one.after, one.why] for one in picture.order if one.before in kept and one.after in kept
            ],
            "pieces": table.pieces,
        }  # fmt: skip

    def _finding(self, finding: Finding) -> dict[str, Any]:
        rule = find(finding.rule)
        found = [(self._records[w.record], w.text) for w in finding.witnesses if w.record in self._records]
        missing = [record for record, text in found if text.startswith(MISSING)]
        shown = [record for record, text in found if not text.startswith(MISSING)]
        step = self._step(finding) if finding.witnesses else 0
        own = f"{finding.rule}: "
        other = [line for line in finding.consequences if not line.startswith(own)]
        again = [line.removeprefix(own) for line in finding.consequences if line.startswith(own)]
        return {
            "rule": printable(finding.rule, 60),
            "level": finding.level.value,
            "verdict": finding.verdict.value,
            "minor": finding.level in MINOR,
            "says": "" if rule is None else rule.says,
            "pages": [] if rule is None else pages(rule),
            "reason": printable(finding.reason, LONG),
            "attempt": printable(finding.attempt, 60),
            "step": step,
            "fault": at_fault(finding, shown, missing),
            "witnesses": _apart([self._witness(finding.rule, w) for w in finding.witnesses]),
            "chain": [printable(line, LONG) for line in finding.chain],
            "clock": printable(finding.clock, LONG),
            "consequences": [printable(line, LONG) for line in other[:20]],
            "again": [printable(line, LONG) for line in dict.fromkeys(again)][:20],
            "times": len(again),
            "counted": self._counted(finding),
            "follows": finding.rule in self._follow,
        }

    def _counted(self, finding: Finding) -> dict[str, Any] | None:
        """Return the records that the finding's rule counts, None if its own records show them."""
        counted = self._count.of(finding)
        if counted is None:
            return None
        return {
            "title": counted.title,
            "more": counted.more,
            "witnesses": [
                {
                    "name": "",
                    "record": one.n,
                    "who": _who(one),
                    "text": sentence(one),
                    "telling": [],
                    "values": "",
                }
                for one in counted.records
            ],
        }

    def _witness(self, rule: str, witness: Witness) -> dict[str, Any]:
        record, text = self._records.get(witness.record), witness.text
        said, values = text, list[str]()
        if record is not None and describe(record) == text:
            said, values = sentence(record, answers=self._replies.get(record.n, "")), telling(rule, record)
        elif isinstance(record, d.DriverRecord):
            said = self._beside.said(record, text)
        return {
            "name": printable(witness.name, 10),
            "record": witness.record,
            "who": "" if record is None else _who(record),
            "text": printable(said, LONG),
            "telling": values,
            "values": printable(text, LONG),
        }

    def _class(self, name: str) -> str:
        """Return a failure class. A guest that reset itself without a word may have been reset by something else."""
        unsaid = name == BUG_CHECK and not any(map(_crashed, self._crash))
        return "reset or bug check" if unsaid else printable(name, 40)

    def _failed(self, failure: r.RunFailure) -> dict[str, Any]:
        told = [*(record for record in self._crash if record.n != failure.n), failure]
        labels = ("the driver's last call: ", "the driver's last record: ")
        silent = failure.failure_class in SILENT
        last = list(zip(labels, self._beside.last(), strict=False)) if silent else []
        return {
            "class": self._class(failure.failure_class),
            "stage": printable(failure.stage, 60),
            "message": [printable(line, LONG) for line in failure.message.splitlines()[:20]],
            "witnesses": [
                {
                    "name": "", "record": one.n, "who": _who(one), "text": f"{label}{_told(one)}", "telling": [],
                    "values": "",
                }
                for label, one in sorted([*last, *(("", one) for one in told)], key=lambda row: row[1].n)
            ],
        }  # fmt: skip

    def _rules(self) -> list[dict[str, Any]]:
        rows = []
        for said in self._verdict.rules:
            rule = find(said.rule)
            rows.append(
                {
                    "rule": printable(said.rule, 60), "level": said.level.value, "verdict": said.verdict.value,
                    "exercised": said.exercised, "armed": said.armed, "times": said.times,
                    "reason": printable(said.reason, LONG), "says": "" if rule is None else rule.says,
                    "pages": [] if rule is None else pages(rule),
                }
            )  # fmt: skip
        return rows

    def _commands(self, directory: Any, findings: list[Finding]) -> list[list[str]]:
        broken = [f for f in findings if f.verdict is Verdict.VIOLATED and f.level not in MINOR]
        step = self._step(broken[0]) if broken and broken[0].witnesses else 0
        found = [["Do it again", reproduction(directory)]]
        if step:
            found.append(["Stop at the step of the first violation", reproduction(directory, step=step)])
        path = lasting(self._history.path.parent)
        found.append(["Judge it again", invocation("check", path)])
        found.append(["The same as text", invocation("show", path)])
        rules = list(dict.fromkeys(f.rule for f in broken))[:1]
        found += [["The rule, with its examples", invocation("rules", "--id", rule)] for rule in rules]
        return [[what, command] for what, command in found if command]


def _number(value: int) -> int:
    """Return a number that a forged file may have made up, 0 if a page cannot hold it exactly."""
    return value if abs(value) <= LARGEST else 0


def _apart(witnesses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the values that are the same in all of a finding's records, unless no value would be left."""
    values = [set(one["telling"]) for one in witnesses]
    common = set[str].intersection(*values) if len(values) > 1 else set[str]()
    if any(one - common for one in values):
        for witness in witnesses:
            witness["telling"] = [value for value in witness["telling"] if value not in common]
    return witnesses


def _shown(findings: list[Finding]) -> list[Finding]:
    """Return findings in the order of their cards: those that decide before others, of each kind the cause first."""
    kinds: dict[tuple[int, int], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(_weight(finding), []).append(finding)
    return [finding for kind in sorted(kinds) for finding in ordered(kinds[kind])]


def _weight(finding: Finding) -> tuple[int, int]:
    order = {Verdict.VIOLATED: 0, Verdict.UNKNOWN: 1}
    return int(finding.level in MINOR), order.get(finding.verdict, 2)


def _worth(guest: str) -> str:
    return "" if guest.startswith("windows") else guest_label(guest).partition(": ")[2]


def _who(record: r.Record) -> str:
    driver, seq = getattr(record, "driver", ""), getattr(record, "seq", 0)
    return f"{printable(driver, 40)} #{seq}" if seq and isinstance(driver, str) else speaker(record)


def _told(record: r.Record) -> str:
    return (
        f"the run ended early in stage {printable(record.stage, 60)}"
        if isinstance(record, r.RunFailure)
        else sentence(record)
    )


def _crashed(record: r.Record) -> bool:
    if isinstance(record, r.Qmp):
        return record.direction == "in" and record.message.get("event") == "GUEST_PANICKED"
    return isinstance(record, r.Console) and record.severity == "crash"


def _steps(values: list[int]) -> list[int]:
    """Return the first value, then each one's distance from the one before: short numbers."""
    return [value - before for before, value in zip([0, *values], values, strict=False)]


def _raw_lines(history: History) -> Iterator[str]:
    """Yield the lines of the history's file; of one that channels were joined to, what its records would be in a file."""
    if getattr(history, "note", ""):
        for record in history:
            yield msgspec.json.encode(record).decode()
        return
    with history.path.open("rb") as file:
        for line in file:
            yield line.rstrip(b"\n").decode("utf-8", "backslashreplace")


def _observations(seen: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, values in seen.items():
        known = find(rule_and_part(name)[0]) is not None
        pairs = list(values.items()) if isinstance(values, dict) else [(str(values), 1)]
        rows.append(
            {
                "name": printable(name, 80), "question": printable(question(name), LONG) if known else "",
                "values": [[printable(str(value), 400), str(times)] for value, times in pairs[:50]],
            }
        )  # fmt: skip
    return rows


def _evidence(directory: Any) -> dict[str, Any] | None:
    try:
        index = RunDirectory(directory).evidence()
    except UsageError as error:
        return {"why": printable(error.message, LONG), "items": []}
    if index is None:
        return None
    items = [
        {
            "name": printable(item.name), "state": item.state, "bytes": _number(item.bytes),
            "text": printable(", ".join(item.files) or item.reason, LONG),
        }
        for item in index.items[:200]
    ]  # fmt: skip
    return {"why": printable(index.why, LONG), "items": items}
