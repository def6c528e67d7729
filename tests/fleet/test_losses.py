# SPDX-License-Identifier: MIT
"""Losses of a fleet while runs are under way: each cell has one outcome, and the end of a worker is one failure of its host."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sqlite3
from collections.abc import Callable, Iterator

import pytest
from fleet.conftest import PATIENCE, Fleet
from fleet.slow_nightly import FAILS, SlowNightly, terminate

from harness.cli.fleet_options import harness_version
from harness.deadline import Deadline
from harness.fleet.engine import Engine
from harness.fleet.nightly import FleetNightly, FleetSettings
from harness.lab.matrix import read_matrix
from harness.lab.nightly_pass import PassOptions
from harness.lab.nightly_state import open_nightly_run

pytestmark = pytest.mark.qemu

MakeSlow = Callable[..., SlowNightly]


@pytest.fixture
def slow(fleet: Fleet) -> Iterator[MakeSlow]:
    """Nightly runs whose QEMU hangs until it is released."""
    made: list[SlowNightly] = []

    def make(machines: int = 1, *, parallel: int = 3, hold: float = 15) -> SlowNightly:
        made.append(SlowNightly(fleet, machines=machines, parallel=parallel, hold=hold))
        return made[-1]

    yield make
    for one in made:
        one.release()


def cells(fleet: Fleet) -> set[str]:
    """Return the cells that have an outcome."""
    return {one["cell"] for one in fleet.outcomes()}


@contextlib.contextmanager
def in_process(fleet: Fleet, said: list[str]) -> Iterator[tuple[FleetNightly, Engine]]:
    """A nightly run of lab.toml in this process, whose steps the test makes itself; what it says goes into ``said``."""
    matrix = read_matrix(fleet.place / "lab.toml")
    into = fleet.place / "nightly"
    settings = FleetSettings(
        scheduler=fleet.url, tls=None, results=f"file://{into / '.exchange'}", harness=harness_version()
    )
    with open_nightly_run(into, matrix, name="n") as state, Engine.connect(fleet.url, None) as engine:
        yield (
            FleetNightly(
                matrix, state, PassOptions(parallel=3), settings, say=lambda message, _: said.append(message)
            ),
            engine,
        )


def wait_no_cells(fleet: Fleet) -> None:
    """Wait for the end of all processes of cells."""
    Deadline(PATIENCE, "the end of the cells").poll(lambda: not fleet.cells(), interval=0.1)


def test_a_killed_worker_costs_one_attempt(fleet: Fleet, slow: MakeSlow) -> None:
    """Its cell is tried again on the other host, nothing of it runs on, and its run is sent when the worker is started again."""
    nightly = slow()
    nightly.begin("a", "b")
    nightly.worker.kill()
    fleet.wait_said("b", "begins")
    fleet.worker("a")
    assert 69 == nightly.ended(), fleet.said("nightly")
    last = fleet.outcomes()[-1]
    assert ["b", 69, 1] == [last["host"], last["exit_code"], len(cells(fleet))]
    wait_no_cells(fleet)


def test_a_hung_worker_is_dropped_and_its_late_result_is_an_attempt(fleet: Fleet, slow: MakeSlow) -> None:
    """A worker that is stopped is lost after its heartbeat; back again, it ends its cell and sends what that recorded."""
    nightly = slow()
    # The engine waits for ten of its own heartbeats, which are 0.5 s apart.
    nightly.begin("a", "b", heartbeat=2)
    nightly.worker.send_signal(signal.SIGSTOP)
    fleet.wait_said("b", "begins")
    nightly.worker.send_signal(signal.SIGCONT)
    late = re.compile(r"veto\.1: (ended|unknown)")
    Deadline(PATIENCE, "the late result").poll(lambda: bool(late.search(fleet.said("a"))), interval=0.1)
    assert 69 == nightly.ended(), fleet.said("nightly")
    last = fleet.outcomes()[-1]
    assert [1, "b", 2] == [len(cells(fleet)), last["host"], len(last["runs"])]
    assert sorted(last["runs"]) == sorted(str(run.relative_to(fleet.place)) for run in fleet.runs())
    names = [run.rpartition("/")[2] for run in last["runs"]]
    assert dict(zip(names, ("a", "b"), strict=True)) == last["hosts"]
    with sqlite3.connect(fleet.place / "nightly" / "results.sqlite") as store:
        rows = store.execute(
            "select run.name, host.name, counted from run join host on host.id = run.host_id"
        )
        assert {(names[0], "a", 0), (names[1], "b", 1)} == set(rows)


def test_a_cell_that_takes_too_long_is_abandoned(
    fleet: Fleet, slow: MakeSlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host keeps its connection and does not answer: the cell is tried on another, and its host failed once."""
    # The worker keeps to the time limit of the run. The nightly run waits half a second.
    monkeypatch.setattr("harness.fleet.attempt.SPARE_S", -599.5)
    nightly = slow()
    fleet.lab("timeout = 600\n" + (fleet.place / "lab.toml").read_text())
    fleet.scheduler()
    hung = fleet.worker("a")
    fleet.hosts("a")
    said: list[str] = []
    with in_process(fleet, said) as (run, engine):
        run._begin(engine)
        fleet.worker("b")
        fleet.hosts("a", "b")
        run._start(engine)
        Deadline(PATIENCE, "the order").poll(lambda: bool(nightly.guests()), interval=0.1)
        hung.send_signal(signal.SIGSTOP)
        (attempt,) = run.running
        Deadline(PATIENCE, "its begin").poll(lambda: attempt.id in [*engine.begun()], interval=0.1)
        attempt.begin()

        def abandoned() -> bool:
            run._end_late(engine)
            return not run.running

        Deadline(PATIENCE, "its end").poll(abandoned, interval=0.1)
        assert {"a": 1} == run._placement._strikes
        run._looked = 0.0
        run._look(engine)
        run._start(engine)
        assert ["b"] == [one.where for one in run.running]


def test_a_killed_scheduler_is_waited_for(fleet: Fleet, slow: MakeSlow) -> None:
    """Workers end their cells, and all go on when it is started again."""
    nightly = slow()
    nightly.begin("a")
    fleet.last("scheduler").kill()
    fleet.wait_said("a", "ended: ")
    fleet.wait_said("nightly", "is lost")
    fleet.scheduler()
    assert 69 == nightly.ended(), fleet.said("nightly")
    assert 1 == len(cells(fleet))
    assert "the scheduler is reachable again" in fleet.said("nightly")


def test_a_killed_nightly_run_goes_on(fleet: Fleet, slow: MakeSlow) -> None:
    """Its cells are ended on their hosts, and the same command does them once."""
    nightly = slow()
    nightly.begin("a")
    nightly.process.kill()
    fleet.wait_said("a", "ended: ")
    assert [] == fleet.outcomes()
    nightly.process = fleet.nightly()
    assert 69 == nightly.ended(), fleet.said("nightly")
    assert 1 == len(cells(fleet))


def test_a_host_that_fails_three_runs_is_set_aside(fleet: Fleet, slow: MakeSlow) -> None:
    """It gets no more runs, which is said; without another host the rest is left for the next call."""
    nightly = slow(2)
    nightly.begin("a")
    assert 69 == nightly.ended()
    assert "host a is set aside: the infrastructure failed in 3 runs in a row" in fleet.said("nightly")
    assert FAILS in fleet.said("nightly")


def test_a_worker_that_is_lost_with_three_runs_is_no_host_to_set_aside(fleet: Fleet, slow: MakeSlow) -> None:
    """One end of a worker is one failure: the same host, back again, gets all its runs."""
    nightly = slow(3)
    nightly.begin("a")
    nightly.worker.kill()
    fleet.worker("a")
    nightly.wait_begun("a", 6)
    assert "set aside" not in fleet.said("nightly")
    lost = "host a: its worker was lost with 3 runs under way"
    assert [1, 1] == [fleet.said("nightly").count(words) for words in (lost, "its worker was lost")]
    assert 69 == nightly.ended(), fleet.said("nightly")
    place = fleet.place / "nightly" / "n"
    assert [lost] == json.loads((place / "summary.json").read_text())["lost_workers"]
    assert f"  {lost}\n" in (place / "summary.txt").read_text()
    assert lost in (place / "morning.txt").read_text().splitlines()[0]
    assert "Attempted to run" not in fleet.said("nightly")


@pytest.mark.parametrize("first", ["runs", "worker", "guests"])
def test_the_end_of_a_batch_job_is_one_failure_of_its_host(fleet: Fleet, slow: MakeSlow, first: str) -> None:
    """It sends SIGTERM to runs, guests and worker in any order: the host, back again, gets all its runs."""
    nightly = slow(3)
    nightly.begin("a")
    worker, guests = nightly.worker, nightly.guests()
    runs = [process for process in fleet.cells() if process not in guests]
    if first == "runs":
        terminate(runs)
        Deadline(PATIENCE, "three reports").poll(
            lambda: fleet.said("a").count("another process ended it by SIGTERM") == 3, interval=0.1
        )
        fleet.wait_said("nightly", "host a: a run was interrupted: another process ended it by SIGTERM")
        worker.terminate()
    elif first == "worker":
        worker.terminate()
        fleet.wait_said("nightly", "its worker was lost with 3 runs under way")
        terminate(runs + guests)
    else:
        # The runs may see that QEMU died before they are told to end.
        terminate([*guests, *runs, worker.pid])
    assert 143 == worker.wait(PATIENCE), fleet.said("a")
    wait_no_cells(fleet)
    fleet.worker("a")
    nightly.wait_begun("a", 6)
    assert "set aside" not in fleet.said("nightly")
    assert 69 == nightly.ended(), fleet.said("nightly")
    assert 3 == len(cells(fleet))


def test_three_jobs_of_one_host_that_are_cancelled_are_no_failure_of_it(fleet: Fleet, slow: MakeSlow) -> None:
    """Each of its workers reports that it was told to end: a fourth gets all their runs."""
    nightly = slow(3, parallel=1)
    fleet.scheduler()
    words = ("worker", "--scheduler", fleet.url, "--name", "a")
    jobs = [
        fleet.start(f"job{n}", *words, "--instance", f"{n}", "--work", str(fleet.place / f"work-{n}"))
        for n in "123"
    ]
    fleet.hosts("a", "a", "a")
    nightly.process = fleet.nightly()
    for n in "123":
        nightly.wait_begun(f"job{n}", 1)
    terminate([job.pid for job in jobs])
    assert [143] * 3 == [job.wait(PATIENCE) for job in jobs]
    lost = "host a: its worker was lost with 1 run under way"
    Deadline(PATIENCE, "the losses").poll(lambda: fleet.said("nightly").count(lost) == 3, interval=0.1)
    assert "set aside" not in fleet.said("nightly")
    fleet.worker("a")
    fleet.wait_said("a", "begins")
    assert 69 == nightly.ended(), fleet.said("nightly")
    assert 3 == len(cells(fleet))


def test_a_host_whose_runs_are_ended_again_and_again_is_set_aside(fleet: Fleet, slow: MakeSlow) -> None:
    """By a program that kills what needs much memory, for example: each time counts once."""
    nightly = slow(2, parallel=1, hold=0.5)
    nightly.machines = 1
    nightly.begin("a")
    for number in (1, 2, 3):
        nightly.wait_begun("a", number)
        guests = nightly.guests()
        terminate([process for process in fleet.cells() if process not in guests])
    fleet.wait_said("nightly", "host a is set aside: the infrastructure failed in 3 runs in a row")
    assert 69 == nightly.ended(), fleet.said("nightly")


def test_runs_sent_to_a_dead_worker_are_part_of_its_one_loss(fleet: Fleet, slow: MakeSlow) -> None:
    """The scheduler has not noticed a cut link yet: the runs sent meanwhile are tried elsewhere, and it is one failure."""
    slow(3)
    fleet.scheduler()
    dead = fleet.worker("a")
    fleet.hosts("a")
    said: list[str] = []
    with in_process(fleet, said) as (run, engine):
        run._begin(engine)
        dead.kill()
        dead.wait()
        run._start(engine)
        assert 3 == len(run.running)

        def noticed() -> bool:
            run._looked = 0.0
            run._look(engine)
            for order in engine.ended(0.1):
                run._over(engine, order)
            return not run.running

        Deadline(PATIENCE, "the loss").poll(noticed, interval=0.1)
        assert ["host a: its worker was lost with 3 runs under way"] == said == run._state.lost_workers
        assert [{}, 3] == [run._placement.aside, run.left]


def test_an_order_that_somebody_cancels_is_given_again(fleet: Fleet, slow: MakeSlow) -> None:
    """That says nothing about its host: the cell is not counted as tried."""
    from distributed import Client, Future

    nightly = slow(hold=0.5)
    nightly.begin("a")
    with Client(fleet.url, timeout=20, set_as_default=False) as client:
        (keys,) = client.processing().values()
        client.cancel([Future(key, client) for key in keys], force=True)
    fleet.wait_said("nightly", "its order was cancelled")
    assert 69 == nightly.ended(), fleet.said("nightly")
    last = fleet.outcomes()[-1]
    assert {last["cell"]} == cells(fleet)
    # The cancelled attempt, and the two that its infrastructure failed.
    assert [3, 3] == [fleet.said("a").count("begins"), len(fleet.runs())]
    assert "host a is set aside" not in fleet.said("nightly")
    assert 69 == last["exit_code"]
