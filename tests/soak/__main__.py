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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import msgspec

from harness.interrupts import interruptible
from harness.setup.parts import part
from tests.soak.journal import append_line, lines_of
from tests.soak.place import ROOT, Place
from tests.soak.run import HITS, Choice, Outcome, Runner, choices


def main() -> int:
    """Make the runs, collect what killed ones left, print the table; 1 if anything was wrong or left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, help="drawn, or that of the log")
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--no-libvirt", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the run directories")
    parser.add_argument(
        "--log", type=Path, help="each run is a line of this file; goes on with it if it exists"
    )
    asked = parser.parse_args()
    # A shell's job in the background ignores SIGINT and SIGQUIT, and so would every harness that is to be hit by them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    libvirt = not asked.no_libvirt and not part("libvirt").missing()
    log = Log(asked.log, asked.seed)
    print(f"seed {log.seed}" + (f", {len(log.outcomes)} runs are over" if log.outcomes else ""), flush=True)
    began = datetime.datetime.now(datetime.UTC)
    place = Place(libvirt=libvirt)
    wrong: list[str] = []
    try:
        runs = choices(asked.runs, log.seed, libvirt=libvirt, root=os.geteuid() == 0)
        with interruptible():
            wrong = soak(place, runs, log, asked.at_once)
    except KeyboardInterrupt as stop:
        print(f"{stop or 'interrupted'}: {len(log.outcomes)} of {asked.runs} runs are over")
    finally:
        place.close(keep=asked.keep)
        if asked.keep:
            print(f"kept: {place.path}")
    wrong += [text for outcome in log.outcomes for text in said_of(outcome)]
    print(table(log.outcomes, log.swept))
    took = (datetime.datetime.now(datetime.UTC) - began).total_seconds()
    print(
        f"\n{began:%Y-%m-%d}, {len(log.outcomes)} runs, seed {log.seed}, {asked.at_once} at once, {took:.0f} s, {_host()}"
    )
    print("\n".join(wrong) if wrong else "nothing wrong, nothing left")
    return 1 if wrong else 0


class Log:
    """The outcomes of a soak, kept in ``file`` if there is one. ``swept`` is how many things ``gc`` found."""

    def __init__(self, file: Path | None = None, seed: int | None = None) -> None:
        self._file = file
        self.outcomes: list[Outcome] = []
        self.swept = 0
        seeds: set[int] = set()
        for found in lines_of(file, _Line) if file is not None else []:
            seeds.add(found.seed)
            self.swept += found.swept
            self.outcomes += [found.outcome] if found.outcome is not None else []
        if seeds and seed not in (None, *seeds):
            sys.exit(f"the runs in {file} have the seed {seeds.pop()}, not {seed}")
        self.seed = seeds.pop() if seeds else random.randrange(1 << 30) if seed is None else seed

    def add(self, outcome: Outcome | None = None, *, swept: int = 0) -> None:
        """Keep how a run ended, or what was found in the end."""
        self.outcomes += [outcome] if outcome is not None else []
        self.swept += swept
        if self._file is not None:
            append_line(self._file, _Line(seed=self.seed, outcome=outcome, swept=swept))


class _Line(msgspec.Struct, kw_only=True):
    seed: int
    outcome: Outcome | None = None
    swept: int = 0


def said_of(outcome: Outcome) -> list[str]:
    """Return what is wrong with a run, a line each."""
    one = outcome.choice
    return [f"run {one.number} ({one.plan}, {one.backend}, {one.hit}): {text}" for text in outcome.wrong]


def soak(place: Place, runs: Sequence[Choice], log: Log, at_once: int) -> list[str]:
    """Make the runs that the log has not; return what is left in the end, in words. Raises KeyboardInterrupt after that."""
    over = {outcome.choice.number for outcome in log.outcomes}
    runner = Runner(place)
    pool = ThreadPoolExecutor(at_once)
    try:
        running = [pool.submit(runner.run, one) for one in runs if one.number not in over]
        for done in as_completed(running):
            outcome = done.result()
            log.add(outcome)
            one = outcome.choice
            print(
                f"{len(log.outcomes):>4}/{len(runs)}  {one.number:>4} {one.hit:<9} {one.backend:<7} {one.plan:<13} "
                f"ended with {outcome.code:>4} after {outcome.seconds:5.1f} s  {outcome.verdict or outcome.history}"
                + (f"  WRONG: {'; '.join(outcome.wrong)}" if outcome.wrong else ""),
                flush=True,
            )
    finally:
        pool.shutdown(cancel_futures=True)
        log.add(swept=len([text for text in place.remains() if text.startswith("entry")]))
        said = place.collect()
        left = [f"left: {text}" for text in place.remains()]
    return [*([said] if said else []), *left]


def table(outcomes: list[Outcome], swept: int) -> str:
    """Return the table of docs/reliability.md."""
    lines = [
        "| hit | runs | through libvirt | struck in time | starved by the host | exit codes | verdicts | histories | wrong |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for hit in HITS:
        rows = [each for each in outcomes if each.choice.hit == hit]
        if rows:
            lines.append(
                f"| {hit} | {len(rows)} | {sum(each.choice.backend == 'libvirt' for each in rows)} "
                f"| {sum(each.struck for each in rows)} | {sum(each.starved for each in rows)} | {_counted(str(each.code) for each in rows)} "
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
