# SPDX-License-Identifier: MIT
"""A nightly run on a real scheduler and real workers: each cell has one outcome, whatever is killed, hung or started again."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess

import pytest
from fleet.conftest import PATIENCE, Fleet

from harness.deadline import Deadline

SLOW = '#!/bin/sh\ntest "$1" = --version && echo QEMU emulator version 7.2.22 && exit\ntest -e {gate} && exit 7\nexec sleep 600\n'
HOST = 'name = "hosts"\nparallel = 2\n[[guest]]\nname = "host"\n[[plan]]\nplan = "cpu-and-dimm"\nrepeat = 4\n'


def slow_lab(fleet: Fleet, *, tail: str = "") -> None:
    """Write a lab whose QEMU hangs until the file ``gate`` is there, and fails from then on."""
    program = fleet.place / "qemu-slow"
    program.write_text(SLOW.format(gate=fleet.place / "gate"))
    program.chmod(0o755)
    fleet.lab(f'accel = "tcg"\n[[qemu]]\nname = "slow"\npath = "{program}"\n[[plan]]\nplan = "veto"\n{tail}')


def ended(process: subprocess.Popen[bytes]) -> int:
    """Return the exit code of a process."""
    return process.wait(PATIENCE)


@pytest.mark.host
def test_two_hosts_share_a_nightly_run(fleet: Fleet) -> None:
    """Every cell holds, has one outcome and one run directory here, and the result store knows on which host it ran."""
    fleet.lab(HOST)
    fleet.scheduler()
    fleet.worker("a")
    fleet.worker("b")
    fleet.hosts("a", "b")
    assert 0 == ended(fleet.start("list", "fleet", "list", "--scheduler", fleet.url))
    assert ["Hosts", "a", "b"] == [line.split()[0] for line in fleet.said("list").splitlines()]
    assert 0 == ended(fleet.nightly()), fleet.said("nightly")
    outcomes = fleet.outcomes()
    assert [4, 4, {"a", "b"}] == [
        len(outcomes),
        len({one["cell"] for one in outcomes}),
        {one["host"] for one in outcomes},
    ]
    assert sorted(str(run) for run in fleet.runs()) == sorted(
        str(fleet.place / run) for one in outcomes for run in one["runs"]
    )
    assert [] == list((fleet.place / "nightly" / "n" / ".incoming").glob("*"))
    assert [] == list(fleet.place.glob("work-*/*/order.json"))
    with sqlite3.connect(fleet.place / "nightly" / "results.sqlite") as store:
        rows = store.execute(
            "select host.name, count(*) from run join host on host.id = run.host_id group by 1"
        )
        assert {"a": 2, "b": 2} == dict(rows)


@pytest.mark.qemu
def test_a_killed_worker_costs_one_attempt(fleet: Fleet) -> None:
    """Its cell is tried again on the other host, nothing of it runs on, and its run is sent when the worker is started again."""
    slow_lab(fleet)
    fleet.scheduler()
    first = fleet.worker("a")
    fleet.worker("b")
    fleet.hosts("a", "b")
    nightly = fleet.nightly()
    fleet.wait_said("a", "begins")
    Deadline(PATIENCE, "a cell").poll(lambda: bool(fleet.cells()), interval=0.1)
    first.kill()
    fleet.wait_said("b", "begins")
    fleet.worker("a")
    (fleet.place / "gate").touch()
    assert 69 == ended(nightly), fleet.said("nightly")
    last = fleet.outcomes()[-1]
    assert ["b", 69] == [last["host"], last["exit_code"]]
    assert len({one["cell"] for one in fleet.outcomes()}) == 1
    Deadline(PATIENCE, "the end of the cells").poll(lambda: not fleet.cells(), interval=0.1)


@pytest.mark.qemu
def test_a_hung_worker_is_dropped_and_its_late_result_is_an_attempt(fleet: Fleet) -> None:
    """A worker that is stopped is lost after its heartbeat; back again, it ends its cell and sends what that recorded."""
    slow_lab(fleet)
    fleet.scheduler()
    hung = fleet.worker("a")
    fleet.worker("b")
    fleet.hosts("a", "b")
    nightly = fleet.nightly()
    fleet.wait_said("a", "begins")
    Deadline(PATIENCE, "a cell").poll(lambda: bool(fleet.cells()), interval=0.1)
    hung.send_signal(signal.SIGSTOP)
    fleet.wait_said("b", "begins")
    hung.send_signal(signal.SIGCONT)
    late = re.compile(r"veto\.1: (ended|unknown)")
    Deadline(PATIENCE, "the late result").poll(lambda: bool(late.search(fleet.said("a"))), interval=0.1)
    (fleet.place / "gate").touch()
    assert 69 == ended(nightly), fleet.said("nightly")
    last = fleet.outcomes()[-1]
    assert [1, "b", 2] == [len({one["cell"] for one in fleet.outcomes()}), last["host"], len(last["runs"])]
    assert sorted(last["runs"]) == sorted(str(run.relative_to(fleet.place)) for run in fleet.runs())


@pytest.mark.qemu
def test_a_killed_scheduler_is_waited_for(fleet: Fleet) -> None:
    """Workers end their cells, and all go on when it is started again."""
    slow_lab(fleet)
    scheduler = fleet.scheduler()
    fleet.worker("a")
    fleet.hosts("a")
    nightly = fleet.nightly()
    fleet.wait_said("a", "begins")
    scheduler.kill()
    fleet.wait_said("a", "ended: ")
    fleet.wait_said("nightly", "is lost")
    (fleet.place / "gate").touch()
    fleet.scheduler()
    assert 69 == ended(nightly), fleet.said("nightly")
    assert 1 == len({one["cell"] for one in fleet.outcomes()})
    assert "the scheduler is reachable again" in fleet.said("nightly")


@pytest.mark.qemu
def test_a_killed_nightly_run_goes_on(fleet: Fleet) -> None:
    """Its cells are ended on their hosts, and the same command does them once."""
    slow_lab(fleet)
    fleet.scheduler()
    fleet.worker("a")
    fleet.hosts("a")
    nightly = fleet.nightly()
    fleet.wait_said("a", "begins")
    nightly.kill()
    fleet.wait_said("a", "ended: ")
    assert [] == fleet.outcomes()
    (fleet.place / "gate").touch()
    assert 69 == ended(fleet.nightly()), fleet.said("nightly")
    assert 1 == len({one["cell"] for one in fleet.outcomes()})


@pytest.mark.qemu
def test_a_host_that_fails_three_runs_is_set_aside(fleet: Fleet) -> None:
    """It gets no more runs, which is said; without another host the rest is left for the next call."""
    # A guest that did not boot on one machine is not booted on it again.
    slow_lab(fleet, tail='[[topology]]\nname = "one"\n[[topology]]\nname = "two"\nmax_processors = 5\n')
    (fleet.place / "gate").touch()
    fleet.scheduler()
    fleet.worker("a")
    fleet.hosts("a")
    assert 69 == ended(fleet.nightly())
    assert "host a is set aside: the infrastructure failed in 3 runs in a row" in fleet.said("nightly")


def test_a_cell_that_no_host_can_run_is_said_before_the_first_starts(fleet: Fleet) -> None:
    """The nightly run ends with 64 and a line for each host; nothing was started."""
    fleet.lab(
        '[[guest]]\nname = "windows-server-2025"\n[[guest]]\nname = "host"\n[[plan]]\nplan = "cpu-and-dimm"\n'
    )
    fleet.scheduler()
    fleet.worker("a", HOTPLUG_HARNESS_TEMPLATES=str(fleet.place / "none"))
    fleet.hosts("a")
    assert 64 == ended(fleet.nightly())
    said = fleet.said("nightly")
    assert "no host of the fleet can run 1 of 2 runs" in said
    assert "a                    the template windows-server-2025 is not built" in said
    assert [[], False] == [fleet.outcomes(), "begins" in fleet.said("a")]


def test_a_machine_larger_than_every_budget_is_said(fleet: Fleet) -> None:
    """The budget of a host is what its worker offers."""
    fleet.lab(HOST)
    fleet.scheduler()
    fleet.worker("a", HOTPLUG_HARNESS_BUDGET_MEMORY="64 MiB")
    fleet.hosts("a")
    assert 64 == ended(fleet.nightly())
    assert "and the host's budget is 64 MiB of memory" in fleet.said("nightly")


def test_without_a_host_the_nightly_run_waits_and_says_what_to_start(fleet: Fleet) -> None:
    """It ends with 69 after [fleet] wait, and names the command for the hosts."""
    fleet.lab(HOST.replace("[[guest]]", "[fleet]\nwait = 1\n[[guest]]"))
    fleet.scheduler()
    assert 69 == ended(fleet.nightly())
    assert f"worker --scheduler {fleet.url}" in fleet.said("nightly")


@pytest.mark.host
def test_a_drained_host_gets_no_runs(fleet: Fleet) -> None:
    """It is named in the list, and runs go elsewhere until that is undone; a name that is not there is corrected."""
    fleet.lab(HOST)
    fleet.scheduler()
    fleet.worker("a")
    fleet.worker("b")
    fleet.hosts("a", "b")
    assert 64 == ended(fleet.start("wrong", "fleet", "drain", "aa", "--scheduler", fleet.url))
    assert 0 == ended(fleet.start("drain", "fleet", "drain", "a", "--scheduler", fleet.url))
    assert "a gets no more runs; 0 under way." in fleet.said("drain")
    assert 0 == ended(fleet.start("list", "fleet", "list", "--scheduler", fleet.url))
    assert "drained" in fleet.said("list")
    assert 0 == ended(fleet.nightly()), fleet.said("nightly")
    assert {"b"} == {one["host"] for one in fleet.outcomes()}
    assert 0 == ended(fleet.start("drain", "fleet", "drain", "a", "--undo", "--scheduler", fleet.url))
    assert "a gets runs again." in fleet.said("drain")


@pytest.mark.host
def test_a_host_with_another_harness_is_left_out(fleet: Fleet) -> None:
    """Both versions are said, and the runs go to the other host."""
    fleet.lab(HOST)
    fleet.scheduler()
    program = (
        "import harness.cli.fleet_options as options; options.harness_version = lambda: '0.0.9'\n"
        "import sys; from harness.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    fleet.run_python(
        "old",
        program,
        "worker",
        "--scheduler",
        fleet.url,
        "--name",
        "old",
        "--work",
        str(fleet.place / "work-old"),
    )
    fleet.worker("a")
    fleet.hosts("a", "old")
    assert 0 == ended(fleet.nightly()), fleet.said("nightly")
    assert "host old is left out: its harness is 0.0.9, and here it is " in fleet.said("nightly")
    assert {"a"} == {one["host"] for one in fleet.outcomes()}


@pytest.mark.host
def test_two_nightly_runs_share_a_scheduler(fleet: Fleet) -> None:
    """Each counts its own cells, once."""
    fleet.lab(HOST)
    fleet.scheduler()
    fleet.worker("a")
    fleet.hosts("a")
    words = (
        "nightly",
        "--once",
        "--name",
        "m",
        "--scheduler",
        fleet.url,
        "--lab",
        "lab.toml",
        "--into",
        "other",
    )
    other = fleet.start("other", *words)
    assert [0, 0] == [ended(fleet.nightly()), ended(other)], fleet.said("nightly") + fleet.said("other")
    lines = (fleet.place / "other" / "m" / "state.jsonl").read_text().splitlines()
    assert [4, 5] == [len(fleet.outcomes()), len(lines)]


@pytest.mark.host
def test_a_reserved_host_gets_no_runs(fleet: Fleet) -> None:
    """A desk session is not pushed aside; the cell is not counted as tried, and runs when the reservation ends."""
    fleet.lab(HOST)
    fleet.scheduler()
    leases = str(fleet.place / "leases")
    fleet.worker("a", HOTPLUG_HARNESS_LEASES=leases)
    fleet.hosts("a")
    why = ("--until", "1h", "--why", "a debugger is attached")
    assert 0 == ended(fleet.start("reserve", "reserve", "localhost", *why, HOTPLUG_HARNESS_LEASES=leases)), (
        fleet.said("reserve")
    )
    nightly = fleet.nightly()
    fleet.wait_said("nightly", "a debugger is attached")
    assert "begins" not in fleet.said("a")
    assert 0 == ended(fleet.start("reserve", "reserve", "--release", HOTPLUG_HARNESS_LEASES=leases))
    assert 0 == ended(nightly), fleet.said("nightly")
    assert 4 == len(fleet.outcomes())
