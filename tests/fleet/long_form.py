# SPDX-License-Identifier: MIT
"""Nightly runs of a real fleet, each hit by a fault at a random moment: ``tox -e fleet`` prints the rows of docs/fleet.md.

Half of the cells are runs of the guest ``host``, a process; the others restore the twin. Where root and ip(8) allow it, the hosts are
in network namespaces of their own, with TLS. Whatever the fault, each cell has one outcome that counts, what the hosts recorded
arrives, and no process of a cell goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from harness.deadline import Deadline
from harness.errors import GuestHang
from harness.interrupts import interruptible
from tests.fleet.conftest import PATIENCE, Fleet
from tests.fleet.faults import FAULTS, HEARTBEAT_S
from tests.fleet.namespaces import NetworkFleet, NoNamespaces

LAB = (
    'name = "hosts"\nparallel = 1\naccel = "tcg"\nrestore = true\nrepeat = {repeat}\n[[guest]]\nname = "host"\n[[guest]]\nname = "twin"\n'
    '[[topology]]\nname = "small"\nmax_processors = 4\n[[plan]]\nplan = "cpu-and-dimm"\n[fleet]\nwait = 60\nresults = "{results}"\n{tls}'
)
GUESTS = 2
CALLS = 4
"""How often the same command is called until no run is left."""
END_S = 60.0
"""Seconds for the last process of a cell to end."""


class Round(NamedTuple):
    """One nightly run that was hit: its cells, those that count once, the attempts that hosts began, the run directories that
    arrived, and the ``late`` attempts, which arrived after its end and stay in the exchange. ``left`` are processes of cells that go on,
    ``unsent`` records that a host keeps, or that were half received."""

    cells: int
    once: int
    attempts: int
    kept: int
    late: int
    left: list[int]
    unsent: list[str]

    @property
    def right(self) -> bool:
        """Whether each cell counts once, and nothing is left behind."""
        return self.once == self.cells and not self.left and not self.unsent


def hit(fault: str, fleet: Fleet, *, seed: int, cells: int) -> Round:
    """Execute a nightly run of three hosts, with a fault after a random number of outcomes. Closes the fleet. Raises GuestHang."""
    chance = random.Random(f"{fault}:{seed}")
    made = FAULTS[fault]
    with contextlib.ExitStack() as stack:
        disks = stack.enter_context(contextlib.ExitStack())
        # It ends before the disks of its hosts do.
        stack.callback(fleet.close)
        made.prepare(fleet, disks, chance)
        (fleet.place / "results").mkdir()
        tls = fleet.tls
        files = f'ca = "{tls.ca}"\ncert = "{tls.cert}"\nkey = "{tls.key}"\n' if tls else ""
        fleet.lab(LAB.format(repeat=cells // GUESTS, results=fleet.exchange, tls=files))
        fleet.scheduler(heartbeat=HEARTBEAT_S)
        for name in "abc":
            fleet.worker(name)
        fleet.hosts("a", "b", "c")
        nightly = fleet.nightly()
        after = chance.randrange(cells // 2)
        Deadline(PATIENCE, "the moment of the fault").poll(
            lambda: len(outcomes(fleet)) >= after and (fleet.cells() or nightly.poll() is not None),
            interval=0.02,
        )
        made.strike(fleet, chance)
        finish(fleet, cells)
        with contextlib.suppress(GuestHang):
            Deadline(END_S, "the end of the cells").poll(lambda: not fleet.cells(), interval=0.2)
        left = fleet.cells()
        if unsent(fleet):
            bring_back(fleet)
        fleet.start("load", "store", "load", "nightly").wait(PATIENCE)
        with contextlib.closing(sqlite3.connect(fleet.place / "nightly" / "results.sqlite")) as store:
            counted = [
                times for (times,) in store.execute(
                    "select sum(counted) from run where nightly_id is not null group by point_id, repetition"
                )
            ]  # fmt: skip
        once = counted.count(1) if len(counted) == len(set(outcomes(fleet))) else 0
        attempts = sum(text.count(": begins") for text in map(fleet.said, "abc"))
        late = len([*fleet.place.glob("results/*/*/note.json")])
        return Round(cells, once, attempts, len(fleet.runs()), late, left, unsent(fleet))


def finish(fleet: Fleet, cells: int) -> None:
    """Wait for the nightly run, and call it again while cells are left."""
    for _ in range(CALLS):
        code = fleet.last("nightly").wait(2 * PATIENCE)
        if code in (0, 1, 3) or len(set(outcomes(fleet))) == cells:
            return
        fleet.nightly()
    fleet.last("nightly").wait(2 * PATIENCE)


def unsent(fleet: Fleet) -> list[str]:
    """Return the attempts that are still on their hosts, and those half received."""
    found = [*fleet.place.glob("work-*/*/order.json"), *fleet.place.glob("nightly/n/.incoming/*")]
    return sorted(str(file.relative_to(fleet.place)) for file in found)


def bring_back(fleet: Fleet) -> None:
    """Start the workers again, which send what is left."""
    ending = [fleet.last(name) for name in "abc"]
    for worker in ending:
        worker.terminate()
    for worker, name in zip(ending, "abc", strict=True):
        worker.wait(PATIENCE)
        fleet.worker(name)
    Deadline(PATIENCE, "the records on the hosts").poll(
        lambda: not [*fleet.place.glob("work-*/*/order.json")], interval=0.2
    )


def outcomes(fleet: Fleet) -> list[str]:
    """Return the cell of each outcome in the journal."""
    try:
        return [str(one["cell"]) for one in fleet.outcomes()]
    except OSError:
        return []


def fleet_in(place: Path) -> Fleet:
    """Return a fleet in namespaces, on loopback where this machine makes none."""
    try:
        return NetworkFleet(place)
    except NoNamespaces as reason:
        print(f"on loopback: {reason}", file=sys.stderr)
        return Fleet(place)


def tried(fault: str, *, seed: int, cells: int) -> Round | None:
    """Execute one round in a folder of its own, None if it does not end. The folder of a wrong round is kept."""
    place = Path(tempfile.mkdtemp(prefix="fleet-"))
    try:
        found = hit(fault, fleet_in(place), seed=seed, cells=cells)
    except (GuestHang, AssertionError, subprocess.TimeoutExpired) as error:
        print(f"{error!r}, kept in {place}", file=sys.stderr, flush=True)
        return None
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    if found.right:
        shutil.rmtree(place, ignore_errors=True)
    else:
        print(f"kept in {place}", file=sys.stderr, flush=True)
    return found


def where() -> tuple[bool, str]:
    """Return whether hosts are in namespaces, and what the table says of it."""
    place = Path(tempfile.mkdtemp(prefix="fleet-"))
    fleet = fleet_in(place)
    fleet.close()
    shutil.rmtree(place)
    network = isinstance(fleet, NetworkFleet)
    return network, "in network namespaces, with TLS" if network else "on loopback, without TLS"


def table(found: dict[str, list[tuple[Round, float]]]) -> str:
    """Return the rows of docs/fleet.md."""
    head = "| fault | nightly runs | cells | counted once | attempts | run directories | late | left behind | seconds, most |"
    lines = [head, "|" + " --- |" * 9]
    for fault, rounds in found.items():
        if rounds:
            cells, once, attempts, kept, late = (sum(one[at] for one, _ in rounds) for at in range(5))
            left = sum(len(one.left) + len(one.unsent) for one, _ in rounds)
            longest = max(seconds for _, seconds in rounds)
            lines.append(
                f"| {fault} | {len(rounds)} | {cells} | {once} | {attempts} | {kept} | {late} | {left} | {longest:.0f} |"
            )
    return "\n".join(lines)


def main() -> int:
    """Print a row for each fault; return 1 if a cell was not counted once, or anything was left behind.

    Every fault has its first round before any has its second, so an interrupted table has some of each.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.long_form", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="nightly runs for each fault")
    parser.add_argument("--cells", type=int, default=12, help="cells of one nightly run, an even number")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fault", choices=FAULTS, action="append")
    given = parser.parse_args()
    if given.cells % GUESTS:
        parser.error(f"--cells {given.cells} is no multiple of the {GUESTS} guests")
    network, place_words = where()
    faults = [name for name in given.fault or FAULTS if network or not FAULTS[name].network]
    print(
        f"{datetime.datetime.now(datetime.UTC).date()}, three workers {place_words}, {os.cpu_count()} processors, "
        f"load {os.getloadavg()[0]:.1f}, {given.cells} cells, seed {given.seed}\n",
        flush=True,
    )
    found: dict[str, list[tuple[Round, float]]] = {fault: [] for fault in faults}
    wrong = 0
    try:
        for seed in range(given.seed, given.seed + given.rounds):
            for fault in faults:
                began = time.monotonic()
                one = tried(fault, seed=seed, cells=given.cells)
                seconds = time.monotonic() - began
                print(f"{fault}, seed {seed}: {seconds:.0f} s, {one}", file=sys.stderr, flush=True)
                wrong += one is None or not one.right
                if one is not None:
                    found[fault].append((one, seconds))
    finally:
        print(table(found), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    # Any signal that ends it ends the fleet too.
    with interruptible():
        sys.exit(main())
