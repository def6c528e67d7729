# SPDX-License-Identifier: MIT
"""What a cell costs in a fleet: bare orders through a real scheduler and worker, then nightly runs of the guest ``host``.

A bare order is answered at once: the rest is the engine's and the worker's. The scheduler's processor time for each is what
bounds how many hosts one scheduler carries. Runs are done on one worker and on two, one run at once each. Prints JSON.

``--cells 10 100 1000 10000`` and ``--runs 10 100`` say how many.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.fleet.engine import Engine
from harness.fleet.order import HostQuestion, encode
from tests.fleet.conftest import Fleet

WINDOW = 8
"""Orders under way at once: as many as a nightly run has on a few hosts."""
LONGEST_S = 3000.0
LAB = 'name = "hosts"\nparallel = 1\n[[guest]]\nname = "host"\n[[plan]]\nplan = "cpu-and-dimm"\nrepeat = {}\n'
TICKS = os.sysconf("SC_CLK_TCK")


def used(pid: int) -> tuple[float, float]:
    """Return the processor seconds that a process has used, and its resident memory in MiB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS, int(fields[21]) * resource.getpagesize() / 2**20


def bare(cells: int) -> dict[str, float]:
    """Send so many orders that are answered at once, and return what each costs."""
    with tempfile.TemporaryDirectory(prefix="bench-fleet-") as folder:
        fleet = Fleet(Path(folder))
        try:
            scheduler, worker = fleet.scheduler(), fleet.worker("a")
            fleet.hosts("a")
            order = encode(HostQuestion(machines={}, results=f"file://{folder}/results"))
            with Engine.connect(fleet.url, None) as engine:
                (host,) = engine.hosts()
                before, worker_before = used(scheduler.pid)[0], used(worker.pid)[0]
                began = time.perf_counter()
                sent = over = 0
                deadline = Deadline(LONGEST_S, "the orders")
                while over < cells and not deadline.expired:
                    while sent < cells and sent - over < WINDOW:
                        engine.send(f"bare-{sent}", order, host, {})
                        sent += 1
                    over += sum(one.answer is not None for one in engine.ended(1.0))
                seconds = time.perf_counter() - began
                after, memory = used(scheduler.pid)
                worker_after = used(worker.pid)[0]
        finally:
            fleet.close()
    if over < cells:
        raise SystemExit(f"{cells - over} of {cells} orders were not answered")
    return {
        "seconds": round(seconds, 2),
        "ms_per_cell": round(1000 * seconds / cells, 2),
        "scheduler_ms_per_cell": round(1000 * (after - before) / cells, 2),
        "worker_ms_per_cell": round(1000 * (worker_after - worker_before) / cells, 2),
        "scheduler_mib": round(memory, 1),
    }


def nightly(cells: int, names: str) -> float:
    """Return the seconds of a nightly run of so many runs on these workers, its start included."""
    with tempfile.TemporaryDirectory(prefix="bench-fleet-") as folder:
        fleet = Fleet(Path(folder))
        try:
            fleet.lab(LAB.format(cells))
            fleet.scheduler()
            for name in names:
                fleet.worker(name)
            fleet.hosts(*names)
            began = time.perf_counter()
            if code := fleet.nightly().wait(LONGEST_S):
                raise SystemExit(f"the nightly run ended with {code}: {fleet.said('nightly')[-500:]}")
            return time.perf_counter() - began
        finally:
            fleet.close()


def cost(cells: int) -> dict[str, float]:
    """Return the processor time of each part of a fleet for one run of a nightly run on two workers, without the runs' own."""
    with tempfile.TemporaryDirectory(prefix="bench-fleet-") as folder:
        fleet = Fleet(Path(folder))
        try:
            fleet.lab(LAB.format(cells))
            parts = {"scheduler": fleet.scheduler(), "a": fleet.worker("a"), "b": fleet.worker("b")}
            fleet.hosts("a", "b")
            before = {name: used(process.pid)[0] for name, process in parts.items()}
            began = time.perf_counter()
            # With its few programs, such as git for the version.
            _, status, usage = os.wait4(fleet.nightly().pid, 0)
            seconds = time.perf_counter() - began
            if status:
                raise SystemExit(f"the nightly run ended with {status}: {fleet.said('nightly')[-500:]}")
            found = {name: used(process.pid) for name, process in parts.items()}
            spent = {name: found[name][0] - before[name] for name in parts}
        finally:
            fleet.close()
    return {
        "seconds": round(seconds, 1),
        "nightly_ms_per_run": round(1000 * (usage.ru_utime + usage.ru_stime) / cells, 1),
        "nightly_mib": round(usage.ru_maxrss / 1024, 1),
        "scheduler_ms_per_run": round(1000 * spent["scheduler"] / cells, 1),
        "scheduler_mib": round(found["scheduler"][1], 1),
        "workers_ms_per_run": round(1000 * (spent["a"] + spent["b"]) / cells, 1),
        "load_after": os.getloadavg()[0],
    }


def local(cells: int) -> float:
    """Return the seconds of the same nightly run without a fleet."""
    with tempfile.TemporaryDirectory(prefix="bench-fleet-") as folder:
        fleet = Fleet(Path(folder))
        try:
            fleet.lab(LAB.format(cells))
            began = time.perf_counter()
            fleet.start("local", "nightly", "--once", "--lab", "lab.toml").wait(LONGEST_S)
            return time.perf_counter() - began
        finally:
            fleet.close()


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_fleet", description=__doc__)
    parser.add_argument("--cells", type=int, nargs="*", default=[10, 100, 1000, 10_000])
    parser.add_argument("--runs", type=int, nargs="*", default=[10])
    parser.add_argument("--costs", type=int, nargs="*", default=[10])
    given = parser.parse_args()
    figures: dict[str, Any] = {"processors": os.cpu_count(), "load_before": os.getloadavg()[0]}
    figures["bare"] = {str(cells): bare(cells) for cells in given.cells}
    runs = {}
    for cells in given.runs:
        alone, one, two = local(cells), nightly(cells, "a"), nightly(cells, "ab")
        runs[str(cells)] = {
            "without_fleet_s": round(alone, 1),
            "one_worker_s": round(one, 1),
            "two_workers_s": round(two, 1),
            "overhead_ms_per_run": round(1000 * (one - alone) / cells),
            "ratio_of_two_workers": round(one / two, 2),
        }
    figures["runs"] = runs
    figures["costs"] = {}
    for cells in given.costs:
        figures["costs"][str(cells)] = cost(cells)
        print(cells, figures["costs"][str(cells)], file=sys.stderr, flush=True)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
