# SPDX-License-Identifier: MIT
"""Nightly runs of a real fleet, each hit by a fault at a random moment: ``tox -e fleet`` prints the rows of docs/fleet.md.

A cell is a run of the guest ``host``, a process. Whatever the fault, each cell has one outcome that counts, and no process of a cell
goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from harness.deadline import Deadline
from harness.errors import GuestHang
from harness.interrupts import interruptible
from tests.fleet.conftest import PATIENCE, Fleet

LAB = (
    'name = "hosts"\nparallel = 2\n[[guest]]\nname = "host"\n[[plan]]\nplan = "cpu-and-dimm"\nrepeat = {cells}\n'
    '[fleet]\nwait = 60\nresults = "file://{results}"\n'
)
CALLS = 4
"""How often the same command is called until no run is left."""
HEARTBEAT_S = 5.0
"""Seconds after which the scheduler drops a worker that is stopped."""
END_S = 60.0
"""Seconds for the last process of a cell to end."""


class Round(NamedTuple):
    """One nightly run that was hit: how many cells it has, how many of them count once, and what is left."""

    cells: int
    once: int
    attempts: int
    left: list[int]
    calls: int


def kill_worker(fleet: Fleet) -> None:
    """Kill a worker and start it again."""
    fleet.last("a").kill()
    fleet.worker("a")


def hang_worker(fleet: Fleet) -> None:
    """Stop a worker until the scheduler has dropped it; then its result is late."""
    hung = fleet.last("a")
    hung.send_signal(signal.SIGSTOP)
    fleet.hosts("b", "c")
    hung.send_signal(signal.SIGCONT)


def kill_scheduler(fleet: Fleet) -> None:
    """Kill the scheduler and start it again."""
    fleet.last("scheduler").kill()
    fleet.scheduler(heartbeat=HEARTBEAT_S)


def kill_nightly(fleet: Fleet) -> None:
    """Kill the nightly run; the same command goes on."""
    fleet.last("nightly").kill()


def interrupt_nightly(fleet: Fleet) -> None:
    """End the nightly run as Ctrl-C does."""
    fleet.last("nightly").send_signal(signal.SIGINT)


def cancel_orders(fleet: Fleet) -> None:
    """Cancel all orders from elsewhere."""
    from distributed import Client, Future

    with Client(fleet.url, timeout=20, set_as_default=False) as client:
        keys = [key for keys in client.processing().values() for key in keys]
        client.cancel([Future(key, client) for key in keys], force=True)


def take_results_away(fleet: Fleet) -> None:
    """Let nobody reach the exchange for a while."""
    place, aside = fleet.place / "results", fleet.place / "results-away"
    place.rename(aside)
    place.touch()
    Deadline(PATIENCE, "an attempt that is not sent").poll(
        lambda: (
            any("not sent yet" in fleet.said(name) for name in "abc")
            or "cannot be" in fleet.said("nightly")
            or fleet.last("nightly").poll() is not None
        ),
        interval=0.2,
    )
    place.unlink()
    aside.rename(place)


FAULTS: dict[str, Callable[[Fleet], None]] = {
    "a worker is killed": kill_worker,
    "a worker hangs, and its result is late": hang_worker,
    "the scheduler is killed": kill_scheduler,
    "the nightly run is killed": kill_nightly,
    "the nightly run is interrupted": interrupt_nightly,
    "all orders are cancelled": cancel_orders,
    "results cannot be reached": take_results_away,
}
"""What happens to a nightly run, by its name in the table."""


def hit(fault: str, place: Path, *, seed: int, cells: int) -> Round:
    """Execute a nightly run of three hosts in a folder, with a fault after a random number of outcomes. Raises GuestHang."""
    chance = random.Random(f"{fault}:{seed}")
    fleet = Fleet(place)
    try:
        (place / "results").mkdir()
        fleet.lab(LAB.format(cells=cells, results=place / "results"))
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
        FAULTS[fault](fleet)
        calls = 1
        while (
            nightly.wait(2 * PATIENCE) not in (0, 1, 3)
            and len(set(outcomes(fleet))) < cells
            and calls < CALLS
        ):
            nightly = fleet.nightly()
            calls += 1
        left: list[int] = []
        with contextlib.suppress(GuestHang):
            Deadline(END_S, "the end of the cells").poll(lambda: not fleet.cells(), interval=0.2)
        left = fleet.cells()
        fleet.start("load", "store", "load", "nightly").wait(PATIENCE)
        with contextlib.closing(sqlite3.connect(place / "nightly" / "results.sqlite")) as store:
            counted = dict(
                store.execute(
                    "select repetition, sum(counted) from run where nightly_id is not null group by 1"
                )
            )
        once = sum(counted.get(number) == 1 for number in range(1, cells + 1))
        attempts = sum(text.count(": begins") for text in map(fleet.said, "abc"))
        return Round(cells, once if len(set(outcomes(fleet))) == cells else 0, attempts, left, calls)
    finally:
        fleet.close()


def outcomes(fleet: Fleet) -> list[str]:
    """Return the cell of each outcome in the journal."""
    try:
        return [str(one["cell"]) for one in fleet.outcomes()]
    except OSError:
        return []


def main() -> int:
    """Print a row for each fault; return 1 if a cell was not counted once, or anything was left behind."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.long_form", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="nightly runs for each fault")
    parser.add_argument("--cells", type=int, default=12, help="cells of one nightly run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fault", choices=FAULTS, action="append")
    given = parser.parse_args()
    wrong = 0
    today = datetime.datetime.now(datetime.UTC).date()
    load = os.getloadavg()[0]
    print(f"{today}, three workers on {os.cpu_count()} processors, load {load:.1f}, seed {given.seed}\n")
    print("| fault | nightly runs | cells | counted once | attempts | left behind | seconds, most |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for fault in given.fault or FAULTS:
        rounds, longest = [], 0.0
        for number in range(given.rounds):
            began = time.monotonic()
            place = Path(tempfile.mkdtemp(prefix="fleet-"))
            rounds.append(hit(fault, place, seed=given.seed + number, cells=given.cells))
            longest = max(longest, time.monotonic() - began)
            if rounds[-1].once != rounds[-1].cells or rounds[-1].left:
                wrong += 1
                print(f"{fault}, seed {given.seed + number}: {rounds[-1]}, kept in {place}", file=sys.stderr)
            else:
                shutil.rmtree(place, ignore_errors=True)
        cells, once, attempts = (sum(one[at] for one in rounds) for at in range(3))
        left = sum(len(one.left) for one in rounds)
        print(
            f"| {fault} | {len(rounds)} | {cells} | {once} | {attempts} | {left} | {longest:.0f} |",
            flush=True,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    # Any signal that ends it ends the fleet too.
    with interruptible():
        sys.exit(main())
