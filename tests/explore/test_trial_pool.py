# SPDX-License-Identifier: MIT
"""The processes that execute generated plans: their end, whoever ends first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from left_over import machines_in

from harness.deadline import Deadline
from harness.explore.trial import Trial
from harness.explore.trial_pool import TrialPool
from harness.explore.trial_process import TrialSetting
from harness.run.operation import AddCpu
from harness.run.options import RunOptions
from harness.setup.cache import cache_directory

pytestmark = pytest.mark.host

PLAN = (AddCpu(), AddCpu())
MANY = 6
"""Plans that take some seconds."""


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrialPool]:
    """Two processes, which keep their runs in a folder of the test. So do those that are killed with their registry."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    options = RunOptions(guest="host")
    with TrialPool(TrialSetting(options, tmp_path, cache_directory(os.environ)), processes=2) as one:
        yield one


def ended(pool: TrialPool) -> list[Trial]:
    """Return the trials of all plans."""
    found: list[Trial] = []
    while pool.busy:
        found += [trial for _, trial in pool.results(1.0)]
    return found


def processes(parent: int) -> list[psutil.Process]:
    """Return the processes that are descended from one."""
    return psutil.Process(parent).children(recursive=True)


def guests(parent: int) -> list[psutil.Process]:
    """Return the guests among them."""
    return [one for one in processes(parent) if one.name() == "hpnotify-host"]


def test_plans_are_executed(pool: TrialPool) -> None:
    """Each has its verdict, and the usual time of a plan is known."""
    for _ in range(5):
        pool.submit(PLAN)
    trials = ended(pool)
    assert [
        (trial.failed, trial.signature, str(trial.verdict and trial.verdict.verdict)) for trial in trials
    ] == [(False, "", "holds")] * 5
    assert 0 < pool.usual_seconds < 60


def test_a_killed_process_costs_its_plan(pool: TrialPool) -> None:
    """It has failed, its guest is gone, and another process executes the next plan."""
    for _ in range(MANY):
        pool.submit(PLAN)
    Deadline(60, "a guest").poll(lambda: bool(guests(os.getpid())))
    os.kill(guests(os.getpid())[0].ppid(), signal.SIGKILL)
    failed = [trial for trial in ended(pool) if trial.failed]
    assert [trial.reason for trial in failed] == ["the process that executed the plan died"]
    Deadline(30, "the end of the guest").poll(lambda: not guests(os.getpid()))
    pool.submit(PLAN)
    (trial,) = ended(pool)
    assert not trial.failed


def test_the_end_of_the_server_costs_the_plans_under_way(pool: TrialPool) -> None:
    """The processes end their guests, and a new server forks the next ones."""
    for _ in range(MANY):
        pool.submit(PLAN)
    Deadline(60, "a guest").poll(lambda: bool(guests(os.getpid())))
    executing = guests(os.getpid())[0].parent()
    server = executing and executing.parent()
    assert server is not None
    before = server.children(recursive=True)
    server.kill()
    assert 1 <= sum(trial.failed for trial in ended(pool)) <= 2
    Deadline(30, "the end of its processes").poll(lambda: not any(one.is_running() for one in before))
    pool.submit(PLAN)
    assert [trial.failed for trial in ended(pool)] == [False]


EXPLORER = """
import os, sys
from pathlib import Path
from harness.explore.trial_pool import TrialPool
from harness.explore.trial_process import TrialSetting
from harness.run.operation import AddCpu
from harness.run.options import RunOptions
from harness.setup.cache import cache_directory
setting = TrialSetting(RunOptions(guest="host"), Path(sys.argv[1]), cache_directory(os.environ))
with TrialPool(setting, processes=2) as pool:
    while True:
        while pool.busy < 4:
            pool.submit((AddCpu(), AddCpu()))
        pool.results(1.0)
"""


def test_a_killed_exploration_leaves_nothing(tmp_path: Path) -> None:
    """Also after SIGKILL: no process, and no machine in the registry."""
    explorer = subprocess.Popen([sys.executable, "-c", EXPLORER, str(tmp_path)])
    Deadline(120, "two guests").poll(lambda: len(guests(explorer.pid)) == 2)
    mine = processes(explorer.pid)
    explorer.kill()
    explorer.wait()
    Deadline(60, "the end of its processes").poll(lambda: not any(one.is_running() for one in mine))
    assert machines_in(tmp_path) == []
