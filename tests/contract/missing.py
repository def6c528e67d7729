# SPDX-License-Identifier: MIT
"""What a rule says of its violation when one record of the history is missing.

From the example that violates a rule, and from its mutation, each record is taken in turn that the driver wrote, as a loss that
the account counts, and each that the host wrote and a rule may need. What is left shows the violation or makes it unknown.
``python -m tests.contract.missing`` writes the table into docs/rules.md; with the names of rules, their rows of it. ``tox -e loss``
does it, too, and fails if a violation vanishes without a record; the suite tries a seeded share.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.rules.catalogue import all_rules
from harness.contract.rules.rule import Rule
from harness.contract.verdict import Level, RunVerdict, Verdict
from harness.history.driver import STATE_NAMES, DriverRecord
from harness.history.record import Add, Agreement, Boot, Channel, Count, Quiesced, Record
from tests.contract.mutations import MUTATIONS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
BEGIN, END = "<!-- missing: begin -->", "<!-- missing: end -->"

NEEDED = (Quiesced, Add, Agreement, Count, Channel, Boot)
"""Records of the host that a rule may rest on."""

RULES = [rule for rule in all_rules() if rule.level in (Level.ERROR, Level.ERROR_DRIVER)]


@dataclass(frozen=True)
class WithoutRecord:
    """What was said of a history from which one record was taken: of the rule, and of the run."""

    record: str
    rule: Verdict
    run: Verdict

    @property
    def wrong(self) -> bool:
        """Whether the missing record made the violation vanish."""
        return self.rule not in (Verdict.VIOLATED, Verdict.UNKNOWN) or self.run is Verdict.HOLDS

    def __str__(self) -> str:
        return f"without {self.record} the rule says {self.rule} and the run {self.run}"


def violations(rule: Rule) -> list[str]:
    """Return the traces that violate a rule: its example, and its mutation if that is another."""
    mutated = [mutation.mutated for mutation in MUTATIONS if mutation.rule == rule.id]
    return list(dict.fromkeys([rule.violates, *mutated]))


def places(records: Sequence[Record]) -> list[int]:
    """Return the places of the records that are taken: those of drivers, and those of the host that a rule may rest on."""
    return [place for place, record in enumerate(records) if isinstance(record, (DriverRecord, *NEEDED))]


def without(rule: Rule, records: Sequence[Record], place: int) -> WithoutRecord:
    """Return what is said without the record at a place of a history that violates a rule."""
    record = records[place]
    verdict = judge(taken(records, place)) if isinstance(record, DriverRecord) else cut(records, place)
    return WithoutRecord(name(record, records[:place]), said(verdict, rule), verdict.verdict)


@cache
def without_each(rule: Rule, text: str) -> tuple[WithoutRecord, ...]:
    """Return what is said without each record of a trace that violates a rule."""
    records = trace(text)
    return tuple(without(rule, records, place) for place in places(records))


def cut(records: Sequence[Record], place: int) -> RunVerdict:
    """Judge a history of which a line of the host's is gone: a reader stops where the numbers of the lines show it."""
    damage = f"line {place + 1} carries record number {place + 2}: lines were lost or edited"
    return judge(records[:place], damage=damage)


def taken(records: Sequence[Record], place: int) -> list[Record]:
    """Return the history without a record of the driver, which is a loss: the account has one less, and counts it."""
    found: list[Record] = []
    for record in [*records[:place], *records[place + 1 :]]:
        if isinstance(record, Channel):
            record = msgspec.structs.replace(record, records=record.records - 1, lost=record.lost + 1)
        found.append(msgspec.structs.replace(record, n=len(found) + 1))
    return found


def said(verdict: RunVerdict, rule: Rule) -> Verdict:
    """Return what a verdict says of a rule."""
    return next(one.verdict for one in verdict.rules if one.rule == rule.id)


def name(record: Record, before: Sequence[Record]) -> str:
    """Return what a record is called in the table: its kind, with what tells it from others of its kind."""
    tag = str(record.__struct_config__.tag)
    words = [tag]
    state, nt = getattr(record, "state", None), getattr(record, "nt", None)
    if state is not None:
        words.append(STATE_NAMES.get(state, f"state {state}"))
    if nt is not None:
        words.append(str(nt))
    words += [
        str(value)
        for field in ("call", "minor", "cls", "link", "phase", "why", "what")
        if (value := getattr(record, field, ""))
    ]
    if isinstance(record, DriverRecord) and record.driver != "a":
        words.append(f"of {record.driver}")
    text = " ".join(words)
    again = sum(type(one) is type(record) and name(one, ()) == text for one in before)
    return f"{text} ({again + 1})" if again else text


def table(known: Mapping[str, str]) -> str:
    """Return the table: for each rule, without which records its mutation is unknown, and without how many it is not.

    The rows of ``known`` rules are taken as they are.
    """
    rows = ["| rule | unknown without | still violated without |", "| --- | --- | --- |"]
    return "\n".join([*rows, *(known.get(rule.id) or row(rule) for rule in RULES)])


def row(rule: Rule) -> str:
    """Return the row of one rule."""
    every = without_each(rule, violations(rule)[-1])
    unknown = [one.record for one in every if one.rule is Verdict.UNKNOWN]
    wrong = [f"**{one.record}: {one.rule}**" for one in every if one.wrong]
    violated = [one for one in every if one.rule is Verdict.VIOLATED]
    others = f"{len(violated)} others" if unknown or wrong else f"any of {len(violated)}"
    return f"| {rule.id} | {', '.join([*grouped(unknown), *wrong])} | {others} |"


def grouped(names: Sequence[str]) -> list[str]:
    """Return names with those of the same kind together: ``sync.enter`` Start 2, Complete 2."""
    kinds: dict[str, list[str]] = {}
    for one in names:
        kind, _, rest = one.partition(" ")
        kinds.setdefault(kind, []).append(rest)
    return [
        f"`{kind}`{' ' if any(rests) else ''}{' / '.join(rest or 'first' for rest in rests) if any(rests) else ''}"
        for kind, rests in kinds.items()
    ]


def embedded(document: str, names: Collection[str] = ()) -> str:
    """Return ``document`` with the table between its marks replaced; if rules are named, with no other row made anew."""
    before, rest = document.split(BEGIN)
    rows, after = rest.split(END)
    known = {row.split(" | ")[0].removeprefix("| "): row for row in rows.splitlines()} if names else {}
    return f"{before}{BEGIN}\n{table({name: row for name, row in known.items() if name not in names})}\n{END}{after}"


def write(names: Collection[str] = ()) -> None:
    """Write the table, or the rows of named rules, into the page."""
    DOCUMENT.write_text(embedded(DOCUMENT.read_text(), names))


def vanished() -> list[str]:
    """Return where a violation vanishes without a record: for each the rule, its trace and what is said then."""
    return [
        f"{rule.id}: {text}: {one}"
        for rule in RULES
        for text in violations(rule)
        for one in without_each(rule, text)
        if one.wrong
    ]


if __name__ == "__main__":
    write(sys.argv[1:])
