# SPDX-License-Identifier: MIT
"""Judges thousands of made histories and prints how many verdicts were right: ``tox -e model``."""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.contract.reference.cases import FAMILIES, Answer, ReferenceCase, answer, case, shrunk, write
from tests.contract.reference.scenario import Story

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "rules.md"
BEGIN, END = "<!-- made histories: begin -->", "<!-- made histories: end -->"
VERDICTS = ("holds", "unknown", "violated")
MOST_WRITTEN = 40
"""Wrong histories that are written; of one kind and verdict only the first."""


class Tally:
    """Counts answers by family, and by kind within it."""

    def __init__(self) -> None:
        self.rows: Counter[tuple[str, str]] = Counter()
        self.wrong: dict[tuple[str, str, str], tuple[ReferenceCase, int]] = {}

    def take(self, one: ReferenceCase, story: Story, said: Answer) -> None:
        """Count one answer."""
        for row in (one.family, f"{one.family}: {'|'.join(sorted(story.expected))} {one.name}".strip()):
            self.rows[row, "histories"] += 1
            self.rows[row, "right" if said.right else "wrong"] += 1
            self.rows[row, said.verdict] += 1
        if not said.right:
            key = (f"{one.family} {one.name}", said.verdict, said.reason.partition(":")[0])
            self.wrong[key] = (
                self.wrong[key][0] if key in self.wrong else one,
                self.wrong.get(key, (one, 0))[1] + 1,
            )

    def table(self, names: list[str]) -> str:
        """The rows of some names, as Markdown."""
        columns = ("histories", "right", "wrong", *VERDICTS)
        lines = [f"| kind | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
        for name in names:
            lines.append(
                f"| {name} | " + " | ".join(str(self.rows[name, column]) for column in columns) + " |"
            )
        return "\n".join(lines)


def run(count: int, seed: int, *, first: int = 0) -> Tally:
    """Judge ``count`` histories."""
    tally = Tally()
    for number in range(first, first + count):
        one = case(number, seed)
        story = one.story()
        assert story is not None
        tally.take(one, story, answer(story))
    return tally


def _document(tally: Tally, command: str) -> None:
    revision = subprocess.run(
        ["git", "rev-parse", "--short=7", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    said = f"`{command}` at {revision} on {datetime.date.today().isoformat()}:"
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(
        f"{before}{BEGIN}\n{said}\n\n{tally.table(list(FAMILIES))}\n{END}{after}", encoding="utf-8"
    )


def main() -> int:
    """Return 1 if a verdict was wrong."""
    options = argparse.ArgumentParser(prog="tox -e model --", description=__doc__)
    options.add_argument("--histories", type=int, default=10_000, help="how many histories (default 10000)")
    options.add_argument("--seed", type=int, default=1, help="what they are drawn from (default 1)")
    options.add_argument("--wrong", type=Path, help="directory for wrongly judged histories, made smaller")
    options.add_argument("--document", action="store_true", help="write the table into docs/rules.md")
    given = options.parse_args()
    tally = run(given.histories, given.seed)
    names = sorted({name for name, _ in tally.rows} - set(FAMILIES))
    print(tally.table([*FAMILIES, *names]))
    ranked = sorted(tally.wrong.items(), key=lambda item: -item[1][1])
    for (kind, verdict, reason), (_, times) in ranked:
        print(f"{times:5} wrong: {kind}: {verdict} {reason}")
    for place, (_, (one, _)) in enumerate(ranked[:MOST_WRITTEN] if given.wrong else ()):
        story = shrunk(one).story()
        assert story is not None
        write(story, given.wrong / f"m{place:02}-{story.kind.replace('/', '-').replace(' ', '-').lower()}")
    if given.document:
        _document(tally, f"tox -e model -- --histories {given.histories} --seed {given.seed}")
    return 1 if ranked else 0


if __name__ == "__main__":
    sys.exit(main())
