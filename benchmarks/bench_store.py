# SPDX-License-Identifier: MIT
"""The time of the result store to load 1,000 run directories, and to answer each query at ten million rule rows.

The two queries of ``harness nightly`` are included: the time of each run, and the order of the runs. It measures
SQLite, and a separate PostgreSQL server (fsync on) if PostgreSQL is installed. Prints JSON.
``HOTPLUG_HARNESS_BENCH_ROWS`` sets the number of rows.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.made_lab import BROKEN, SPEAKING, MadeLab
from harness.lab.matrix import Cell, KnownRow
from harness.setup.parts import part
from harness.store.address import StoreAddress, read_address
from harness.store.database import Database
from harness.store.loader import load
from harness.store.questions.cost import DAYS as COST_DAYS
from harness.store.questions.cost import cost
from harness.store.questions.flaky import flaky
from harness.store.questions.incidents import incidents
from harness.store.questions.known import known_issues
from harness.store.questions.last_runs import last_runs
from harness.store.questions.moment import since
from harness.store.questions.never import never
from harness.store.questions.nightly_comparison import nightly_comparison
from harness.store.questions.rule_past import rule_past
from harness.store.questions.slow import slow
from harness.store.questions.telling import FLAKY_DAYS, telling
from harness.store.source import sources

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "tests" / "recorded" / "runs"

ROWS = int(os.environ.get("HOTPLUG_HARNESS_BENCH_ROWS", 10_000_000))
LOADED = 1000
LOAD_LIMIT_S = 20.0
QUESTION_LIMIT_MS = 300.0
TIMES = 7
DAYS = 30.0

MADE_CELLS = [
    Cell(guest=f"guest-{at % 3}", qemu="qemu", topology="small", plan=f"plan-{at}", repetition=turn, seed=1)
    for turn in (1, 2)
    for at in range(60)
]
"""The cells of the made lab, each twice."""


def many_runs(folder: Path) -> None:
    """Copy the recorded run directories, each under a new name."""
    recorded = sorted(file.parent for file in RECORDED.glob("*/*/run.json"))
    for number in range(LOADED):
        source = recorded[number % len(recorded)]
        path = folder / f"run-{number}"
        shutil.copytree(source, path)
        facts = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps(facts | {"run": path.name}))


def questions() -> dict[str, Callable[[Any], Any]]:
    """Return every query of ``harness history`` and ``harness nightly`` with its defaults."""
    beginning = since(DAYS)
    span = {"days": DAYS, "beginning": beginning}
    known = [KnownRow(url="https://bugs.example.org/1", rule=BROKEN)]
    import datetime

    today = datetime.datetime.now(datetime.UTC).date()
    return {
        "runs": lambda store: last_runs(store, count=20),
        "runs --failed": lambda store: last_runs(store, count=20, failed=True),
        "new": nightly_comparison,
        "rule": lambda store: rule_past(store, BROKEN, **span),
        "flaky": lambda store: flaky(store, **span),
        "incidents": lambda store: incidents(store, **span),
        "known": lambda store: known_issues(store, known, today=today, **span),
        "slow": lambda store: slow(store, **span),
        "never": lambda store: never(store, **span),
        "nightly, what runs take": lambda store: cost(store, beginning=since(COST_DAYS)),
        "nightly, which runs first": lambda store: telling(
            store, MADE_CELLS, lab="made", without="", builds={}, beginning=since(FLAKY_DAYS)
        ),
    }


def measure(empty: StoreAddress, big: StoreAddress, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the figures of one database, and those that exceed their limits."""
    with Database.open(empty, make=True) as store:
        began = time.perf_counter()
        report = load(store, sources([folder]))
        loading = time.perf_counter() - began
    assert report.added == LOADED, report
    figures: dict[str, Any] = {"load_1000_runs_s": loading, "load_limit_s": LOAD_LIMIT_S}
    missed = [f"loading took {loading:.1f} s"] if loading > LOAD_LIMIT_S else []
    with Database.open(big, make=True) as store:
        began = time.perf_counter()
        figures["rule_rows"] = MadeLab(runs=ROWS // SPEAKING, now=int(time.time())).fill(store)
        figures["filling_s"] = time.perf_counter() - began
    with Database.open(big) as store:
        for name, ask in questions().items():
            taken = []
            for _ in range(TIMES):
                with store.reading() as connection:
                    began = time.perf_counter()
                    ask(connection)
                    taken.append(1000 * (time.perf_counter() - began))
            figures[name] = {"median_ms": statistics.median(taken), "first_ms": taken[0]}
            if statistics.median(taken) > QUESTION_LIMIT_MS:
                missed.append(f"{name} took {statistics.median(taken):.0f} ms")
    return figures | {"question_limit_ms": QUESTION_LIMIT_MS}, missed


@contextmanager
def postgres() -> Iterator[Any]:
    """Give a separate server, started as by the tests."""
    sys.path.insert(0, str(ROOT / "tests"))
    from private_postgres import running_postgres

    with running_postgres(durable=True) as server:
        yield server


def main() -> int:
    """Measure both databases, and remove the files of the large one."""
    figures: dict[str, Any] = {}
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="hh-") as name:
        place = Path(name)
        many_runs(place / "runs")
        files = [read_address(f"sqlite:///{place}/{stem}.sqlite", what="bench") for stem in ("empty", "big")]
        figures["sqlite"], late = measure(files[0], files[1], place / "runs")
        missed += [f"SQLite: {each}" for each in late]
        if not part("postgres").missing():
            with postgres() as server:
                addresses = [read_address(server.database(), what="bench") for _ in range(2)]
                figures["postgresql"], late = measure(addresses[0], addresses[1], place / "runs")
                missed += [f"PostgreSQL: {each}" for each in late]
    sys.stdout.write(json.dumps(figures) + "\n")
    if missed:
        sys.stderr.write("; ".join(missed) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
