# SPDX-License-Identifier: MIT
"""``python -m tests.soak``: runs of the twin, each hit at a random moment; afterwards nothing may be left and nothing wrong."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from harness.setup.parts import part
from tests.soak.place import ROOT, Place
from tests.soak.run import HITS, Outcome, Runner, choices


def main() -> int:
    """Make the runs, collect what killed ones left, print the table; 1 if anything was wrong or left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--no-libvirt", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the run directories")
    asked = parser.parse_args()
    # A shell's job in the background ignores Ctrl-C, and so would every harness that is to be hit by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    libvirt = not asked.no_libvirt and not part("libvirt").missing()
    print(f"seed {asked.seed}", flush=True)
    began = datetime.datetime.now(datetime.UTC)
    place = Place(libvirt=libvirt)
    try:
        outcomes, wrong, swept = soak(place, asked.runs, asked.seed, asked.at_once)
    finally:
        place.close(keep=asked.keep)
        if asked.keep:
            print(f"kept: {place.path}")
    print(table(outcomes, swept))
    took = (datetime.datetime.now(datetime.UTC) - began).total_seconds()
    print(
        f"\n{began:%Y-%m-%d}, {asked.runs} runs, seed {asked.seed}, {asked.at_once} at once, {took:.0f} s, {_host()}"
    )
    print("\n".join(wrong) if wrong else "nothing wrong, nothing left")
    return 1 if wrong else 0


def soak(place: Place, count: int, seed: int, at_once: int) -> tuple[list[Outcome], list[str], int]:
    """Make the runs; return how they ended, what was wrong, and how many things ``gc`` found."""
    outcomes: list[Outcome] = []
    wrong: list[str] = []
    runner = Runner(place)
    with ThreadPoolExecutor(at_once) as pool:
        running = [
            pool.submit(runner.run, one) for one in choices(count, seed, libvirt=place.libvirtd is not None)
        ]
        for done in as_completed(running):
            outcome = done.result()
            outcomes.append(outcome)
            one = outcome.choice
            wrong += [
                f"run {one.number} ({one.plan}, {one.backend}, {one.hit}): {text}" for text in outcome.wrong
            ]
            print(
                f"{len(outcomes):>4}/{count}  {one.number:>4} {one.hit:<9} {one.backend:<7} {one.plan:<13} "
                f"ended with {outcome.code:>4} after {outcome.seconds:5.1f} s  {outcome.verdict or outcome.history}"
                + (f"  WRONG: {'; '.join(outcome.wrong)}" if outcome.wrong else ""),
                flush=True,
            )
    left = len([text for text in place.remains() if text.startswith("entry")])
    if said := place.collect():
        wrong.append(said)
    wrong += [f"left: {text}" for text in place.remains()]
    return outcomes, wrong, left


def table(outcomes: list[Outcome], swept: int) -> str:
    """Return the table of docs/reliability.md."""
    lines = [
        "| hit | runs | through libvirt | struck in time | exit codes | verdicts | histories | wrong |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for hit in HITS:
        rows = [each for each in outcomes if each.choice.hit == hit]
        if rows:
            lines.append(
                f"| {hit} | {len(rows)} | {sum(each.choice.backend == 'libvirt' for each in rows)} "
                f"| {sum(each.struck for each in rows)} | {_counted(str(each.code) for each in rows)} "
                f"| {_counted(each.verdict or 'none' for each in rows)} | {_counted(each.history for each in rows)} "
                f"| {sum(bool(each.wrong) for each in rows)} |"
            )
    lines.append(f"\n{swept} machines were in the registry before `harness gc`.")
    return "\n".join(lines)


def _counted(values: object) -> str:
    words = list(values)  # type: ignore[call-overload]
    return ", ".join(f"{words.count(word)}x {word}" for word in sorted(set(words)))


def _host() -> str:
    revision = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    cores = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return f"revision {revision.stdout.strip() or 'unknown'}, {platform.platform()}, {cores}"


if __name__ == "__main__":
    if not Path("/proc/locks").exists():
        sys.exit("needs Linux with /proc")
    sys.exit(main())
