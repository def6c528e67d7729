# SPDX-License-Identifier: MIT
"""The connection to a scheduler, also with TLS, and the hosts that a nightly run may use: a stopped peer, a silent one, a
stranger, two of one name, a batch job.

These are one file because each file loads the engine anew, in its process and in the one that commands are forked from.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet.conftest import PATIENCE, Fleet
from fleet.test_security import files

from harness.cli.main import main
from harness.deadline import Deadline
from harness.fleet import engine as engines
from harness.fleet import worker_service
from harness.fleet.attempt import FleetAttempt
from harness.fleet.engine import EndedOrder, Engine, OfferedHost
from harness.fleet.order import HostAnswer
from harness.fleet.placement import CellPlacement, FleetHost
from harness.fleet.scheduler_probe import SchedulerLost
from harness.fleet.tls import TlsFiles, security
from harness.fleet.worker import FleetWorker
from harness.forking.fork_server import ForkServer
from harness.guest.twin.image import build
from harness.host import kvm_probe
from harness.host.budget import HostBudget
from harness.host.qemu_build import find_qemu
from harness.lab.matrix import decode_matrix
from harness.machine.accelerator import kvm_works
from harness.setup.cache import cache_directory

MATRIX = decode_matrix('[[guest]]\nname = "host"\n[[plan]]\nplan = "veto"\n', name="lab.toml", base=Path())
PAGE = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text(encoding="utf-8")
(SCRIPT,) = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
"""The job script as it is printed."""
GIVEN = {
    "SLURM_CPUS_PER_TASK": "3",
    "SLURM_MEM_PER_NODE": "1280",
    "SLURM_JOB_ID": "7",
    "SLURMD_NODENAME": "node1",
}
"""What Slurm sets."""
KVM_UNUSABLE = "KVM cannot be used"
MACHINE = "host.process.default"


def placement(said: list[str], *, harness: str = "1") -> CellPlacement:
    """Return the hosts of a nightly run of the matrix; what it says goes into ``said``."""
    return CellPlacement(
        MATRIX, results="file:///nosuch", parallel=1, harness=harness, engine=engines.engine_version(), hold=15.0,
        say=lambda message, _: said.append(message),
    )  # fmt: skip


def host(name: str, why: str) -> FleetHost:
    """Return a host that cannot run the machine because of ``why``, "" if it can."""
    answer = HostAnswer(host=name, time=0, vcpus=8, memory=8 << 30, cannot={MACHINE: why})
    return FleetHost(OfferedHost("tcp://127.0.0.1:1", name, "", {"session=s": 1}), answer)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process, all its threads."""
    process.send_signal(signal.SIGSTOP)
    tasks = Path(f"/proc/{process.pid}/task")
    Deadline(PATIENCE, "the stop").poll(
        lambda: all(") T " in (task / "stat").read_text() for task in tasks.iterdir())
    )


def test_a_stopped_scheduler_is_lost(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections and answers nothing; nothing waits for it without end, and nothing that was known is taken for an answer."""
    monkeypatch.setattr(engines, "CALL_S", 1.0)
    scheduler = fleet.scheduler()
    with Engine.connect(fleet.url, None) as engine:
        assert [] == engine.hosts()
        stop(scheduler)
        for call in (engine.hosts, engine.running, engine.drained, lambda: engine.note(["x"], 1)):
            with pytest.raises(SchedulerLost, match="is lost"):
                call()
        with pytest.raises(SchedulerLost):
            Engine.connect(fleet.url, None, seconds=1)


def test_a_stopped_worker_is_listed_as_silent(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not idle: the list says since when the scheduler has not heard of it, until it goes on."""
    monkeypatch.setattr(engines, "UNHEARD_S", 3.0)
    fleet.scheduler()
    worker = fleet.worker("a")
    fleet.worker("b")
    fleet.hosts("a", "b")

    def listed() -> dict[str, str]:
        assert main(["fleet", "--scheduler", fleet.url]) == 0
        lines = capsys.readouterr().out.splitlines()[1:]
        hosts = re.split(r"^  (?=\w)", "\n".join(lines), flags=re.MULTILINE)[1:]
        return {one.split()[0]: " ".join(one.split()[1:]) for one in hosts}

    assert [one.startswith("0 under way") for one in listed().values()] == [True, True]
    stop(worker)
    said = re.compile(r"silent .* no heartbeat since \d\d:\d\d:\d\d, for \d+ s; 0 under way then")
    Deadline(PATIENCE, "the silence").poll(lambda: said.match(listed()["a"]) is not None, interval=0.5)
    assert listed()["b"].startswith("0 under way")
    worker.send_signal(signal.SIGCONT)
    Deadline(PATIENCE, "a heartbeat").poll(lambda: listed()["a"].startswith("0 under way"), interval=0.2)


def test_a_closed_connection_is_said_in_words(fleet: Fleet) -> None:
    """Not in those of the engine, whose connection "is connecting"."""
    scheduler = fleet.scheduler()
    with Engine.connect(fleet.url, None) as engine:
        scheduler.kill()
        scheduler.wait()

        def said() -> str:
            with pytest.raises(SchedulerLost) as caught:
                engine.hosts()
            return caught.value.message

        Deadline(PATIENCE, "the engine notices it").poll(
            lambda: said() == f"the scheduler {fleet.url} is lost: it closed the connection", interval=0.1
        )


def test_who_waits_for_a_lost_scheduler_is_told_again_and_again(fleet: Fleet) -> None:
    """The display of a nightly run goes on while its scheduler is away."""
    shown: list[bool] = []
    with pytest.raises(SchedulerLost, match="connection refused"):
        engines.reachable(fleet.url, None, Deadline(2.5, "reach it"), lambda: shown.append(True))
    assert len(shown) >= 2


def test_an_order_begins_when_its_host_begins_it(fleet: Fleet) -> None:
    """Before, it may wait there behind the orders of another nightly run; its time limit counts from then on."""
    fleet.scheduler()
    fleet.worker("a")
    fleet.hosts("a")
    with Engine.connect(fleet.url, None) as engine:
        (offered,) = engine.hosts()
        engine.send("never", "no order", offered, {"vcpus": offered.resources["vcpus"] + 1})
        engine.send("now", "no order", offered, {})
        ended: list[EndedOrder] = []
        Deadline(PATIENCE, "the order").poll(lambda: ended.extend(engine.ended(0.1)) or bool(ended))
        assert [["now"], ["now"]] == [list(engine.begun()), [one.attempt for one in ended]]
        assert "the scheduler sent an invalid message" in ended[0].why
        engine.cancel("never")
    attempt = FleetAttempt(MATRIX.cells[0], 1, [], host("a", ""), 10)
    assert [attempt.ends, attempt.stage] == [float("inf"), "sent"]
    attempt.begin()
    assert attempt.stage == "under way"
    assert attempt.began + 10 < attempt.ends < attempt.began + 1000


def test_a_host_that_gives_no_answer_is_said_and_left_alone_for_a_while(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question that hangs keeps a thread of it, and every host waits for the answer."""
    monkeypatch.setattr(engines, "ASK_S", 1.0)
    fleet.start("scheduler", "fleet", "scheduler", "--listen", fleet.url)
    fleet.wait_said("scheduler", "listens at")
    worker = fleet.worker("a")
    fleet.hosts("a")
    with Engine.connect(fleet.url, None) as engine:
        (offered,) = engine.hosts()
        said: list[str] = []
        hosts = placement(said, harness=offered.version_of("harness"))
        stop(worker)
        assert [] == hosts.look(engine) == hosts.look(engine)
        assert [{}, ["host a did not answer what it can run"]] == [hosts.hosts, said]


def test_of_two_hosts_with_one_name_one_that_can_is_enough() -> None:
    """Whichever came first: the nightly run is not refused."""
    for order in ([("x", "no QEMU"), ("y", "")], [("x", ""), ("y", "no QEMU")]):
        hosts = placement([])
        hosts.refused = {"debian|k": "its harness is 0"}
        hosts.hosts = {key: host("debian", why) for key, why in order}
        assert {"debian": ""} == hosts.cannot(MACHINE)


def test_a_repeated_cell_does_not_hold_up_others() -> None:
    """It may not go to the host where it failed; another cell of its point may."""
    hosts = placement([])
    hosts.hosts = {name: host(name, "") for name in ("a", "b")}
    busy = hosts.hosts["b"]
    busy.running["x"] = hosts.requests[MATRIX.cells[0].point]
    chosen = [hosts.choose(MATRIX.cells[0], without) for without in (["a"], [])]
    assert [None, hosts.hosts["a"]] == chosen


def test_what_a_worker_offers_is_bounded() -> None:
    """Numbers alone, and not more than a host has."""
    wrong = {"vcpus": 4, "memory": float("nan"), "x" * 1000: 1, "kvm": "yes", "y": -1, "z": float("inf")}
    assert {"vcpus": 4.0, "x" * 200: 1.0} == engines._offers({"resources": wrong})
    assert engines.MOST_OFFERS == len(engines._offers({"resources": {str(n): 1 for n in range(999)}}))
    assert {} == engines._offers({"resources": "many"})


@pytest.mark.parametrize("works", [True, False])
def test_kvm_is_offered_only_if_a_guest_ran_under_it(
    works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that opens says nothing: a worker offers "KVM if it can be used" (docs/fleet.md), as the last probe found."""
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(worker_service, "KVM", tmp_path / "kvm")
    monkeypatch.setenv("HOTPLUG_HARNESS_CACHE", str(tmp_path))
    budget = HostBudget(vcpus=1, memory=1 << 30, disk=0)

    def offers() -> bool:
        return "kvm" in worker_service.offered(budget, harness="1", engine="1", session="s")

    assert not offers()
    kvm_probe.keep(kvm_probe.KvmProbe(key="k", works=works, reason="tried"), tmp_path)
    assert works == offers()


@pytest.mark.qemu
def test_a_host_asked_for_kvm_says_what_a_run_would_say() -> None:
    """What ``--accel kvm`` refuses with exit code 69, a nightly run refuses before its first run, with the same reason."""
    budget = HostBudget(vcpus=8, memory=8 << 30, disk=0)
    said = worker_service.lacking("twin", ["--accel", "kvm"], 1, 1 << 28, budget)
    cache = cache_directory(os.environ)
    image = build(cache, Deadline(PATIENCE, "the image"))
    works, reason = kvm_works(find_qemu().path, image, cache, Deadline(PATIENCE, "KVM"))
    assert works == (not said)
    assert works or KVM_UNUSABLE in said
    assert (
        works
        or not os.access(kvm_probe.KVM, os.R_OK | os.W_OK)
        or reason.removesuffix(" (probed before)") in said
    )


def test_a_host_with_another_version_of_the_engine_is_left_out() -> None:
    """It is refused by name, with both versions."""
    said: list[str] = []
    hosts = placement(said)
    mine = engines.engine_version()
    offers = {"harness=1": 1.0, "engine=2020.1.0": 1.0, "session=s": 1.0}
    assert not hosts._fits("k", OfferedHost("tcp://127.0.0.1:1", "old", "", offers))
    assert [f"host old is left out: its dask.distributed is 2020.1.0, and here it is {mine}"] == said
    assert hosts._fits(
        "k", OfferedHost("tcp://127.0.0.1:1", "new", "", {"harness=1": 1.0, f"engine={mine}": 1.0})
    )


def test_what_a_waiting_cell_waits_for() -> None:
    """A host, room on one, or what its only host said."""
    (cell,) = MATRIX.cells
    hosts = placement([])
    assert "no host that can run it is connected" == hosts.waits_for(cell)
    hosts.hosts = {"a": host("a", "")}
    hosts.hosts["a"].running["x"] = hosts.requests[cell.point]
    assert [None, "its hosts are busy"] == [hosts.choose(cell, []), hosts.waits_for(cell)]
    hosts.hosts["a"].running.clear()
    hosts.hold("a", "this host is reserved by root")
    assert [None, "this host is reserved by root"] == [hosts.choose(cell, []), hosts.waits_for(cell)]


def test_interrupted_runs_count_once_with_the_loss_of_their_worker() -> None:
    """Those that were under way together; a run that began afterwards counts for itself."""
    said: list[str] = []
    hosts = placement(said)
    one = host("a", "")
    request = hosts.requests[MATRIX.cells[0].point]
    one.running |= dict.fromkeys(("x", "y", "z"), request)
    for attempt in ("x", "y"):
        hosts.note_interrupted(one, attempt, "its worker ended first")
        del one.running[attempt]
    assert "host a: its worker was lost with 1 run under way" == hosts.note_lost(one)
    assert [1, {}, ""] == [hosts._strikes["a"], hosts.aside, hosts.note_lost(host("a", ""))]
    for _ in range(3):
        ended = host("a", "")
        ended.told = True
        ended.running["w"] = request
        hosts.note_interrupted(ended, "w", "its worker ended first")
        assert hosts.note_lost(ended)
    assert [1, {}] == [hosts._strikes["a"], hosts.aside]
    again = host("a", "")
    for attempt in ("u", "v"):
        again.running = {attempt: request}
        hosts.note_interrupted(again, attempt, "its worker ended first")
    assert [3, ["a"]] == [hosts._strikes["a"], [*hosts.aside]]


@pytest.fixture(scope="module")
def secured(
    tmp_path_factory: pytest.TempPathFactory, engine_server: ForkServer
) -> Iterator[tuple[Fleet, TlsFiles]]:
    """A scheduler and a worker with TLS, which no test changes."""
    fleet = Fleet(tmp_path_factory.mktemp("secured"))
    fleet.server = engine_server
    tls = files(fleet.place / "certificates")
    fleet.url = fleet.url.replace("tcp", "tls")
    words = ["--ca", str(tls.ca), "--cert", str(tls.cert), "--key", str(tls.key)]
    fleet.start("scheduler", "fleet", "scheduler", "--listen", fleet.url, *words)
    fleet.start(
        "a", "worker", "--scheduler", fleet.url, "--name", "a", "--work", str(fleet.place / "work-a"), *words
    )
    try:
        fleet.wait_said("a", "is offered")
        yield fleet, tls
    finally:
        fleet.close()


def test_a_stranger_is_refused(secured: tuple[Fleet, TlsFiles], tmp_path: Path) -> None:
    """Neither a certificate of another authority nor a connection without TLS is let in, as a client or as a worker."""
    fleet, _ = secured
    stranger = files(tmp_path / "other")
    with pytest.raises(SchedulerLost, match=r"its certificate is not valid by ca .*ca\.pem: "):
        Engine.connect(fleet.url, stranger, seconds=20)
    with pytest.raises(SchedulerLost, match="it accepts connections, and sends nothing"):
        Engine.connect(fleet.url.replace("tls", "tcp"), None, seconds=2)
    said: list[str] = []
    with pytest.raises(SchedulerLost, match="its certificate is not valid by ca"):
        FleetWorker(
            fleet.url, stranger, host="b", work=tmp_path / "work-b", harness="1", say=said.append
        ).serve(once=True)  # fmt: skip


def test_a_foreign_certificate_is_named(secured: tuple[Fleet, TlsFiles], tmp_path: Path) -> None:
    """With the lab's ca.pem, the scheduler refuses it: the message says whose certificate, and what all hosts need."""
    fleet, ours = secured
    theirs = files(tmp_path / "other")
    with pytest.raises(
        SchedulerLost, match=f"does not accept this host's certificate {theirs.cert}"
    ) as caught:
        Engine.connect(fleet.url, TlsFiles(ours.ca, theirs.cert, theirs.key), seconds=20)
    assert "ca.pem of the same authority" in caught.value.hint


def test_a_worker_names_each_cause_once_and_continues(fleet: Fleet, tmp_path: Path) -> None:
    """A wrong port and a wrong authority have different messages; when the cause is gone, the host is offered."""
    ours, theirs = files(tmp_path / "ours"), files(tmp_path / "theirs")
    fleet.url = fleet.url.replace("tcp", "tls")

    def words(tls: TlsFiles) -> list[str]:
        return ["--ca", str(tls.ca), "--cert", str(tls.cert), "--key", str(tls.key)]

    fleet.start(
        "a",
        "worker",
        "--scheduler",
        fleet.url,
        "--name",
        "a",
        "--work",
        str(fleet.place / "work-a"),
        *words(ours),
    )
    fleet.wait_said("a", "connection refused: nothing listens there")
    stranger = fleet.start("scheduler", "fleet", "scheduler", "--listen", fleet.url, *words(theirs))
    fleet.wait_said("a", "its certificate is not valid by ca")
    stranger.terminate()
    stranger.wait(60)
    fleet.start("scheduler", "fleet", "scheduler", "--listen", fleet.url, *words(ours))
    fleet.wait_said("a", "a is offered")
    assert 1 == fleet.said("a").count("its certificate is not valid by ca")


def test_a_name_that_does_not_resolve_is_named() -> None:
    """The name .invalid never resolves (RFC 6761, section 6.4)."""
    with pytest.raises(SchedulerLost, match=r"the name lab1\.invalid does not resolve"):
        Engine.connect("tls://lab1.invalid:8786", TlsFiles(Path(), Path(), Path()), seconds=5)


def test_a_silent_scheduler_is_said_with_a_round_number() -> None:
    """It may have just been started: the seconds of the last attempt are what is left of a longer one."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SchedulerLost, match=r"sends nothing within 1 s\n") as caught:
            Engine.connect(url, None, seconds=1.2345)
    assert "have just been started" in caught.value.hint


def test_a_stolen_worker_key_runs_anything(secured: tuple[Fleet, TlsFiles]) -> None:
    """The engine executes any function for a member of the fleet, as the user of the worker: the page says so."""
    from distributed import Client

    fleet, stolen = secured
    with Client(fleet.url, security=security(stolen), timeout=20, set_as_default=False) as client:
        assert {os.geteuid()} == set(client.run(os.geteuid).values())
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    assert "who has it runs any program on all hosts, as the user of the workers" in page


def test_a_job_is_a_worker_until_it_is_ended(fleet: Fleet) -> None:
    """The job script of docs/fleet.md, with the variables that Slurm sets, offers what the batch system gave it; SIGTERM ends it, and the host is gone at once."""
    (fleet.place / "worker.sh").write_text(SCRIPT)
    fleet.lab(f'[fleet]\nscheduler = "{fleet.url}"\n[[plan]]\nplan = "veto"\n')
    fleet.scheduler()
    job = fleet.run_job("job", "worker.sh", HOME=str(fleet.place), TMPDIR=str(fleet.place), **GIVEN)
    fleet.wait_said("job", "is offered")
    with Engine.connect(fleet.url, None) as engine:
        (host,) = engine.hosts()
        assert "node1" == host.name
        assert [3.0, float(1 << 30)] == [host.resources[name] for name in ("vcpus", "memory")]
        job.terminate()
        assert 143 == job.wait(PATIENCE), fleet.said("job")
        # Its message and the end of its process reach the scheduler and this test on two ways.
        Deadline(10, "the host is forgotten").poll(lambda: engine.hosts() == [], interval=0.1)
