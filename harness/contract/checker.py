# SPDX-License-Identifier: MIT
"""The checker: one pass over a history, all rules, one verdict.

It never raises for what a history contains. A rule that raises becomes unknown, with the exception named. The history ends
at bytes that cannot be decoded as a record: it is then damaged, so the verdict is unknown.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import islice
from typing import Any, get_args

import msgspec

from harness import __version__
from harness.contract.blame import failure_class, tells_of_crash
from harness.contract.dispatch import Handler, functions
from harness.contract.explanation import chain_lines, clock_line, witnesses
from harness.contract.observe import question_id
from harness.contract.rules.catalogue import all_rules
from harness.contract.rules.rule import Broken, Exempt, Observed, Rule, RuleOutcome, Unclear
from harness.contract.state.entities import Sample
from harness.contract.state.evidence import HistoryEvidence
from harness.contract.state.merge import Merger
from harness.contract.state.model import Model
from harness.contract.verdict import Finding, Level, RuleVerdict, RunVerdict, Verdict
from harness.history import driver as d
from harness.history import record as r
from harness.history.absent import SAMPLED, AbsentFields, NotGiven
from harness.history.reader import History

MOST_FINDINGS = 20
"""Findings kept per rule; further ones are counted."""

MAPPED = "mapped"
"""The version in the hello that is made for a driver whose records a map gives (docs/history.md)."""

MOST_BROKEN = 64
"""Violations kept per rule until the whole history is known; further ones are counted."""

MOST_VALUES = 64
"""Distinct observed values kept per question; further ones are counted as "other"."""

CONTRACT_LEVELS = frozenset({Level.ERROR, Level.ERROR_DRIVER})
"""Levels of which at least one rule must hold for a run to hold.

A rule on the counts in every driver record does not count: a driver that is only loaded satisfies those."""


_HOST_FACTS: dict[type, str] = {
    r.Agreement: "agreement on an attempt",
    r.Expectation: "expect operation",
    r.Boot: "boot record",
}


_NONE: dict[Any, Any] = {}
"""What a tally has counted before the first outcome. All tallies share it, and nothing is ever put into it."""


class RuleTally:
    """The outcomes of one rule so far. A violation is believed only at the end, when all evidence is known.

    A judge has one for each rule. In a short history most stay as they are, so what only some outcomes need is made then.
    """

    __slots__ = (
        "absent", "broken", "exempt", "held", "observed", "pending", "reason", "rule", "said", "times", "unclear",
        "warned",
    )  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.held = self.broken = self.warned = self.unclear = 0
        self.reason = self.exempt = self.absent = ""
        self.observed: dict[str, Counter[str]] = _NONE
        self.times: dict[RuleOutcome, int] = _NONE
        self.pending: tuple[Broken, ...] = ()
        self.said: tuple[Unclear | Observed, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> RuleTally:
        """Return a copy of the counters; what they count are values. Only records have to be those of the copied model."""
        copied = RuleTally(self.rule)
        copied.held, copied.broken, copied.warned, copied.unclear = (
            self.held, self.broken, self.warned, self.unclear,
        )  # fmt: skip
        copied.reason, copied.exempt, copied.absent = self.reason, self.exempt, self.absent
        if self.observed:
            copied.observed = {part: counts.copy() for part, counts in self.observed.items()}
            copied.times = self.times.copy()
        if self.pending or self.said:
            copied.pending, copied.said = copy.deepcopy((self.pending, self.said), memo)
        return copied

    def take(self, outcome: RuleOutcome) -> None:
        """Count an outcome that is neither HOLDS nor None."""
        times = self.times.get(outcome)
        if times is not None:
            self.times[outcome] = times + 1
            return
        if isinstance(outcome, Observed):
            if not self.observed:
                self.observed, self.times = {}, {}
            value, observed = outcome.value, self.observed.get(outcome.part)
            if not outcome.finding and len(self.times) < MOST_VALUES:
                # It may come again, as the same object.
                self.times[outcome] = 0
            if observed is None:
                observed = self.observed[outcome.part] = Counter()
            if value not in observed and len(observed) >= MOST_VALUES:
                value = "other"
            observed[value] = observed.get(value, 0) + 1
            if outcome.finding:
                self._say(outcome)
        elif isinstance(outcome, Broken):
            if (outcome.level or self.rule.level) is self.rule.level:
                self.broken += 1
            else:
                self.warned += 1
            if len(self.pending) < MOST_BROKEN:
                self.pending += (outcome,)
        elif isinstance(outcome, Exempt):
            self.exempt = self.exempt or outcome.reason
        elif isinstance(outcome, Unclear):
            self._unclear(outcome)

    def _unclear(self, unclear: Unclear) -> None:
        self.unclear += 1
        self.reason = self.reason or unclear.reason
        self._say(unclear)

    def _say(self, outcome: Unclear | Observed) -> None:
        if len(self.said) < MOST_FINDINGS:
            self.said += (outcome,)

    def raised(self, error: Exception) -> None:
        """Record that the predicate raised: the rule is unknown, not the checker's fault. It may have read an absent field."""
        if isinstance(error, NotGiven):
            self.absent = self.absent or str(error)
            return
        self._unclear(Unclear(f"the rule itself failed: {type(error).__name__}: {error}"))

    def settle(self, evidence: HistoryEvidence, steady: int) -> None:
        """Record that the history is over: a violation whose evidence may be missing, or is contradicted, is unknown.

        ``steady`` counts the samples for which the rule held without being asked, if it is a rule on samples.
        """
        if self.rule.steady:
            self.held += steady
        for known, times in self.times.items():
            if isinstance(known, Observed):
                counts = self.observed[known.part]
                counts[known.value if known.value in counts else "other"] += times
        self.times = {}
        believed = []
        for broken in self.pending:
            own = (broken.level or self.rule.level) is self.rule.level
            doubt = evidence.doubt(broken.shown, broken.absent)
            if not doubt:
                believed.append(broken)
                continue
            if own:
                self.broken -= 1
                self._unclear(
                    Unclear(f"not certain, because {doubt}: {broken.reason}", broken.shown, broken.attempt)
                )
            else:
                self.warned -= 1
        self.pending = tuple(believed)
        mine = [broken for broken in believed if (broken.level or self.rule.level) is self.rule.level]
        if not mine:
            # Violations that were not kept are no better founded than those that were.
            self.broken = 0
        elif self.rule.level is not Level.GATE:
            self.reason = mine[0].reason

    def findings(self) -> Iterable[tuple[Finding, Hashable]]:
        """Yield the rule's findings, each with the cause that it shares with other rules' findings."""
        for broken in self.pending[:MOST_FINDINGS]:
            yield (
                self._finding(
                    Verdict.VIOLATED, broken.level or self.rule.level, broken.reason, broken.shown, broken.attempt,
                    chain_lines(broken.shown, broken.chain), clock_line(broken.shown, broken.chain),
                ),
                broken.cause,
            )  # fmt: skip
        for said in self.said[: max(0, MOST_FINDINGS - len(self.pending))]:
            if isinstance(said, Observed):
                told = Verdict.HOLDS, Level.FINDING, said.finding
            else:
                told = Verdict.UNKNOWN, self.rule.level, said.reason
            yield self._finding(*told, said.shown, said.attempt), None

    def _finding(
        self, verdict: Verdict, level: Level, reason: str, shown: Sequence[r.Record], attempt: str,
        chain: Sequence[str] = (), clock: str = "",
    ) -> Finding:  # fmt: skip
        return Finding(
            rule=self.rule.id, level=level, verdict=verdict, reason=reason, witnesses=witnesses(shown),
            attempt=attempt, chain=list(chain), clock=clock,
        )  # fmt: skip

    def verdict(self, seen: AbstractSet[Any], facts: AbstractSet[str], missing: str) -> RuleVerdict:
        """Return the rule's verdict over the whole history.

        Subjects of the kinds ``seen`` and the ``facts`` occurred. ``missing`` says which records may be missing, "" if
        none. A rule neither holds nor is not applicable where missing records may break it.
        """
        rule = self.rule
        exercised = self.held + self.broken + self.warned + self.unclear
        if self.observed:
            exercised += sum(values.total() for values in self.observed.values())
        elif exercised == self.held and not self.absent:
            if exercised:
                return _kept(rule, missing, exercised)
            met = not seen.isdisjoint(rule.kinds)
            return _unexercised(rule, missing, self.exempt, armed=met, needed=rule.needs in facts)
        met, reason = not seen.isdisjoint(rule.kinds), self.reason
        if self.broken:
            verdict = Verdict.VIOLATED
        elif self.unclear:
            verdict = Verdict.UNKNOWN
        elif missing and rule.level in CONTRACT_LEVELS:
            verdict = Verdict.UNKNOWN
            reason = f"kept {self.held}x, but {missing}" if exercised else missing
        elif self.absent:
            # A rule that holds where it could be judged proves nothing where it could not.
            verdict, reason, exercised = Verdict.NOT_APPLICABLE, f"not applicable, because {self.absent}", 0
        else:
            verdict = Verdict.HOLDS
            if self.observed:
                reason = "observed: " + "; ".join(
                    (f"{part}: " if part else "")
                    + ", ".join(f"{value} ({times}x)" for value, times in values.most_common()[:8])
                    for part, values in self.observed.items()
                )
        return RuleVerdict(
            rule=rule.id, level=rule.level, verdict=verdict, source=rule.source, exercised=exercised,
            reason=reason, times=self.broken, armed=exercised > 0 or met,
        )  # fmt: skip


@lru_cache(maxsize=4096)
def _kept(rule: Rule, missing: str, held: int) -> RuleVerdict:
    """Return the verdict of a rule that held each time it was asked. Short histories are much alike."""
    verdict, reason = Verdict.HOLDS, ""
    if missing and rule.level in CONTRACT_LEVELS:
        verdict, reason = Verdict.UNKNOWN, f"kept {held}x, but {missing}"
    return RuleVerdict(
        rule=rule.id,
        level=rule.level,
        verdict=verdict,
        source=rule.source,
        exercised=held,
        reason=reason,
        armed=True,
    )


@lru_cache(maxsize=2048)
def _unexercised(rule: Rule, missing: str, exempt: str, *, armed: bool, needed: bool) -> RuleVerdict:
    """Return the verdict of a rule that judged nothing, with the fact of the history that explains it.

    ``needed``: the history has what the rule needs. Most rules of a short history are such.
    """
    verdict = Verdict.NOT_APPLICABLE
    if missing and rule.level in CONTRACT_LEVELS:
        verdict, reason = Verdict.UNKNOWN, missing
    elif not needed:
        reason = f"not applicable, because the history holds no {rule.needs}"
    else:
        why = exempt or rule.unless or f"the clause covers no {rule.needs} of this history"
        reason = f"not applicable, because {why}"
    return RuleVerdict(
        rule=rule.id, level=rule.level, verdict=verdict, source=rule.source, reason=reason, armed=armed
    )


class _Handlers(dict[type, Handler]):
    """The functions of the kinds that came so far. Another kind's is made by ``first`` when it comes."""

    def __init__(self, first: Callable[[type], Handler]) -> None:
        super().__init__()
        self._first = first

    def __missing__(self, kind: type) -> Handler:
        handler = self[kind] = self._first(kind)
        return handler


class Checker:
    """Judges one history: :meth:`feed` every record in order, then :meth:`finish`."""

    def __init__(self, rules: Sequence[Rule] | None = None) -> None:
        self.tallies = [RuleTally(rule) for rule in (all_rules() if rules is None else rules)]
        self._seen: set[Any] = set()
        self.model = Model(self._judge)
        self._header: r.Header | None = None
        self._faults: list[r.RunFailure] = []
        self._crashed = False
        self._blanks: dict[str, AbsentFields] = {}
        self._prepare()

    def _prepare(self) -> None:
        """Make the maker of functions. The first of a kind is noted, the others go straight to their kind's function."""
        shown: dict[type, Handler] = {
            r.Header: self._begin, r.Mapped: self._map, r.Profile: self._promise, r.RunFailure: self._fault,
            r.Console: self._tells, r.Qmp: self._tells,
        }  # fmt: skip
        rules = tuple([tally.rule for tally in self.tallies])
        self._made = functions(
            self.model, rules, self.tallies, shown, self._blanks, self._blanked, self._begun
        )
        self._sampled = self._made(Sample)
        self.handlers: dict[type, Handler] = _Handlers(self._first)

    def _first(self, kind: type) -> Handler:
        """Note the first record or subject of a kind, and return the function for that kind."""
        self._seen.add(kind)
        if kind in _HOST_FACTS:
            self.model.facts.add(_HOST_FACTS[kind])
        return self._made(kind)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the functions: they refer to this checker's model, and a copy makes its own."""
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("handlers", "_sampled", "_made")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def _judge(self, kind: Any, subject: Any) -> None:
        self.handlers[kind](subject)

    def feed(self, record: r.Record) -> None:
        """Judge one record of the merged stream."""
        self.handlers[type(record)](record)

    def _begun(self, record: d.DriverRecord) -> None:
        """Look at the first record of a driver's stream."""
        if isinstance(record, d.Hello) and record.version == MAPPED and record.driver not in self._blanks:
            why = f"the map of driver {record.driver} is missing, so it is not known which fields its events give"
            self.model.evidence.distrust(record.boot, record.driver, why)
            self.model.evidence.contradict(why, (record,), driver=record.driver, begin=self.model.epoch_at)
        if record.active <= 0 and record.driver not in self._blanks:
            self._countless(record)

    def _promise(self, profile: r.Profile) -> None:
        self.model.promised[profile.driver] = profile.promises
        for stream in self.model.streams.values():
            if stream.driver == profile.driver:
                stream.promises = profile.promises

    def _fault(self, fault: r.RunFailure) -> None:
        self._faults.append(fault)
        del self._faults[MOST_FINDINGS:]

    def _tells(self, record: r.Record) -> None:
        if tells_of_crash(record):
            self._crashed = True
            self.model.evidence.question("the guest reported its crash", (record,))

    def _begin(self, header: r.Header) -> None:
        """Check that the history begins with its header and has only one."""
        if self._header is None:
            self._header = header
            if self.model.at == 1:
                return
        self.model.evidence.contradict(
            f"record {header.n} is a header (run {header.run[:80]}, guest {header.guest[:80]}), and a history begins with its only one",
            (header,),
        )  # fmt: skip

    def _map(self, mapped: r.Mapped) -> None:
        """Take a driver's map. It must come before the driver's first record, and a driver has only one map."""
        driver, model = mapped.driver, self.model
        fields = AbsentFields(mapped)
        known = self._blanks.get(driver)
        spoken = any(stream.driver == driver and not stream.mapped for stream in model.streams.values())
        if spoken or (known is not None and known != fields):
            model.evidence.distrust(
                "", driver, f"it is not clear which events of driver {driver} are which records"
            )
            model.evidence.contradict(
                f"a map of driver {driver} comes behind its first records"
                if spoken
                else f"driver {driver} has two maps that differ",
                (mapped,), driver=driver, begin=model.epoch_at,
            )  # fmt: skip
        elif known is None and len(self._blanks) < MOST_VALUES:
            self._blanks[driver] = fields
            model.mapped.add(driver)

    def _countless(self, record: d.DriverRecord) -> None:
        """Record that no processor is active where this code runs, so the driver's samples mean nothing."""
        self.model.evidence.contradict(
            f"driver {record.driver} ran where {record.active} processors were active", (record,), driver=record.driver
        )  # fmt: skip
        if len(self._blanks) < MOST_VALUES:
            names = sorted(SAMPLED)
            absent = {str(kind.__struct_config__.tag): names for kind in get_args(d.AnyDriverRecord)}
            self._blanks[record.driver] = AbsentFields(
                r.Mapped(driver=record.driver, provider="", absent=absent)
            )

    def _blanked(self, record: d.DriverRecord) -> d.DriverRecord:
        """Return a mapped record with its absent fields absent for the rules; the model samples the fields that are given."""
        model, stream = self.model, self.model.stream
        blanked = self._blanks[record.driver].blank(record)
        self._sampled(blanked)
        model.sampled_by_map(stream, blanked)
        return blanked

    def finish(self, damage: str = "") -> RunVerdict:
        """Close what is open and return the verdict."""
        model = self.model
        model.finish(damage)
        seen = self._seen | ({Sample} if model.driver_records else set())
        missing = model.evidence.losses[0].why if model.evidence.losses else ""
        for tally in self.tallies:
            if tally.times or tally.pending or tally.rule.steady:
                tally.settle(model.evidence, model.steady)
        model.steady = 0
        rules = [tally.verdict(seen, model.facts, missing) for tally in self.tallies]
        verdict, reasons = self._run_verdict(rules, damage)
        header = self._header
        return RunVerdict(
            run=header.run if header is not None else "",
            guest=header.guest if header is not None else "",
            verdict=verdict,
            reasons=reasons,
            rules=rules,
            findings=self._findings(),
            observations={
                question_id(tally.rule.id, part): dict(seen.most_common())
                for tally in self.tallies
                if tally.observed
                for part, seen in tally.observed.items()
            },
            failure_class=self._failure_class(verdict),
            harness=__version__,
        )

    def _findings(self) -> list[Finding]:
        """Return the findings, the most important first. One cause is one finding, with its consequences under it."""
        found: list[Finding] = []
        causes: dict[Hashable, int] = {}
        for tally in self.tallies:
            for finding, cause in tally.findings() if tally.pending or tally.said else ():
                first = causes.get(cause) if cause is not None else None
                if first is None:
                    if cause is not None:
                        causes[cause] = len(found)
                    found.append(finding)
                else:
                    told = found[first]
                    line = f"{finding.rule}: {finding.reason}"
                    found[first] = msgspec.structs.replace(told, consequences=[*told.consequences, line])
        return sorted(found, key=_importance)

    def _run_verdict(self, rules: list[RuleVerdict], damage: str) -> tuple[Verdict, list[str]]:
        violated, unknown = [], []
        for tally, said in zip(self.tallies, rules, strict=True):
            if said.verdict is Verdict.VIOLATED and tally.rule.decides:
                violated.append(f"{said.rule}: {said.reason}")
            elif (
                tally.unclear
                and said.verdict is Verdict.UNKNOWN
                and (tally.rule.decides or tally.rule.awaited)
            ):
                unknown.append(f"{said.rule}: {said.reason}")
        if damage:
            unknown.insert(0, f"the history is damaged: {damage}")
        if violated:
            return Verdict.VIOLATED, violated + unknown
        if self._header is None:
            unknown.append("the history has no header")
        kept = any(
            tally.held and tally.rule.level in CONTRACT_LEVELS and Sample not in tally.rule.on
            for tally in self.tallies
        )
        if not kept:
            unknown.append(
                "nothing happened that a rule about Windows or the driver judges, the counts in each record aside"
            )
        return (Verdict.UNKNOWN, unknown) if unknown else (Verdict.HOLDS, [])

    def _failure_class(self, verdict: Verdict) -> str:
        broken = {tally.rule.level for tally in self.tallies if tally.broken and tally.rule.decides}
        return failure_class(verdict, broken, self._faults, crashed=self._crashed) or ""


_ORDER = {Verdict.VIOLATED: 0, Verdict.UNKNOWN: 2, Verdict.HOLDS: 5, Verdict.NOT_APPLICABLE: 6}


def _importance(finding: Finding) -> tuple[int, int]:
    """Order: violations that decide, warnings, failed gates, other unknowns, news; each group by its first record."""
    rank = _ORDER[finding.verdict]
    if finding.level in (Level.WARN, Level.POLICY) or (rank == 2 and finding.level is not Level.GATE):
        rank += 1
    return rank, min((witness.record for witness in finding.witnesses), default=0)


def judge(records: Iterable[r.Record], *, damage: str = "") -> RunVerdict:
    """Judge the records of one history, in file order, in one pass.

    ``damage`` says why the history was not read to its end, if that is known beforehand; for a file use
    :func:`judge_history`, which asks the reader after reading. Never raises for what the records contain.
    """
    return Judge(records, damage).finish()


def judge_history(history: History) -> RunVerdict:
    """Judge a recorded history, of a run that goes on as far as it was recorded. Raises BadHistory only if it cannot be
    read again.
    """
    return Judge(history).finish(live=history.growing)


SHORT = 2000
"""Records of a history that is judged from its start faster than a judge's state is copied."""


NOT_ENDED = "the run has not ended"
"""The reason for what is not known of a live run."""


class Judge:
    """Judges one history, also while it is being written. Each record is judged once, or twice in a short history."""

    def __init__(self, history: Iterable[r.Record], damage: str = "") -> None:
        self._history = history
        self._damage = damage
        self._state: tuple[Merger, Checker, int] | None = None

    def so_far(self, ending: Sequence[r.Record] = (), *, live: bool = False) -> RunVerdict:
        """Return the verdict on the history as if it ended here. It may go on.

        ``ending`` are the records with which the run would close the history now: the channels' accounts and the end.
        Without them, or if a channel has no account among them, what came after the driver's last record is unknown, with
        another reason for a ``live`` run.
        """
        self.take()
        assert self._state is not None
        if self._state[2] <= SHORT:
            merger, checker, taken = self._poured(Merger(), Checker(), 0)
        else:
            merger, checker, taken = copy.deepcopy(self._state)
        checker.model.unended = NOT_ENDED if live else ""
        if merger.channels <= {one.name for one in ending if isinstance(one, r.Channel)}:
            merger.pour(ending, checker.handlers)
        return self._end(merger, checker, taken)

    def take(self) -> None:
        """Judge the records written since the last call, so that less is left to judge at the end."""
        self._state = self._take()

    def finish(self, *, live: bool = False) -> RunVerdict:
        """Return the verdict on the whole history. If it has no end, a ``live`` run is the reason for what is unknown."""
        merger, checker, taken = self._take()
        checker.model.unended = NOT_ENDED if live else ""
        return self._end(merger, checker, taken)

    def _take(self) -> tuple[Merger, Checker, int]:
        """Judge the records written since the last call, or all records if that call was interrupted."""
        merger, checker, taken = self._state or (Merger(), Checker(), 0)
        self._state = None
        return self._poured(merger, checker, taken)

    def _poured(self, merger: Merger, checker: Checker, taken: int) -> tuple[Merger, Checker, int]:
        taken += merger.pour(islice(self._history, taken, None) if taken else self._history, checker.handlers)
        return merger, checker, taken

    def _end(self, merger: Merger, checker: Checker, _taken: int) -> RunVerdict:
        for record in merger.end():
            checker.feed(record)
        damage = self._history.damage if isinstance(self._history, History) else self._damage
        return checker.finish(damage)
