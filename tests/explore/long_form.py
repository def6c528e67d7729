# SPDX-License-Identifier: MIT
"""Each fault that needs particular operations, explored with many seeds: ``tox -e explore`` prints the rows of docs/explore.md."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from harness.explore.exploration import Exploration, ExplorationReport
from harness.run.options import RunOptions
from harness.setup.cache import cache_directory

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


def main() -> int:
    """Print a row for each fault; return 1 if one was not found or not shrunk to what it needs."""
    parser = argparse.ArgumentParser(prog="python -m tests.explore.long_form", description=__doc__)
    parser.add_argument("--guest", default="twin")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--plans", type=int, default=3000, help="how many plans to try at most")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--fault", choices=FAULTS, action="append")
    given = parser.parse_args()
    missed = 0
    print("| fault | guest | operations | found | shrunk to them | plans, median | plans, most |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for fault in given.fault or FAULTS:
        kinds = FAULTS[fault]
        plans, shrunk = [], 0
        for seed in range(given.seeds):
            report = explore(given.guest, fault, seed, most=given.plans, jobs=given.jobs)
            for finding in report.findings:
                plans.append(finding.first_seen)
                shrunk += [one["op"] for one in finding.operations] == kinds
            print(f"{fault}, seed {seed}: {plans[-1:]} plans", file=sys.stderr, flush=True)
        missed += 2 * given.seeds - len(plans) - shrunk
        middle, largest = (f"{statistics.median(plans):.0f}", f"{max(plans)}") if plans else ("", "")
        print(
            f"| `{fault}` | {given.guest} | {len(kinds)} | {len(plans)} of {given.seeds} | {shrunk} | {middle} | {largest} |",
            flush=True,
        )
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
