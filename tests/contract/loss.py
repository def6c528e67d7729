# SPDX-License-Identifier: MIT
"""``python -m tests.contract.loss``: every line of every run, damaged in every way; no verdict may be fooled.

The runs are those that tests/recorded keeps, each built-in plan and each injected fault on the guest ``host``, made now, and
the examples of the rules that are violated.
A damaged run must not be violated if the whole one is not, must not hold if the whole one is violated, and must not hold if
the damage shows in its history. ``--document`` writes the table into docs/reliability.md, and that of single missing records
into docs/rules.md (:mod:`tests.contract.missing`).
"""

from __future__ import annotations

import argparse
import datetime
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from harness.contract.checker import judge
from tests.contract import missing
from tests.contract.damage import DAMAGES, DamagedRun, damaged, twice_damaged, unaccounted
from tests.contract.forging import continues, excused_by, forgery, inserted, one_driver
from tests.contract.loss_row import DOCUMENT, FooledVerdict, LossRow, embedded, said, summary, table, together
from tests.contract.whole_runs import live_runs, recorded_runs, violating_examples
from tests.contract.wired_run import WiredRun

TWO = 200
"""Pairs of damages that are drawn for each run."""

FORGED_LINES = 300
"""Single forged lines, and pairs of them, that are drawn for each example of a rule with one driver."""


def damaged_runs(run: WiredRun, seed: int, two: int = TWO) -> Iterator[DamagedRun]:
    """Yield a run after each damage to each line, without an account, and after ``two`` pairs of damages."""
    draw = random.Random(f"{seed} {run.name}")
    for place in run.places():
        for damage in DAMAGES:
            yield damaged(run, damage, place, draw)
    yield unaccounted(run)
    for _ in range(two if len(run.places()) > 1 else 0):
        yield twice_damaged(run, draw)


def proved(run: WiredRun, seed: int, two: int = TWO) -> LossRow:
    """Return the row of one run."""
    row = LossRow(run.name, said(run.whole)[0], len(run.places()))
    for one in damaged_runs(run, seed, two):
        row.take(one)
    return row


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


def main() -> int:
    """Judge every run in every damage, print the table; 1 if a verdict was fooled, or a violation vanished."""
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
        for run in chain(recorded_runs(asked.only), live_runs(Path(place), asked.only)):
            rows.append(proved(run, asked.seed, asked.two))
            _progress(rows)
    examples = []
    for run in violating_examples(asked.only):
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
    hidden = [] if asked.only else missing.vanished()
    print(*hidden, sep="\n", end="\n" if hidden else "")
    if asked.document:
        missing.write()
        DOCUMENT.write_text(embedded(DOCUMENT.read_text(), f"{line}\n\n{table(rows)}"))
    return 1 if fooled or hidden else 0


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
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=DOCUMENT.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return head.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
