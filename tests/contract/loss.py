# SPDX-License-Identifier: MIT
"""``python -m tests.contract.loss``: every line of every run, damaged in every way; no verdict may be fooled.

The runs are those that tests/recorded keeps, each built-in plan and each injected fault on the guest ``host``, made now, and
the examples of the rules that are violated.
A damaged run must not be violated if the whole one is not, must not hold if the whole one is violated, and must not hold if
the damage shows in its history. ``--document`` writes the table into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.rules.catalogue import all_rules
from harness.contract.verdict import Verdict
from harness.guest.fault_injection import INJECTED_FAULTS
from harness.history.record import Record
from harness.run.plan import built_in_plans, find_plan
from harness.run.request import RunRequest
from harness.run.run import perform
from harness.setup.cache import cache_directory
from tests.contract.damage import (
    DAMAGES,
    DamagedRun,
    WiredRun,
    damaged,
    twice_damaged,
    unaccounted,
    wired,
    wired_directory,
)
from tests.contract.forging import continues, excused_by, forgery, inserted, one_driver
from tests.recorded.kept import kept_runs

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- loss: begin -->", "<!-- loss: end -->"
GROUPS = [*dict.fromkeys(damage.group for damage in DAMAGES), "account", "two", "forged lines"]
TWO = 200
"""Pairs of damages that are drawn for each run."""

FORGED_LINES = 300
"""Single forged lines, and pairs of them, that are drawn for each example of a rule with one driver."""

MOST_SHOWN = 200


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


def damaged_runs(run: WiredRun, seed: int, two: int = TWO) -> Iterator[DamagedRun]:
    """Yield a run after each damage to each line, without an account, and after ``two`` pairs of damages."""
    draw = random.Random(f"{seed} {run.name}")
    for place in run.places():
        for damage in DAMAGES:
            yield damaged(run, damage, place, draw)
    yield unaccounted(run)
    for _ in range(two if len(run.places()) > 1 else 0):
        yield twice_damaged(run, draw)


def recorded_runs() -> Iterator[WiredRun]:
    """Yield the runs that are kept."""
    for kept in kept_runs():
        yield wired_directory(str(kept), kept.directory)


def live_runs(place: Path, only: str = "") -> Iterator[WiredRun]:
    """Make each built-in plan and each injected fault on the guest ``host`` and yield the runs; ``only`` those so named."""
    wanted = [(name, "") for name in sorted(built_in_plans())]
    wanted += [(fault.plan, name) for name, fault in INJECTED_FAULTS.items()]
    for plan, fault in wanted:
        name = f"{plan}, {fault} (live)" if fault else f"{plan} (live)"
        if only not in name:
            continue
        request = RunRequest(
            plan=find_plan(plan), guest="host", runs=place, cache=cache_directory(os.environ), argv=["loss"],
            inject_fault=fault or None,
        )  # fmt: skip
        yield wired_directory(name, perform(request).directory)


def violating_examples() -> Iterator[WiredRun]:
    """Yield the example of each rule that makes a run violated, where it has exactly one channel with an account."""
    for rule in all_rules():
        with contextlib.suppress(ValueError):
            run = wired(f"violates {rule.id}", trace(rule.violates), Path(rule.id))
            if said(run.whole)[0] is Verdict.VIOLATED:
                yield run


def together(name: str, rows: list[LossRow]) -> LossRow:
    """Return several rows as one. Their runs have the same verdict."""
    found = LossRow(f"{len(rows)} {name}", rows[0].whole, sum(row.lines for row in rows))
    for row in rows:
        found.fooled += row.fooled
        for group, counts in row.said.items():
            found.said.setdefault(group, Counter()).update(counts)
    return found


def forged_lines(row: LossRow, run: WiredRun, seed: int, count: int) -> None:
    """Add to a row what is said after one and after two forged lines, so often; nothing may be excused."""
    draw = random.Random(f"{seed} {run.name} forged")
    said = row.said.setdefault("forged lines", Counter())
    for number in range(2 * count if one_driver(run) else 0):
        lines = [forgery(run, draw) for _ in range(1 + number % 2)]
        if len(lines) > 1 and continues(run, lines):
            continue
        verdict = judge(run.received(inserted(run, lines)))
        said[verdict.verdict] += 1
        row.fooled += [
            FooledVerdict(run.name, "; ".join(map(str, lines)), "forged lines", what, verdict.verdict, "")
            for what in excused_by(judge(run.whole), verdict)
        ]


def proved(run: WiredRun, seed: int, two: int = TWO) -> LossRow:
    """Return the row of one run."""
    row = LossRow(run.name, said(run.whole)[0], len(run.places()))
    for one in damaged_runs(run, seed, two):
        row.take(one)
    return row


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


def main() -> int:
    """Judge every run in every damage, print the table; 1 if a verdict was fooled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--two", type=int, default=TWO, help="pairs of damages per run")
    parser.add_argument("--forged", type=int, default=FORGED_LINES, help="forged lines per example of a rule")
    parser.add_argument("--only", default="", help="runs whose name contains this")
    parser.add_argument("--document", action="store_true", help="write the table into docs/reliability.md")
    asked = parser.parse_args()
    began = datetime.datetime.now(datetime.UTC)
    rows: list[LossRow] = []
    with tempfile.TemporaryDirectory(prefix="hotplug-loss-") as place:
        for run in chain(recorded_runs(), live_runs(Path(place), asked.only)):
            if asked.only in run.name:
                rows.append(proved(run, asked.seed, asked.two))
                _progress(rows)
    examples = []
    for run in violating_examples():
        if asked.only in run.name:
            examples.append(proved(run, asked.seed, asked.two // 10))
            forged_lines(examples[-1], run, asked.seed, asked.forged)
            _progress([*rows, *examples])
    if examples:
        rows.append(together("examples of violated rules", examples))
    fooled = [one for row in rows for one in row.fooled]
    judged = sum(counts.total() for row in rows for counts in row.said.values())
    took = (datetime.datetime.now(datetime.UTC) - began).total_seconds()
    words = (
        ["tox -e loss"]
        if not sys.argv[1:] or asked.document
        else ["python -m tests.contract.loss", *sys.argv[1:]]
    )
    line = (
        f"{began:%Y-%m-%d}, revision {_revision()}, `{' '.join(words)}`, seed {asked.seed}: {judged} damaged runs, "
        f"{len(fooled)} wrong verdicts, {took:.0f} s."
    )
    print(table(rows), line, summary(fooled) or "no verdict was fooled", sep="\n\n")
    if asked.document:
        DOCUMENT.write_text(embedded(DOCUMENT.read_text(), f"{line}\n\n{table(rows)}"))
    return 1 if fooled else 0


def _progress(rows: list[LossRow]) -> None:
    if sys.stderr.isatty():
        wrong = sum(len(row.fooled) for row in rows)
        print(
            f"\r\x1b[K{len(rows)} runs, {wrong} wrong; last {rows[-1].run}",
            end="",
            file=sys.stderr,
            flush=True,
        )


def _revision() -> str:
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return head.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
