# SPDX-License-Identifier: MIT
"""How much of the driver's source the host tests execute: lines and branches, by gcov.

``python tests/guest_drivers/driver_coverage.py [PYTEST_ARGUMENT...]`` runs the tests and prints a table with what was not reached.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

DRIVER = Path(__file__).parents[2] / "guest_drivers" / "hpnotify"
TESTS = tuple(
    str(Path(__file__).with_name(name)) for name in ("test_host_process.py", "test_plug_and_play.py")
)


class Covered(msgspec.Struct, frozen=True):
    """One file: lines and branches, all and reached; and what was not, as ``LINE`` or ``LINE branch N``."""

    name: str
    lines: int
    lines_reached: int
    branches: int
    branches_reached: int
    missed: list[str]


def build(folder: Path) -> None:
    """Compile the host process with counters, without sanitizers, whose checks would count as branches."""
    subprocess.run(
        [
            "make", "-s", "-j2", "-C", str(DRIVER / "host"), f"OUT={folder}", "SANITIZE=", "EXTRA=--coverage -fprofile-update=atomic -O0",
            f"{folder}/hpnotify-host", f"{folder}/hpnotify-schedules",
        ],
        check=True,
    )  # fmt: skip


def read(folder: Path) -> list[Covered]:
    """Return what the runs of the programs in ``folder`` have reached in ``src/``."""
    found = []
    objects = sorted((folder / "src").glob("*.gcda"))
    subprocess.run(
        ["gcov", "--json-format", "--branch-probabilities", *map(str, objects)],
        cwd=folder, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    for path in sorted(folder.glob("*.gcov.json.gz")):
        report = msgspec.json.decode(gzip.decompress(path.read_bytes()))
        found += [_covered(file) for file in report["files"] if Path(file["file"]).parent == DRIVER / "src"
                  and file["file"].endswith(".c")]  # fmt: skip
    return found


def _covered(file: dict[str, Any]) -> Covered:
    lines = [line for line in file["lines"] if not line.get("unexecuted_block") or line["count"] >= 0]
    branches = [(line, n, b) for line in lines for n, b in enumerate(line["branches"])]
    missed = [str(line["line_number"]) for line in lines if not line["count"]]
    missed += [
        f"{line['line_number']} branch {n}"
        for line, n, branch in branches
        if not branch["count"] and line["count"]
    ]
    return Covered(
        Path(file["file"]).name,
        len(lines),
        sum(line["count"] > 0 for line in lines),
        len(branches),
        sum(branch["count"] > 0 for _, _, branch in branches),
        missed,
    )


def measure(*arguments: str, tests: Sequence[str] = TESTS) -> list[Covered]:
    """Run the tests on counting programs and return what they reached. Raises CalledProcessError if one fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-o",
                f"cache_dir={name}/cache",
                "--no-header",
                *tests,
                "-m",
                "not qemu",
                *arguments,
            ],
            check=True,
            env={**os.environ, "HOTPLUG_HARNESS_HOST_PROGRAMS": name},
            cwd=DRIVER.parents[1],
            stdout=sys.stderr,
        )
        return read(folder)


def shares(files: list[Covered]) -> tuple[float, float]:
    """Return the percentages of lines and of branches that were reached."""
    return (
        100 * sum(file.lines_reached for file in files) / sum(file.lines for file in files),
        100 * sum(file.branches_reached for file in files) / sum(file.branches for file in files),
    )


if __name__ == "__main__":
    measured = measure(*sys.argv[1:])
    for each in measured:
        print(
            f"{each.name:14} lines {each.lines_reached}/{each.lines} branches {each.branches_reached}/{each.branches}"
            f"  {', '.join(each.missed)}"
        )
    lines_share, branches_share = shares(measured)
    print(f"lines {lines_share:.1f} %, branches {branches_share:.1f} %")
    sys.exit(lines_share < 95 or branches_share < 90)
