# SPDX-License-Identifier: MIT
"""The job script of docs/fleet.md, submitted to Debian's Slurm as it is printed: its jobs are the hosts of nightly runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from fleet.conftest import PATIENCE, Fleet
from fleet.private_slurm import NODES, PrivateSlurm
from fleet.test_engine import SCRIPT
from left_over import machines_in
from part_markers import needs

from harness.deadline import Deadline
from harness.fleet.engine import Engine, OfferedHost
from tests.processes_of import forked_output

LAB = """
name = "hosts"
parallel = 4
[[guest]]
name = "host"
[[plan]]
plan = "cpu-and-dimm"
repeat = {cells}
[fleet]
scheduler = "{url}"
results = "file://{place}/results"
"""
OFFER = {"vcpus": 8.0, "memory": float((32 * 1024 - 256) << 20)}
"""What the printed script asks of Slurm, less what it keeps for the worker itself."""


@pytest.fixture
@needs("slurm")
def slurm() -> Iterator[PrivateSlurm]:
    """A cluster of two nodes, in a directory whose name is short enough for sockets. Afterwards nothing of it is left."""
    place = Path(tempfile.mkdtemp(prefix="hh-"))
    try:
        cluster = PrivateSlurm(place)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.close()
    finally:
        shutil.rmtree(place)


def submit(slurm: PrivateSlurm, fleet: Fleet, *words: str) -> str:
    """Submit the printed script in a folder with ``lab.toml``; return the job's number."""
    (fleet.place / "worker.sh").write_text(SCRIPT)
    given = {
        "PATH": f"{Path(sys.executable).parent}:{slurm.environment['PATH']}",
        "HOME": str(fleet.place),
        "TMPDIR": str(fleet.place),
    }
    return slurm.run("sbatch", "--parsable", *words, "worker.sh", cwd=fleet.place, **given)


def offered(fleet: Fleet, count: int) -> list[OfferedHost]:
    """Wait for a number of hosts, and return them."""
    with Engine.connect(fleet.url, None) as engine:
        return Deadline(PATIENCE, f"{count} hosts").poll(
            lambda: found if len(found := engine.hosts()) == count else None, interval=0.2
        )


def counted(fleet: Fleet) -> dict[int, int]:
    """Return how often each cell counts in the result store."""
    with sqlite3.connect(fleet.place / "nightly" / "results.sqlite") as store:
        return dict(store.execute("select repetition, sum(counted) from run group by 1"))


def begin(slurm: PrivateSlurm, fleet: Fleet, *, cells: int) -> None:
    """Write lab.toml, and start the scheduler."""
    (fleet.place / "results").mkdir()
    fleet.lab(LAB.format(cells=cells, url=fleet.url, place=fleet.place))
    fleet.scheduler()


def settled(process: psutil.Process) -> str | None:
    """Return whether a process that was told to stop is ``stopped`` or ``over``, None for neither."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return {psutil.STATUS_STOPPED: "stopped", psutil.STATUS_ZOMBIE: "over"}.get(process.status())
    return "over"


def freeze(slurm: PrivateSlurm, job: str, nightly: subprocess.Popen[bytes]) -> int:
    """Stop a cell of a job in the middle; return its process."""

    def cell() -> psutil.Process | None:
        assert nightly.poll() is None, "the nightly run was over before one of the job's cells was seen"
        for pid in slurm.processes(job):
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if forked_output(pid):
                    process.suspend()
                    return process
        return None

    while True:
        found = Deadline(PATIENCE, "a cell of the job").poll(cell, interval=0.02)
        # One that has ended meanwhile is not the one.
        if Deadline(PATIENCE, "a stopped cell").poll(partial(settled, found), interval=0.01) == "stopped":
            return found.pid


@pytest.mark.slurm
@pytest.mark.host
def test_jobs_are_the_hosts_of_a_nightly_run(slurm: PrivateSlurm, fleet: Fleet) -> None:
    """Each offers what Slurm gave it, two on one node as well; each cell counts once; with the scheduler the jobs end."""
    begin(slurm, fleet, cells=4)
    submit(slurm, fleet, "--array=1-3")
    hosts = offered(fleet, 3)
    assert {"node1": 2, "node2": 1} == Counter(host.name for host in hosts)
    assert {*slurm.jobs()} == {host.instance for host in hosts}
    assert [OFFER] * 3 == [{name: host.resources[name] for name in OFFER} for host in hosts]
    assert sorted(NODES) == sorted(set(slurm.jobs().values()))
    nightly = fleet.nightly()
    assert 0 == nightly.wait(PATIENCE), fleet.said("nightly")
    assert {1: 1, 2: 1, 3: 1, 4: 1} == counted(fleet)
    assert set(NODES) == {one["host"] for one in fleet.outcomes()}
    fleet.last("scheduler").terminate()
    Deadline(PATIENCE, "the end of the jobs").poll(lambda: not slurm.jobs(), interval=0.2)
    assert [] == machines_in(fleet.place)


@pytest.mark.slurm
@pytest.mark.host
@pytest.mark.parametrize(
    ("words", "state"),
    [
        # Slurm sends SIGCONT, SIGTERM and 30 s later SIGKILL to all processes of the job.
        pytest.param([], "CANCELLED", id="scancel"),
        # What --signal=B:TERM@180 does three minutes before the end: SIGTERM to the process of the script alone.
        pytest.param(["--batch", "--signal=TERM"], "FAILED", id="notice"),
    ],
)
def test_a_job_that_is_ended_costs_one_attempt(
    slurm: PrivateSlurm, fleet: Fleet, words: list[str], state: str
) -> None:
    """Its cell is tried again on the other node and counts once; its records are sent, and nothing of the job goes on."""
    begin(slurm, fleet, cells=5)
    first = submit(slurm, fleet, "--nodelist=node1")
    submit(slurm, fleet, "--nodelist=node2")
    offered(fleet, 2)
    nightly = fleet.nightly()
    frozen = freeze(slurm, first, nightly)
    slurm.run("scancel", *words, first)
    if words:
        os.kill(frozen, signal.SIGCONT)
    Deadline(PATIENCE, "the end of the job").poll(lambda: first not in slurm.jobs(), interval=0.1)
    assert state == slurm.job(first)["JobState"]
    assert [] == slurm.processes(first)
    assert [] == [*fleet.place.glob("harness-work/node1/*/order.json")]
    assert 0 == nightly.wait(PATIENCE), fleet.said("nightly")
    assert dict.fromkeys(range(1, 6), 1) == counted(fleet)
    assert "set aside" not in fleet.said("nightly")
    assert [] == machines_in(fleet.place)
