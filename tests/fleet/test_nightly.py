# SPDX-License-Identifier: MIT
"""A nightly run on a real scheduler and real workers: each cell has one outcome, whatever is killed, hung or started again."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import re
import socket
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fleet.conftest import PATIENCE, Fleet, FleetProcess

from harness.deadline import Deadline
from harness.fleet.engine import Engine
from harness.fleet.engine_server import EngineServer
from harness.fleet.worker import FleetWorker, NameTaken
from harness.fleet.worker_service import WorkerService

HOST = 'name = "hosts"\nparallel = 2\n[[guest]]\nname = "host"\n[[plan]]\nplan = "cpu-and-dimm"\nrepeat = 4\n'


def ended(process: FleetProcess) -> int:
    """Return the exit code of a process."""
    return process.wait(PATIENCE)


def results(outcomes: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    """Return what outcomes say of their cells: no host, no time, no directory."""
    return {(one["cell"], one["state"], one["verdict"], str(one.get("exit_code", 0))) for one in outcomes}


@pytest.mark.host
def test_two_hosts_share_a_nightly_run(fleet: Fleet) -> None:
    """Every cell holds, has one outcome and one run directory here, and the result store knows on which host it ran."""
    fleet.lab(HOST)
    fleet.scheduler()
    fleet.worker("a")
    fleet.worker("b")
    fleet.hosts("a", "b")
    assert 0 == ended(fleet.start("list", "fleet", "--scheduler", fleet.url))
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
    # The same lab.toml without a scheduler.
    assert 0 == ended(
        fleet.start("local", "nightly", "--once", "--name", "n", "--lab", "lab.toml", "--into", "local")
    )
    lines = (fleet.place / "local" / "n" / "state.jsonl").read_text().splitlines()[1:]
    assert results(outcomes) == results([json.loads(line) for line in lines])
    assert [] == list((fleet.place / "nightly" / "n" / ".incoming").glob("*"))
    assert [] == list(fleet.place.glob("work-*/*/order.json"))
    with sqlite3.connect(fleet.place / "nightly" / "results.sqlite") as store:
        rows = store.execute(
            "select host.name, count(*) from run join host on host.id = run.host_id group by 1"
        )
        assert {"a": 2, "b": 2} == dict(rows)


@pytest.mark.host
def test_three_workers_at_one_desk_as_the_page_says(fleet: Fleet) -> None:
    """The commands and lab.toml of docs/fleet.md, with another port: every run holds, and all three workers are offered."""
    page = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text().split("To try this at one desk, ")[1]
    page = page.split("| key of")[0].replace("127.0.0.1:8786", fleet.url.removeprefix("tcp://"))
    fleet.lab(page.split("```toml\n")[1].split("```")[0])
    certify, *serve, nightly = re.findall(r"^    harness (.+)$", page, re.MULTILINE)
    assert 0 == ended(fleet.start("certificates", *certify.split()))
    assert 4 == len(serve)
    for number, words in enumerate(serve):
        fleet.start(f"serve-{number}", *words.split())
    for number in (1, 2, 3):
        fleet.wait_said(f"serve-{number}", "is offered to tls://127.0.0.1:")
    assert 0 == ended(fleet.start("nightly", *nightly.split())), fleet.said("nightly")
    assert "3 of 3 runs" in fleet.said("nightly")


def test_a_second_worker_of_one_name_is_refused(fleet: Fleet) -> None:
    """The first one stays; when it was killed, another starts at once under its name."""
    fleet.scheduler()
    first = fleet.worker("a")
    fleet.hosts("a")
    # A worker needs no matrix, and takes a given port.
    fleet.lab(f'[fleet]\nscheduler = "{fleet.url}"\n')
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fleet.start("c", "worker", "--name", "c", "--port", str(port), "--work", str(fleet.place / "work-c"))
    fleet.hosts("a", "c")
    with Engine.connect(fleet.url, None) as engine:
        assert f"tcp://127.0.0.1:{port}" in [host.address for host in engine.hosts()]
    fleet.last("c").terminate()
    fleet.last("c").wait(PATIENCE)
    words = ("--name", "a", "--work", str(fleet.place / "work-b"))
    assert 64 == ended(fleet.start("b", "worker", "--scheduler", fleet.url, *words))
    assert "a worker named a is at this scheduler already, at tcp://127.0.0.1:" in fleet.said("b")
    assert "--name" in fleet.said("b")
    fleet.hosts("a")
    first.kill()
    fleet.worker("a")
    Deadline(PATIENCE, "the offer").poll(lambda: 2 == fleet.said("a").count("is offered"), interval=0.1)
    fleet.hosts("a")


AT_ONCE = """
import fcntl, harness.fleet.worker as module
check = module.FleetWorker._check_name
def checked(self):
    check(self)
    self.say("has checked its name")
    with open("gate") as gate:
        fcntl.flock(gate, fcntl.LOCK_SH)
module.FleetWorker._check_name = checked
"""


@pytest.mark.parametrize("words", [(), ("--once",)])
def test_of_two_workers_that_start_at_once_one_is_refused(fleet: Fleet, words: tuple[str, ...]) -> None:
    """Both have found no other of their name, and wait for the same lock: the scheduler takes one, and the other exits with 64."""
    fleet.scheduler()
    with (fleet.place / "gate").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        both = [odd_worker(fleet, name, AT_ONCE, "--name", "a", *words) for name in ("one", "other")]
        for name in ("one", "other"):
            fleet.wait_said(name, "has checked its name")
    Deadline(PATIENCE, "the refusal").poll(
        lambda: any(process.poll() is not None for process in both), interval=0.1
    )
    assert sorted([64, None], key=str) == sorted([process.poll() for process in both], key=str)
    loser = "one" if both[0].poll() is not None else "other"
    assert "a worker named a is at this scheduler already, at tcp://127.0.0.1:" in fleet.said(loser)
    fleet.hosts("a")


def test_of_two_workers_in_one_instant_one_has_the_name(fleet: Fleet, tmp_path: Path) -> None:
    """Eight times, without the check before: the scheduler itself decides, and no instance is in the way of another."""
    fleet.scheduler()
    barrier = threading.Barrier(3)
    taken: list[str] = []

    def start(instance: str) -> None:
        worker = FleetWorker(
            fleet.url, None, host="a", instance=instance, work=tmp_path, harness="0", say=lambda _: None
        )
        for number in range(8):
            service = WorkerService(tmp_path, host="a", session=f"{number}-{threading.get_ident()}")
            server = EngineServer("worker", functools.partial(worker._make, service))
            barrier.wait(PATIENCE)
            try:
                server.start(PATIENCE)
                taken.append(instance)
            except NameTaken:
                pass
            barrier.wait(PATIENCE)
            server.close()
            barrier.wait(PATIENCE)

    threads = [threading.Thread(target=start, args=(instance,)) for instance in ("", "", "7")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [8, 8] == [taken.count(""), taken.count("7")]


def test_a_fleet_whose_hosts_are_drained_is_said_at_once(fleet: Fleet) -> None:
    """Before the nightly run waits for a host, and it names how to use one again."""
    fleet.lab(HOST.replace("[[guest]]", "[fleet]\nwait = 1\n[[guest]]"))
    fleet.scheduler()
    fleet.worker("a")
    fleet.worker("b")
    fleet.hosts("a", "b")
    for name in ("a", "b"):
        assert 0 == ended(fleet.start("drain", "fleet", "drain", name, "--scheduler", fleet.url))
    assert 69 == ended(fleet.nightly())
    said = fleet.said("nightly")
    assert 1 == said.count("no usable host: a, b are drained")
    assert f"fleet drain a --undo --scheduler {fleet.url}" in said
    assert said.index("are drained") < said.index("no host that can run the rest")
    assert "Traceback" not in fleet.said("scheduler")


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
    assert 1 == fleet.said("nightly").count(f"no host is connected to {fleet.url} yet")
    assert 69 == json.loads((fleet.place / "nightly" / "n" / "summary.json").read_text())["exit_code"]


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
    assert 0 == ended(fleet.start("list", "fleet", "--scheduler", fleet.url))
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
    fleet.lab(HOST.replace("[[guest]]", "[fleet]\nhold = 1\n[[guest]]"))
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


PATCHED = "import sys, time, types; from harness.cli.main import main\n{}\nsys.exit(main(sys.argv[1:]))"


def odd_worker(fleet: Fleet, name: str, patch: str, *words: str) -> FleetProcess:
    """Start a worker with another behaviour."""
    given = ("worker", "--scheduler", fleet.url, "--work", str(fleet.place / f"work-{name}"))
    return fleet.run_python(name, PATCHED.format(patch), *given, *(words or ("--name", name)))


@pytest.mark.host
def test_a_host_whose_clock_is_wrong_is_named_and_used(fleet: Fleet) -> None:
    """By how much it differs is said once, and its runs count."""
    fleet.lab(HOST)
    fleet.scheduler()
    odd_worker(
        fleet,
        "late",
        "import harness.fleet.worker_service as service\n"
        "service.time = types.SimpleNamespace(time=lambda: time.time() - 3600, monotonic=time.monotonic)",
    )
    fleet.hosts("late")
    assert 0 == ended(fleet.nightly()), fleet.said("nightly")
    said = re.findall(r"host late: its clock differs from this host's by (\d+) s", fleet.said("nightly"))
    assert 1 == len(said)
    assert 3590 <= int(said[0]) <= 3600
    assert 4 == len(fleet.outcomes())


@pytest.mark.host
def test_a_store_that_cannot_be_reached_loses_nothing(fleet: Fleet) -> None:
    """It is said once, the runs' code stays, and the same runs are loaded when there is a store, with their hosts."""
    fleet.lab(HOST + '[store]\nurl = "postgresql://nobody@127.0.0.1:1/results"\n')
    fleet.scheduler()
    fleet.worker("a")
    fleet.hosts("a")
    assert 0 == ended(fleet.nightly()), fleet.said("nightly")
    assert 1 == fleet.said("nightly").count("not in the result store yet")
    assert 4 == len(fleet.runs())
    fleet.lab(HOST)
    assert 0 == ended(fleet.start("load", "store", "load", "nightly")), fleet.said("load")
    with sqlite3.connect(fleet.place / "nightly" / "results.sqlite") as store:
        rows = store.execute(
            "select host.name, count(*) from run join host on host.id = run.host_id group by 1"
        )
        assert {"a": 4} == dict(rows)


@pytest.mark.host
def test_a_host_that_reports_another_cell_is_not_believed(fleet: Fleet) -> None:
    """Each cell has an outcome of its own, and none says more than that its report was wrong."""
    fleet.lab(HOST.replace("parallel = 2\n", ""))
    fleet.scheduler()
    odd_worker(
        fleet,
        "liar",
        "import msgspec, harness.lab.run_process as run\n"
        "true = run.RunProcess.outcome\n"
        "def lie(self, status, machine):\n"
        "    outcome, again = true(self, status, machine)\n"
        "    return msgspec.structs.replace(outcome, cell='host.process.default.cpu-and-dimm.1', runs=['..']), again\n"
        "run.RunProcess.outcome = lie",
    )
    fleet.hosts("liar")
    assert 69 == ended(fleet.nightly())
    outcomes = fleet.outcomes()
    assert [len(outcomes), {"unknown"}] == [
        len({one["cell"] for one in outcomes}), {one["verdict"] for one in outcomes},
    ]  # fmt: skip
    assert "host liar is set aside" in fleet.said("nightly")


@pytest.mark.host
def test_a_damaged_attempt_in_the_exchange_stops_nothing(fleet: Fleet) -> None:
    """It is said and stays where it is; the nightly run goes on with the same command."""
    fleet.lab(HOST.replace("[[guest]]", "[fleet]\nwait = 1\n[[guest]]"))
    fleet.scheduler()
    assert 69 == ended(fleet.nightly())
    head = (fleet.place / "nightly" / "n" / "state.jsonl").read_bytes().splitlines()[0]
    place = fleet.place / "nightly" / ".exchange" / hashlib.sha256(head).hexdigest()[:20] / "evil-1"
    place.mkdir(parents=True)
    (place / "note.json").write_text("{}")
    fleet.lab(HOST)
    fleet.worker("a")
    fleet.hosts("a")
    assert 0 == ended(fleet.nightly()), fleet.said("nightly")
    assert "the note of evil-1" in fleet.said("nightly")
    assert [4, True] == [len(fleet.outcomes()), place.exists()]


def test_what_stands_at_the_scheduler_is_checked(fleet: Fleet) -> None:
    """A nightly run that was killed is said to be silent; what is no nightly run's is left out; options have one place."""
    fleet.scheduler()
    note = {
        "name": "n", "lab": "hosts", "host": "x\x1b[2J", "left": 3, "under_way": [{"cell": "c.1", "host": "a"}, {"cell": "c.2", "host": "a", "stage": "sent"}], "waiting": [{"cell": "c.2", "why": "busy"}],
        "aside": {"b": "broken"}, "time": time.time() - 600,
    }  # fmt: skip
    with Engine.connect(fleet.url, None) as engine:
        for name, said in (("1", note), ("2", {"name": 7}), ("3", None), ("4", "text")):
            engine.note(["nightlies", name], said)
        engine.note(["drained"], "nothing")
    assert 0 == ended(fleet.start("list", "fleet", "--scheduler", fleet.url)), fleet.said("list")
    said = fleet.said("list")
    assert [1, 1, False] == [
        said.count("Nightly run"),
        said.count("no report for 10 min"),
        "\x1b" in said,
    ]
    assert ["a c.1", "a c.2 sent, not begun", "waits: c.2 busy", "set aside: b: broken"] == [
        " ".join(line.split()) for line in said.splitlines()[-4:]
    ]
    assert 64 == ended(fleet.start("wrong", "fleet", "--json", "drain", "a"))
    assert "options of 'fleet drain' must follow that word" in fleet.said("wrong")
