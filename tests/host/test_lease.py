# SPDX-License-Identifier: MIT
"""Leases: first come, first served, never more than the budget, and gone with whoever held them."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harness.cli.main import main
from harness.deadline import Deadline
from harness.errors import BadDocument, InfrastructureError, UsageError
from harness.host import former_leases, lease_file
from harness.host import lease as lease_module
from harness.host.budget import HostBudget, ResourceRequest, host_budget
from harness.host.lease import Lease, Leases, LeasesUnusable, QueuePlace, take_lease
from harness.host.lease_directory import LeaseDirectory, lease_directory, user_name
from harness.host.lease_file import LeaseClaim
from harness.setup.lease_directory import VARIABLE

GIB = 1 << 30
TEN = HostBudget(vcpus=10, memory=10 * GIB, disk=10 * GIB)


def request(vcpus: int, memory: int = GIB, disk: int = 0) -> ResourceRequest:
    return ResourceRequest(vcpus=vcpus, memory=memory, disk=disk)


def soon() -> Deadline:
    return Deadline(60, "test")


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    """Leases of the test's own."""
    return Leases(tmp_path / "leases")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of the test's own without a byte of room, where names can be made."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)], check=True)
    try:
        with contextlib.suppress(OSError), (place / "fill").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


HOLDER = """
import sys
from pathlib import Path
from harness.deadline import Deadline
from harness.host.budget import HostBudget, ResourceRequest
from harness.host.lease import Leases
vcpus = int(sys.argv[2])
budget = HostBudget(vcpus=10, memory=10 << 30, disk=10 << 30)
lease = Leases(Path(sys.argv[1])).take(ResourceRequest(vcpus=vcpus, memory=1 << 30), budget, Deadline(60, "hold"))
print("held", flush=True)
sys.stdin.read()
"""


def hold(directory: Path, vcpus: int) -> list[str]:
    """Return a command that holds a lease until its standard input closes."""
    return [sys.executable, "-c", HOLDER, str(directory), str(vcpus)]


@contextlib.contextmanager
def holder(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lease."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "held\n" == process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_lease_is_a_file_until_it_is_released(leases: Leases) -> None:
    """What is held is told to everybody; afterwards nothing is left but the directory."""
    with leases.take(request(3), TEN, soon()) as lease:
        (held,) = leases.held()
        assert (lease.name, os.geteuid()) == (held.name, held.uid)
        assert (3, GIB, os.getpid(), True) == (
            held.claim.vcpus,
            held.claim.memory,
            held.claim.pid,
            held.granted,
        )
        assert 0o644 == stat.S_IMODE((leases.directory / lease.name).stat().st_mode)
    assert 0o700 == stat.S_IMODE(leases.directory.stat().st_mode)
    assert [] == names(leases.directory)
    lease.release()


def test_first_come_first_served(leases: Leases) -> None:
    """Who would fit in waits behind who came before, and both are told their places."""
    first = leases.take(request(7), TEN, soon())
    large, small = leases.enter(request(8), TEN, soon()), leases.enter(request(1), TEN, soon())
    places = [leases.look(each, TEN) for each in (small, large)]
    assert [(2, 2), (1, 2)] == [(place.number, place.waiting) for place in places if place is not None]
    assert str(places[1]).startswith("place 1 of 2 in the queue: needs 8 processors and 1 GiB; 7 of 10")
    first.release()
    assert isinstance(leases.look(large, msgspec.structs.replace(TEN, vcpus=7)), QueuePlace)
    assert [None, None] == [leases.look(each, TEN) for each in (small, large)]
    for each in (large, small):
        each.release()


@pytest.mark.parametrize("lacking", [request(1, memory=9 * GIB + 1), request(1, disk=9 * GIB + 1)])
def test_every_part_of_the_budget_counts(leases: Leases, tmp_path: Path, lacking: ResourceRequest) -> None:
    """Memory, and disk where both are on one file system, are shared out as processors are."""
    with leases.take(request(1, disk=GIB), TEN, soon(), place=tmp_path):
        waiting = leases.enter(lacking, TEN, soon(), place=tmp_path)
        assert leases.look(waiting, TEN) is not None
    assert leases.look(waiting, TEN) is None
    waiting.release()


def test_waiting_is_told_and_ends(leases: Leases) -> None:
    """Who waits hears of its place once, and is served when the holder lets go."""
    first = leases.take(request(10), TEN, soon())
    told: list[QueuePlace] = []
    heard = threading.Event()

    def waiting(place: QueuePlace) -> None:
        told.append(place)
        heard.set()

    served: list[Lease] = []
    thread = threading.Thread(
        target=lambda: served.append(leases.take(request(2), TEN, soon(), waiting=waiting))
    )
    thread.start()
    assert heard.wait(60)
    first.release()
    thread.join(60)
    assert [1] == [place.number for place in told]
    served[0].release()


def test_deadline_gives_the_place_up(leases: Leases) -> None:
    """A wait that takes too long says who is in the way, and leaves the queue."""
    with leases.take(request(9), TEN, soon()):
        with pytest.raises(InfrastructureError, match="place 1 of 1 in the queue") as late:
            leases.take(request(2), TEN, Deadline(0.15, "a lease for the run"))
        assert 1 == len(leases.held())
    assert f"process {os.getpid()} of {user_name(os.geteuid())} (9 processors, 1 GiB)" in late.value.hint


def test_interrupt_leaves_the_queue(leases: Leases) -> None:
    """Ctrl-C while waiting gives the place up and goes on as Ctrl-C."""

    def interrupted(_: QueuePlace) -> None:
        signal.raise_signal(signal.SIGINT)

    with leases.take(request(9), TEN, soon()):
        with pytest.raises(KeyboardInterrupt):
            leases.take(request(2), TEN, soon(), waiting=interrupted)
        assert 1 == len(leases.held())


def test_what_never_fits_is_refused_at_once(leases: Leases) -> None:
    """A machine larger than the whole budget is refused with the numbers; nobody queues for it."""
    with pytest.raises(
        UsageError, match=r"it needs 11 GiB of memory, and the host's budget is 10 GiB of memory"
    ):
        leases.take(request(1, memory=11 * GIB), TEN, soon())
    fixed = msgspec.structs.replace(TEN, fixed_vcpus=True, fixed_disk=True)
    words = (
        "it needs 11 processors, and the host's budget is 10 processors; "
        "it needs 11 GiB of disk, and the host's budget is 10 GiB of disk"
    )
    with pytest.raises(UsageError, match=words):
        leases.take(request(11, disk=11 * GIB), fixed, soon())
    assert [] == leases.held()


@pytest.mark.parametrize("large_one", [request(288), request(1, disk=99 * GIB)], ids=["processors", "disk"])
def test_too_much_for_the_default_runs_alone(leases: Leases, large_one: ResourceRequest) -> None:
    """Processors can be overcommitted, and disks fill up slowly: a machine larger than the usual budget gets all of it."""
    first = leases.take(request(1, disk=1), TEN, soon())
    large = leases.enter(large_one, TEN, soon())
    assert leases.look(large, TEN) is not None
    first.release()
    assert leases.look(large, TEN) is None
    large.release()


def test_a_killed_holder_holds_nothing(leases: Leases) -> None:
    """What a process held that was killed is free, and its file goes with the next who comes."""
    with holder(hold(leases.directory, 10)) as process:
        waiting = leases.enter(request(1), TEN, soon())
        assert leases.look(waiting, TEN) is not None
        process.kill()
        process.wait()
        assert leases.look(waiting, TEN) is None
        assert 1 == leases.sweep(dry=True).removed == leases.sweep().removed
        assert 0 == leases.sweep().removed
        waiting.release()
    assert [] == names(leases.directory)


def test_a_stopped_holder_goes_on_holding(leases: Leases) -> None:
    """Age proves nothing: a process that is stopped, and may go on tomorrow, keeps what it has."""
    with holder(hold(leases.directory, 10)) as process:
        process.send_signal(signal.SIGSTOP)
        name = leases.held()[0].name
        os.utime(leases.directory / name, (0, 0))
        assert 0 == leases.sweep().removed
        assert [True] == [held.granted for held in leases.held()]


def entering(leases: Leases) -> tuple[int, int]:
    """Make the file of one who has not said yet when it came; return the directory's descriptor and the file's."""
    folder = leases.place.open()
    return folder, lease_file.create(folder)[1]


def said(since: int, vcpus: int) -> LeaseClaim:
    return LeaseClaim(since=since, pid=1, vcpus=vcpus, memory=0, disk=0, device=0)


def test_one_who_is_about_to_say_when_it_came_is_waited_for(leases: Leases) -> None:
    """Whose file was there first, and says an earlier time, is not overtaken; a later time is no reason to wait."""
    for since, granted in ((0, False), (1 << 62, True)):
        folder, other = entering(leases)
        mine = leases.enter(request(5), TEN, soon())
        assert leases._decide(mine, TEN) is None
        assert not mine.granted
        lease_file.enter(other, said(since, vcpus=6))
        assert granted == (leases.look(mine, TEN) is None)
        mine.release()
        os.close(other)
        os.close(folder)


def test_one_who_never_says_when_it_came_is_passed_over(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that stops before it says so keeps nobody waiting for long, and counts for nothing."""
    monkeypatch.setattr(lease_module, "PATIENCE", 0.05)
    _, other = entering(leases)
    leases.take(request(10), TEN, soon()).release()
    os.close(other)


def test_one_who_was_too_slow_comes_again(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may have been passed over does not rely on the time that it wrote, and leaves nothing behind."""
    monkeypatch.setattr(lease_module, "SLOW", -1.0)
    with pytest.raises(InfrastructureError, match="too slow to enter the queue"):
        leases.take(request(1), TEN, Deadline(0.1, "lease"))
    assert [] == names(leases.directory)


def claim(**changes: object) -> bytes:
    fields = {"since": 0, "pid": 1, "vcpus": 10, "memory": 0, "disk": 0, "device": 0, **changes}
    return msgspec.json.encode(fields)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff" * 40, b"[" * 1000, b'{"x":' + b"[" * 1000, b'{"\xff":1}', claim(vcpus=-1), claim(memory=1 << 63),
        claim(more="x" * 5000),
    ],
    ids=["empty", "bytes", "deep", "deep inside", "key", "negative", "large", "long"],
)  # fmt: skip
def test_what_is_no_claim_counts_for_nothing(leases: Leases, content: bytes) -> None:
    """A file that is held as a lease and says nothing sensible is passed over; that there is one is said."""
    folder, other = entering(leases)
    os.pwrite(other, content, 0)
    lease_file._set(other, fcntl.F_UNLCK, lease_file.ENTERING)
    leases.take(request(10), TEN, soon()).release()
    assert [] == leases.held()
    (remark,) = leases.remarks()
    assert f"files that claim nothing: 1 of {user_name(os.geteuid())}" in remark
    os.close(other)
    os.close(folder)


def test_links_and_pipes_are_not_followed(leases: Leases, tmp_path: Path) -> None:
    """Neither a link nor a FIFO nor a directory in the queue is opened or waited for."""
    leases.enter(request(1), TEN, soon()).release()
    precious = tmp_path / "precious"
    precious.write_bytes(claim())
    (leases.directory / f"{'a' * 16}.lease").symlink_to(precious)
    os.mkfifo(leases.directory / f"{'b' * 16}.lease")
    (leases.directory / f"{'c' * 16}.lease").mkdir()
    leases.take(request(10), TEN, soon()).release()
    assert [] == leases.held()
    leases.sweep()
    assert claim() == precious.read_bytes()


def test_another_name_of_a_lease_counts_once(leases: Leases) -> None:
    """A hard link to a lease takes no more of the budget than the lease, and is dead with it."""
    with leases.take(request(6), TEN, soon()) as lease:
        os.link(leases.directory / lease.name, leases.directory / f"{'0' * 16}.lease")
        assert 1 == len(leases.held())
        leases.take(request(4), TEN, soon()).release()
    assert [] == leases.held()
    assert 1 == leases.sweep().removed


def test_what_was_never_locked_is_no_lease(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft whose maker was killed counts for nothing, is left alone while it is young, and goes."""
    leases.enter(request(1), TEN, soon()).release()
    (leases.directory / f"{'d' * 16}.new").touch()
    leases.take(request(10), TEN, soon()).release()
    assert 0 == leases.sweep().removed
    monkeypatch.setattr(lease_file, "UNLOCKED_AT_FIRST", 0.0)
    assert 1 == leases.sweep().removed


def test_unsafe_directories_are_refused(tmp_path: Path) -> None:
    """A directory where everybody may remove everything, a link and a file are no place for leases; a user's own is."""
    unsafe = tmp_path / "unsafe"
    unsafe.mkdir()
    unsafe.chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    file = tmp_path / "file"
    file.touch()
    for place, words in ((unsafe, "with mode 0777"), (link, "it is a link"), (file, "it is not a directory")):
        with pytest.raises(InfrastructureError, match=words) as refused:
            Leases(place).take(request(1), TEN, soon())
        assert f"sudo install -d -o root -g root -m 1777 {place}" in refused.value.hint
    unsafe.chmod(0o700)
    Leases(unsafe).take(request(1), TEN, soon()).release()
    with pytest.raises(LeasesUnusable, match="No such file or directory"):
        Leases(tmp_path / "none" / "leases").take(request(1), TEN, soon())


def test_which_directory_counts(tmp_path: Path) -> None:
    """The one that the environment names, else the host's, else the user's own on this host; --private-leases asks for that."""
    own = {"XDG_STATE_HOME": str(tmp_path)}
    private = tmp_path / "hotplug-harness" / f"leases-{os.uname().nodename}"
    named = {**own, VARIABLE: str(tmp_path / "named")}
    assert LeaseDirectory(path=tmp_path / "named") == lease_directory(named, shared=tmp_path)
    assert LeaseDirectory(path=tmp_path, system=True) == lease_directory(own, shared=tmp_path)
    assert LeaseDirectory(path=private, private="--private-leases") == lease_directory(named, private=True)
    none = tmp_path / "none"
    assert LeaseDirectory(path=private, private=f"no {none}") == lease_directory(own, shared=none)
    with pytest.raises(UsageError, match="HOTPLUG_HARNESS_LEASES is 'leases'"):
        lease_directory({VARIABLE: "leases"})


@pytest.mark.root
def test_what_cannot_be_used_is_gone_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_disk: Path
) -> None:
    """On a full disk a machine takes a lease of its user's own, and says why in one line."""
    monkeypatch.setenv(VARIABLE, str(full_disk / "leases"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(former_leases, "FORMER", ())
    said: list[str] = []
    with take_lease(request(1), tmp_path, what="test", say=said.append) as lease:
        words = f"cannot use the leases in {full_disk / 'leases'}: No space left on device"
        assert [f"only this user's machines count: {words}"] == said
        assert words == lease.directory.private
    assert [] == names(full_disk / "leases")


def race(directory: Path, file: Path, seed: int) -> None:
    """Take and let go as fast as it can, in a process of its own."""
    lease_module.INTERVAL = 0.001
    dice = random.Random(seed)
    log = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for _ in range(40):
        vcpus = dice.randint(1, 10)
        with Leases(directory).take(request(vcpus, memory=0), TEN, Deadline(60, "race")):
            os.write(log, f"{vcpus}\n".encode())
            # Others look at the queue meanwhile.
            Leases(directory).held()
            os.write(log, f"{-vcpus}\n".encode())


def test_racing_processes_never_exceed_the_budget(tmp_path: Path) -> None:
    """Three processes that take and let go as fast as they can, from a directory that is not there yet, keep to it."""
    seed = random.randrange(1 << 30)
    processes = multiprocessing.get_context("fork")
    racers = [
        processes.Process(target=race, args=(tmp_path / "leases", tmp_path / "log", seed + number))
        for number in range(3)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [0] * 3 == [racer.exitcode for racer in racers], seed
    taken, most = 0, 0
    for line in (tmp_path / "log").read_text().split():
        taken += int(line)
        most = max(most, taken)
    assert taken == 0
    assert most <= 10, seed
    assert [] == names(tmp_path / "leases")


def test_leases_of_an_older_version_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Machines that an older version started take no part any more, and ps and the next run say so."""
    monkeypatch.setattr(former_leases, "FORMER", (tmp_path / "former", tmp_path / "none"))
    monkeypatch.setenv("HOTPLUG_HARNESS_LEASES", str(tmp_path / "leases"))
    (tmp_path / "former").mkdir()
    (tmp_path / "former" / "dead.lease").touch()
    os.mkfifo(tmp_path / "former" / "pipe.lease")
    words = "leases of an older version, which are not counted: 1"
    with (tmp_path / "former" / "live.lease").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        said: list[str] = []
        take_lease(request(1), tmp_path, what="test", say=said.append).release()
        assert [words] == said
        assert 0 == main(["ps"])
        assert words in capsys.readouterr().out
    assert 0 == former_leases.former_leases()


class Queue(RuleBasedStateMachine):
    """The leases against a list that says the same in five lines."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.leases = Leases(Path(self.place.name) / "leases")
        self.model: list[tuple[Lease, int]] = []
        self.granted: set[str] = set()

    @rule(vcpus=st.integers(1, 10))
    def enter(self, vcpus: int) -> None:
        self.model.append((self.leases.enter(request(vcpus, memory=0), TEN, soon()), vcpus))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.model) - 1))
        lease, vcpus = self.model[at]
        counted = sum(
            size for place, (each, size) in enumerate(self.model) if each.name in self.granted or place < at
        )
        fits = lease.name in self.granted or counted + vcpus <= TEN.vcpus
        assert fits == (self.leases.look(lease, TEN) is None)
        if fits:
            self.granted.add(lease.name)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), how=st.sampled_from(["release", "die"]))
    def leave(self, data: st.DataObject, how: str) -> None:
        lease, _ = self.model.pop(data.draw(st.integers(0, len(self.model) - 1)))
        self.granted.discard(lease.name)
        if how == "release":
            lease.release()
        else:
            # What the kernel does with the descriptors of a process that is killed.
            os.close(lease._descriptor)
            lease._descriptor = -1

    @invariant()
    def never_too_much(self) -> None:
        assert sum(size for lease, size in self.model if lease.name in self.granted) <= TEN.vcpus

    @invariant()
    def told_as_it_is(self) -> None:
        told = [(held.name, held.granted) for held in self.leases.held()]
        assert [(lease.name, lease.name in self.granted) for lease, _ in self.model] == told

    def teardown(self) -> None:
        for lease, _ in self.model:
            lease.release()
        self.place.cleanup()


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=8, stateful_step_count=20, deadline=None)


def test_budget_of_the_host(tmp_path: Path) -> None:
    """Eight processors for each of the host's, three quarters of its memory, most of the free disk."""
    budget = host_budget({"HOTPLUG_HARNESS_LAB": str(_lab(tmp_path, ""))}, tmp_path / "runs" / "later")
    assert (8 * (os.cpu_count() or 1), False, 3600.0) == (budget.vcpus, budget.fixed_vcpus, budget.wait)
    assert os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4 == budget.memory
    assert budget.disk > 0


def _lab(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "lab.toml"
    path.write_text(text)
    return path


def test_budget_that_was_set(tmp_path: Path) -> None:
    """lab.toml sets the budget, the environment sets it over that; other tables are others' business."""
    lab = _lab(tmp_path, '[budget]\nvcpus = 4\nmemory = "2 GiB"\nwait = 60\n\n[nightly]\nguests = ["twin"]\n')
    environment = {"HOTPLUG_HARNESS_LAB": str(lab), "HOTPLUG_HARNESS_BUDGET_DISK": "1 GiB"}
    expected = HostBudget(vcpus=4, memory=2 * GIB, disk=GIB, fixed_vcpus=True, fixed_disk=True, wait=60.0)
    assert expected == host_budget(environment, tmp_path)
    environment |= {"HOTPLUG_HARNESS_BUDGET_VCPUS": "6", "HOTPLUG_HARNESS_BUDGET_WAIT": "5"}
    assert msgspec.structs.replace(expected, vcpus=6, wait=5.0) == host_budget(environment, tmp_path)


@pytest.mark.parametrize(
    ("environment", "lab", "words"),
    [
        ({"HOTPLUG_HARNESS_BUDGET_VCPUS": "-1"}, "", "HOTPLUG_HARNESS_BUDGET_VCPUS is '-1'"),
        ({"HOTPLUG_HARNESS_BUDGET_WAIT": "ever"}, "", "HOTPLUG_HARNESS_BUDGET_WAIT is 'ever'"),
        (
            {"HOTPLUG_HARNESS_BUDGET_MEMORY": "much"},
            "",
            "BUDGET_MEMORY: expected a size like \"256 MiB\", got 'much'",
        ),
        (
            {},
            '[budget]\nmemory = "2 gigs"\n',
            "lab.toml:2: budget.memory: expected a size like \"256 MiB\", got '2 gigs'",
        ),
        ({}, "[budget]\nvcpu = 2\n", "lab.toml:2: unknown key 'vcpu'"),
        ({}, "[budget]\nvcpus = 0\n", "lab.toml:2:"),
    ],
)
def test_budget_that_is_none(tmp_path: Path, environment: dict[str, str], lab: str, words: str) -> None:
    """What says no amount is refused with its name, or with file and line."""
    with pytest.raises((UsageError, BadDocument), match=words):
        host_budget({"HOTPLUG_HARNESS_LAB": str(_lab(tmp_path, lab)), **environment}, tmp_path)


def test_budget_document_that_was_named_must_exist(tmp_path: Path) -> None:
    """A lab.toml that somebody names and that is not there is no default."""
    with pytest.raises(BadDocument, match="No such file"):
        host_budget({"HOTPLUG_HARNESS_LAB": str(tmp_path / "none.toml")}, tmp_path)
