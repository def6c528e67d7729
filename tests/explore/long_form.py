# SPDX-License-Identifier: MIT
"""The long form: each fault that needs particular operations explored with many seeds, or no fault for an hour.

``tox -e explore`` prints the rows of docs/explore.md. ``tox -e explore -- --without-fault 60 --picture growth.svg`` explores for an hour,
names the rules that docs/rules.md says the guest can show and that were not exercised, and draws how rules and orders grew.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.contract.rules.catalogue import all_rules
from harness.explore.exploration import PROGRESS, CorpusGrowth, Exploration, ExplorationReport, usual_jobs
from harness.run.options import RunOptions
from harness.setup.cache import cache_directory
from tests.process_guests.rule_table import BLAMED, NOT_EXERCISED, ON_THE_TWIN

FAULTS = {
    "second-start-after-memory": ["add-dimm", "add-cpu"],
    "no-complete-after-memory": ["add-cpu", "add-dimm", "add-cpu"],
    "swapped-after-refusal": ["veto-next", "add-cpu", "add-dimm", "add-cpu"],
}
"""The faults, and the operations that each needs."""


def explore(guest: str, fault: str, seed: int, *, most: int, jobs: int) -> ExplorationReport:
    """Explore a guest with a fault in a new folder, and return the report."""
    with tempfile.TemporaryDirectory(prefix="explore-") as folder:
        options = RunOptions(guest=guest, inject_fault=fault, seed=seed, restore=None)
        return Exploration(
            options, Path(folder), cache=cache_directory(os.environ), seconds=24 * 3600, most=most, jobs=jobs
        ).perform()


def shown_rules(guest: str) -> set[str]:
    """Return the rules that a plan exercises on ``guest``, as docs/rules.md says."""
    found = {rule.id for rule in all_rules() if rule.level in BLAMED} - set(NOT_EXERCISED)
    return found | set(ON_THE_TWIN) if guest == "twin" else found - set(ON_THE_TWIN)


def without_fault(guest: str, minutes: float, *, seed: int, jobs: int, picture: Path | None) -> int:
    """Explore without a fault and print what was exercised; return 1 if something was found or a rule was not exercised."""
    with tempfile.TemporaryDirectory(prefix="explore-") as folder:
        one = Exploration(
            RunOptions(guest=guest, seed=seed, restore=None), Path(folder), cache=cache_directory(os.environ),
            seconds=60 * minutes, jobs=jobs, going_on=True,
        )  # fmt: skip
        report = one.perform()
        growth = [
            msgspec.json.decode(line, type=CorpusGrowth)
            for line in (Path(folder) / PROGRESS).read_bytes().splitlines()
        ]
    missing = sorted(shown_rules(guest) - one.corpus.rules)
    if picture is not None:
        picture.write_text(drawn(growth, report.seconds), "utf-8")
    rate = 60 * report.plans / report.seconds
    print(
        f"{report.plans} plans in {report.seconds:.0f} s ({rate:.0f} a minute), {report.failed} without a result"
    )
    print(f"{report.rules} rules and {report.orders} orders exercised, {report.corpus} plans in the corpus")
    print(f"not exercised: {', '.join(missing) or 'none that the guest can show'}")
    for finding in report.findings:
        print(f"found: {finding.signature}: {finding.reason}")
    return int(bool(missing or report.findings))


WIDTH, HEIGHT, EDGE = 640, 280, 44
"""Pixels of the picture, and of its margins."""


def drawn(growth: Sequence[CorpusGrowth], seconds: float) -> str:
    """Return an SVG of how many rules and orders were exercised after how many minutes, each on a scale of its own."""
    lines = []
    for name, colour, at in (("rules", "#1f6feb", 0), ("orders", "#bc4c00", 1)):
        counts = [getattr(one, name) for one in growth]
        most = max(counts, default=0) or 1
        points = [
            (0.0, 0),
            *zip((one.seconds for one in growth), counts, strict=True),
            (seconds, counts[-1] if counts else 0),
        ]
        path = " ".join(
            f"{EDGE + x / max(seconds, 1) * (WIDTH - 2 * EDGE):.1f},{HEIGHT - EDGE - y / most * (HEIGHT - 2 * EDGE):.1f}"
            for x, y in points
        )
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        lines.append(
            f'<text x="{EDGE + 180 * at}" y="{EDGE - 16}" fill="{colour}">{name}: {counts[-1] if counts else 0}</text>'
        )
    lines.append(
        f'<text x="{WIDTH - EDGE}" y="{HEIGHT - 16}" text-anchor="end">{seconds / 60:.0f} minutes</text>'
    )
    frame = f'<path d="M{EDGE},{EDGE} V{HEIGHT - EDGE} H{WIDTH - EDGE}" fill="none" stroke="#888"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="13">\n{frame}\n' + "\n".join(lines) + "\n</svg>\n"
    )


def main() -> int:
    """Print a row for each fault; return 1 if one was not found or not shrunk to what it needs."""
    parser = argparse.ArgumentParser(prog="python -m tests.explore.long_form", description=__doc__)
    parser.add_argument("--guest", default="twin")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0, help="to go on where an earlier call was ended")
    parser.add_argument("--plans", type=int, default=3000, help="how many plans to try at most")
    parser.add_argument("--jobs", type=int, help="guests at once; by default as harness explore")
    parser.add_argument("--fault", choices=FAULTS, action="append")
    parser.add_argument(
        "--without-fault", type=float, metavar="MINUTES", help="explore without a fault for so long"
    )
    parser.add_argument("--seed", type=int, default=0, help="the seed without a fault")
    parser.add_argument("--picture", type=Path, help="where to draw how rules and orders grew")
    given = parser.parse_args()
    given.jobs = given.jobs or usual_jobs(given.guest)
    if given.without_fault:
        return without_fault(
            given.guest, given.without_fault, seed=given.seed, jobs=given.jobs, picture=given.picture
        )
    missed = 0
    print("| fault | guest | operations | found | shrunk to them | plans, median | plans, most |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for fault in given.fault or FAULTS:
        kinds = FAULTS[fault]
        plans, shrunk = [], 0
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            report = explore(given.guest, fault, seed, most=given.plans, jobs=given.jobs)
            # A seed may find the fault by two signatures at once.
            left = [[one["op"] for one in finding.operations] for finding in report.findings]
            plans += [min(finding.first_seen for finding in report.findings)] if left else []
            shrunk += kinds in left
            said = f"plan {plans[-1]}, {left}" if left else f"not in {report.plans} plans"
            print(f"{fault}, seed {seed}: {said}", file=sys.stderr, flush=True)
        missed += 2 * given.seeds - len(plans) - shrunk
        middle, largest = (f"{statistics.median(plans):.0f}", f"{max(plans)}") if plans else ("", "")
        print(
            f"| `{fault}` | {given.guest} | {len(kinds)} | {len(plans)} of {given.seeds} | {shrunk} | {middle} | {largest} |",
            flush=True,
        )
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
