# SPDX-License-Identifier: MIT
"""The checker: one pass over a history, all rules, one verdict.

It never raises for what a history contains. A rule that raises makes itself unknown, with the exception named; bytes
that are no record end the history there, which is damage, which is unknown.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any

from harness import __version__
from harness.contract.blame import failure_class, tells_of_crash
from harness.contract.explanation import chain_lines, clock_line, witnesses
from harness.contract.observe import question_id
from harness.contract.rules.catalogue import all_rules
from harness.contract.rules.rule import Broken, NotShown, Observed, Predicate, Rule, RuleOutcome, Unclear
from harness.contract.state.entities import Epoch, Sample
from harness.contract.state.merge import Merger
from harness.contract.state.model import Model
from harness.contract.verdict import Finding, Level, RuleVerdict, RunVerdict, Verdict
from harness.history.absent import Absent, AbsentFields, NotGiven
from harness.history.driver import DriverRecord
from harness.history.reader import History
from harness.history.record import Header, Mapped, Record, RunFailure

MOST_FINDINGS = 20
"""Findings kept per rule; further ones are counted."""

MOST_VALUES = 64
"""Distinct observed values kept per question; further ones are counted as "other"."""

CONTRACT_LEVELS = frozenset({Level.ERROR, Level.ERROR_DRIVER})
"""Levels of which at least one rule must have been kept for a run to hold.

A rule on the counts that every driver record samples does not count: a driver that is only loaded keeps those."""


class RuleTally:
    """What one rule has said so far."""

    __slots__ = (
        "absent",
        "broken",
        "findings",
        "held",
        "observed",
        "reason",
        "rule",
        "unclear",
        "unshown",
        "warned",
    )

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.held = 0
        self.broken = 0
        self.warned = 0
        self.unclear = 0
        self.reason = ""
        self.unshown = ""
        self.absent = ""
        self.observed: dict[str, Counter[str]] = {}
        self.findings: list[Finding] = []

    def take(self, outcome: RuleOutcome) -> None:
        """Count an outcome that is neither HOLDS nor None."""
        if isinstance(outcome, Observed):
            value, observed = outcome.value, self.observed.get(outcome.part)
            if observed is None:
                observed = self.observed[outcome.part] = Counter()
            if value not in observed and len(observed) >= MOST_VALUES:
                value = "other"
            observed[value] = observed.get(value, 0) + 1
            if outcome.finding:
                self._find(Verdict.HOLDS, Level.FINDING, outcome.finding, outcome.shown, outcome.attempt)
        elif isinstance(outcome, Broken):
            self._broken(outcome)
        elif isinstance(outcome, NotShown):
            self.unshown = self.unshown or outcome.reason
        elif isinstance(outcome, Unclear):
            self.unclear += 1
            self.reason = self.reason or outcome.reason
            self._find(Verdict.UNKNOWN, self.rule.level, outcome.reason, outcome.shown, outcome.attempt)

    def _broken(self, broken: Broken) -> None:
        level = broken.level or self.rule.level
        if level is self.rule.level:
            if not self.broken:
                self.reason = broken.reason
            self.broken += 1
        else:
            self.warned += 1
        self._find(
            Verdict.VIOLATED, level, broken.reason, broken.shown, broken.attempt,
            chain_lines(broken.shown, broken.chain), clock_line(broken.shown, broken.chain),
        )  # fmt: skip

    def _find(
        self, verdict: Verdict, level: Level, reason: str, shown: Sequence[Record], attempt: str,
        chain: Sequence[str] = (), clock: str = "",
    ) -> None:  # fmt: skip
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(
                Finding(
                    rule=self.rule.id, level=level, verdict=verdict, reason=reason, witnesses=witnesses(shown),
                    attempt=attempt, chain=list(chain), clock=clock,
                )
            )  # fmt: skip

    def failed(self, error: Exception) -> None:
        """The predicate raised: the rule is unknown, not the checker."""
        self.unclear += 1
        reason = f"the rule itself failed: {type(error).__name__}: {error}"
        self.reason = self.reason or reason
        self._find(Verdict.UNKNOWN, self.rule.level, reason, (), "")

    def verdict(self, seen: AbstractSet[Any]) -> RuleVerdict:
        """What the rule says of the whole history, in which subjects of the kinds ``seen`` occurred."""
        rule = self.rule
        exercised = (
            self.held
            + self.broken
            + self.warned
            + self.unclear
            + sum(seen.total() for seen in self.observed.values())
        )
        reason = self.reason
        if self.broken:
            verdict = Verdict.VIOLATED
        elif self.unclear:
            verdict = Verdict.UNKNOWN
        elif self.absent:
            # Kept where it could be judged says nothing of where it could not.
            verdict, reason, exercised = Verdict.NOT_APPLICABLE, f"not applicable, because {self.absent}", 0
        elif exercised:
            verdict = Verdict.HOLDS
            if self.observed:
                reason = "observed: " + "; ".join(
                    (f"{part}: " if part else "")
                    + ", ".join(f"{value} ({times}x)" for value, times in seen.most_common(8))
                    for part, seen in self.observed.items()
                )
        else:
            verdict, reason = (
                Verdict.NOT_APPLICABLE,
                f"not applicable, because {self.unshown or f'the history holds no {rule.needs}'}",
            )
        return RuleVerdict(
            rule=rule.id, level=rule.level, verdict=verdict, source=rule.source, exercised=exercised,
            reason=reason, times=self.broken, armed=exercised > 0 or any(kind in seen for kind in rule.on if kind is not Epoch),
        )  # fmt: skip


class Checker:
    """Judges one history: :meth:`feed` every record in order, then :meth:`finish`."""

    def __init__(self, rules: Sequence[Rule] | None = None) -> None:
        self.tallies = [RuleTally(rule) for rule in (all_rules() if rules is None else rules)]
        self._on: dict[Any, list[tuple[Predicate, RuleTally]]] = {}
        for tally in self.tallies:
            for kind in tally.rule.on:
                self._on.setdefault(kind, []).append((tally.rule.check, tally))
        self._samples = self._on.get(Sample, [])
        self._seen: set[Any] = set()
        self.model = Model(self._judge)
        self._header: Header | None = None
        self._faults: list[RunFailure] = []
        self._crashed = False
        self._blanks: dict[str, AbsentFields] = {}

    def _judge(self, kind: Any, subject: Any) -> None:
        asked = self._on.get(kind)
        if asked:
            self._seen.add(kind)
            self._run(asked, subject)

    def _run(self, asked: list[tuple[Predicate, RuleTally]], subject: Any) -> None:
        model = self.model
        for check, tally in asked:
            try:
                outcome = check(subject, model)
            except NotGiven as absent:
                tally.absent = tally.absent or str(absent)
                continue
            except Exception as error:  # noqa: BLE001 - any failure of a rule is that rule's, never the run's
                tally.failed(error)
                continue
            if outcome is True:
                tally.held += 1
            elif outcome is not None:
                tally.take(outcome)

    def feed(self, record: Record) -> None:
        """Judge one record of the merged stream."""
        model = self.model
        model.at += 1
        kind = type(record)
        if isinstance(record, DriverRecord):
            stream = model.enter(record)
            if self._blanks and record.driver in self._blanks:
                record = self._blanked(record)
            else:
                self._run(self._samples, record)
                model.sampled(stream, record)
        elif kind is Header:
            self._header = record  # type: ignore[assignment]
            return
        elif kind is Mapped:
            if len(self._blanks) < MOST_VALUES:
                self._blanks[record.driver] = AbsentFields(record)  # type: ignore[attr-defined, arg-type]
        elif kind is RunFailure:
            self._faults.append(record)  # type: ignore[arg-type]
            del self._faults[MOST_FINDINGS:]
        elif tells_of_crash(record):
            self._crashed = True
        update = model.update.get(kind)
        subject = record if update is None else update(record)
        self._seen.add(kind)
        asked = self._on.get(kind)
        if asked:
            self._run(asked, subject)

    def _blanked(self, record: DriverRecord) -> DriverRecord:
        """Take a record made by a map: rules find its absent fields absent, and the model's samples are what is given."""
        model, stream = self.model, self.model.stream
        blanked = self._blanks[record.driver].blank(record)
        self._run(self._samples, blanked)
        active, previous = model.active, model.previous_active
        model.sampled(stream, record)
        if isinstance(blanked.active, Absent):
            model.active, model.previous_active = active, previous
        stream.last = blanked
        return blanked

    def finish(self, damage: str = "") -> RunVerdict:
        """Close what is open and return the verdict."""
        self.model.finish(damage)
        seen = self._seen | ({Sample} if self.model.driver_records else set())
        rules = [tally.verdict(seen) for tally in self.tallies]
        verdict, reasons = self._run_verdict(rules, damage)
        findings = [finding for tally in self.tallies for finding in tally.findings]
        findings.sort(key=_importance)
        header = self._header
        return RunVerdict(
            run=header.run if header is not None else "",
            guest=header.guest if header is not None else "",
            verdict=verdict,
            reasons=reasons,
            rules=rules,
            findings=findings,
            observations={
                question_id(tally.rule.id, part): dict(seen.most_common())
                for tally in self.tallies
                for part, seen in tally.observed.items()
            },
            failure_class=self._failure_class(verdict),
            harness=__version__,
        )

    def _run_verdict(self, rules: list[RuleVerdict], damage: str) -> tuple[Verdict, list[str]]:
        violated, unknown = [], []
        for tally, said in zip(self.tallies, rules, strict=True):
            line = f"{said.rule}: {said.reason}"
            if said.verdict is Verdict.VIOLATED and tally.rule.decides:
                violated.append(line)
            elif said.verdict is Verdict.UNKNOWN and (tally.rule.decides or tally.rule.awaited):
                unknown.append(line)
        if damage:
            unknown.insert(0, f"the history is damaged: {damage}")
        if violated:
            return Verdict.VIOLATED, violated + unknown
        if self._header is None:
            unknown.append("the history has no header")
        kept = any(
            said.verdict is Verdict.HOLDS and said.level in CONTRACT_LEVELS and Sample not in tally.rule.on
            for tally, said in zip(self.tallies, rules, strict=True)
        )
        if not kept:
            unknown.append("no rule of the contract was exercised: nothing that it speaks of happened")
        return (Verdict.UNKNOWN, unknown) if unknown else (Verdict.HOLDS, [])

    def _failure_class(self, verdict: Verdict) -> str:
        broken = {tally.rule.level for tally in self.tallies if tally.broken and tally.rule.decides}
        return failure_class(verdict, broken, self._faults, crashed=self._crashed) or ""


_ORDER = {Verdict.VIOLATED: 0, Verdict.UNKNOWN: 2, Verdict.HOLDS: 5, Verdict.NOT_APPLICABLE: 6}


def _importance(finding: Finding) -> tuple[int, int]:
    """Violations that decide first, then warnings, failed gates, what else is unknown, news; each by its first record."""
    rank = _ORDER[finding.verdict]
    if finding.level in (Level.WARN, Level.POLICY) or (rank == 2 and finding.level is not Level.GATE):
        rank += 1
    return rank, min((witness.record for witness in finding.witnesses), default=0)


def judge(records: Iterable[Record], *, damage: str = "") -> RunVerdict:
    """Judge the records of one history, in file order, in one pass.

    ``damage`` says why the history was not read to its end, if that is known beforehand; for a file use
    :func:`judge_history`, which asks the reader after reading. Never raises for what the records contain.
    """
    return Judge(records, damage).finish()


def judge_history(history: History) -> RunVerdict:
    """Judge a recorded history. Raises BadHistory only if it cannot be read again at all."""
    return Judge(history).finish()


class Judge:
    """Judges one history, also while it is still written, and each of its records once."""

    def __init__(self, history: Iterable[Record], damage: str = "") -> None:
        self._history = history
        self._damage = damage
        self._state: tuple[Merger, Checker, int] | None = None

    def so_far(self) -> RunVerdict:
        """Return the verdict that a history which ends here gets. It may go on."""
        self._state = self._take()
        return self._end(*copy.deepcopy(self._state))

    def finish(self) -> RunVerdict:
        """Return the verdict on the whole history."""
        return self._end(*self._take())

    def _take(self) -> tuple[Merger, Checker, int]:
        """Judge the records that were written since the last time; all of them if that was interrupted."""
        merger, checker, taken = self._state or (Merger(), Checker(), 0)
        self._state = None
        for record in islice(self._history, taken, None):
            taken += 1
            for merged in merger.take(record):
                checker.feed(merged)
        return merger, checker, taken

    def _end(self, merger: Merger, checker: Checker, _taken: int) -> RunVerdict:
        for record in merger.end():
            checker.feed(record)
        damage = self._history.damage if isinstance(self._history, History) else self._damage
        return checker.finish(damage)
