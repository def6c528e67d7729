# SPDX-License-Identifier: MIT
"""What was said of damaged runs: the rows of the table, and the verdicts that were fooled."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from harness.contract.checker import judge
from harness.contract.verdict import Verdict
from harness.history.record import Record
from tests.contract.damage import DAMAGES, DamagedRun

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- loss: begin -->", "<!-- loss: end -->"
GROUPS = [*dict.fromkeys(damage.group for damage in DAMAGES), "account", "two", "forged lines"]
MOST_SHOWN = 200
"""Wrong verdicts that are told one by one."""


@dataclass(frozen=True)
class FooledVerdict:
    """A damaged run whose verdict is one that it must not be."""

    run: str
    what: str
    group: str
    must_not: str
    verdict: Verdict
    why: str

    def __str__(self) -> str:
        return f"{self.run}: {self.what}: {self.verdict} ({self.must_not}): {self.why}"


@dataclass
class LossRow:
    """What was said of one run, whole and damaged."""

    run: str
    whole: Verdict
    lines: int
    said: dict[str, Counter[Verdict]] = field(default_factory=dict)
    fooled: list[FooledVerdict] = field(default_factory=list)

    def take(self, one: DamagedRun) -> None:
        """Judge a damaged run."""
        verdict, why = said(one.records)
        self.said.setdefault(one.group, Counter())[verdict] += 1
        must_not = forbidden(self.whole, verdict, one.seen)
        if must_not:
            self.fooled.append(FooledVerdict(self.run, one.what, one.group, must_not, verdict, why))


def said(records: list[Record]) -> tuple[Verdict, str]:
    """Return the verdict on a history, and its first reason."""
    verdict = judge(records)
    return verdict.verdict, next(iter(verdict.reasons), "")


def forbidden(whole: Verdict, verdict: Verdict, seen: str) -> str:
    """Return why a damaged run must not have a verdict, "" if it may."""
    if verdict is Verdict.VIOLATED and whole is not Verdict.VIOLATED:
        return f"the whole run is {whole}"
    if verdict is Verdict.HOLDS and whole is Verdict.VIOLATED:
        return "the whole run is violated"
    return seen if verdict is Verdict.HOLDS else ""


def together(name: str, rows: list[LossRow]) -> LossRow:
    """Return several rows as one. Their runs have the same verdict."""
    found = LossRow(f"{len(rows)} {name}", rows[0].whole, sum(row.lines for row in rows))
    for row in rows:
        found.fooled += row.fooled
        for group, counts in row.said.items():
            found.said.setdefault(group, Counter()).update(counts)
    return found


def cell(row: LossRow, group: str) -> str:
    """Return how often a group of damages ended as holds, unknown, violated; and how often it must not have."""
    counts = row.said.get(group, Counter())
    wrong = sum(one.group == group for one in row.fooled)
    text = "/".join(str(counts[verdict]) for verdict in (Verdict.HOLDS, Verdict.UNKNOWN, Verdict.VIOLATED))
    return f"{text} **{wrong}**" if wrong else text


def table(rows: list[LossRow]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        f"| run | whole | lines | {' | '.join(GROUPS)} |",
        f"| --- | --- | --- | {' | '.join('---' for _ in GROUPS)} |",
    ]
    for row in rows:
        cells = [cell(row, group) for group in GROUPS]
        lines.append(f"| {row.run} | {row.whole} | {row.lines} | {' | '.join(cells)} |")
    return "\n".join(lines)


def embedded(document: str, text: str) -> str:
    """Return ``document`` with the text between its marks replaced."""
    before, rest = document.split(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}"


def summary(fooled: list[FooledVerdict]) -> str:
    """Return the wrong verdicts, shortened: first by kind, then one by one."""
    kinds = Counter((one.group, one.must_not.partition(":")[0], one.verdict) for one in fooled)
    lines = [
        f"{count:6} x {group}: {verdict}, although {why}"
        for (group, why, verdict), count in kinds.most_common()
    ]
    # Who accuses or excuses wrongly is worse than who overlooks.
    worst = sorted(fooled, key=lambda one: not one.must_not.startswith("the whole run is"))
    lines += [str(one) for one in worst[:MOST_SHOWN]]
    if len(fooled) > MOST_SHOWN:
        lines.append(f"and {len(fooled) - MOST_SHOWN} more")
    return "\n".join(lines)
