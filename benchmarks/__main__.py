# SPDX-License-Identifier: MIT
"""Runs every ``bench_*.py`` beside this file, one after another, and prints their figures as one table.

A benchmark is a program that prints one JSON object on its output. It exits with a status other than 0 if a figure
exceeds its limit or cannot be measured. Nested objects are flattened: ``{"ours": {"median_us": 5}}`` becomes the row
``ours.median_us``. ``--json FILE`` also writes the unchanged objects to FILE, under their names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
LONGEST = 3600
"""The most seconds that one benchmark may take."""


def found(names: list[str]) -> dict[str, Path]:
    """Return the named benchmarks (all without names) by name, in alphabetical order."""
    known = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
    for name in names:
        if name not in known:
            sys.exit(f"benchmarks: there is no benchmark {name!r}; there are {', '.join(known)}")
    return {name: path for name, path in known.items() if not names or name in names}


def measure(path: Path) -> tuple[dict[str, Any], str]:
    """Run one benchmark. Return its figures, and the reason if it failed."""
    try:
        ended = subprocess.run(
            [sys.executable, str(path)],
            cwd=HERE.parent,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {}, f"did not end within {LONGEST} s"
    words = (ended.stderr.strip().splitlines() or ["no message"])[-1]
    try:
        figures = json.loads(ended.stdout)
    except ValueError:
        return {}, f"exit status {ended.returncode}, no JSON: {words}"
    if not isinstance(figures, dict):
        return {}, "printed JSON that is not an object"
    return figures, "" if ended.returncode == 0 else f"exit status {ended.returncode}: {words}"


def rows(figures: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Flatten the figures into names and values."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from rows(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> int:
    """Run the benchmarks named on the command line, all without names."""
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("names", nargs="*", help="benchmarks to run (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    arguments = parser.parse_args()
    table = Table("benchmark", "figure", "value")
    results: dict[str, Any] = {}
    failed = False
    for name, path in found(arguments.names).items():
        began = time.monotonic()
        sys.stderr.write(f"benchmarks: {name}\n")
        figures, failure = measure(path)
        results[name] = {**figures, **({"failure": failure} if failure else {})}
        failed = failed or bool(failure)
        for row, (figure, value) in enumerate(rows(results[name])):
            table.add_row("" if row else name, figure, value)
        table.add_row("", "(took)", f"{time.monotonic() - began:.1f} s", end_section=True)
    Console(soft_wrap=True).print(table)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
