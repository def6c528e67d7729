# SPDX-License-Identifier: MIT
"""Live migration on real QEMU: the guest goes on in the other one, or stays where it was; never in both, and nothing is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import msgspec
import psutil
import pytest

from harness.deadline import Deadline
from harness.errors import CommandRefused, HarnessError, MachineFailed
from harness.history.record import Migration, Qmp, Record
from harness.history.writer import HistoryWriter
from harness.host.registry import Registry
from harness.lab.inventory import listed
from harness.machine import shutdown
from harness.machine.attachments import Cdrom, Disk, Flash, Network
from harness.machine.forwards import forwarded_ports
from harness.machine.qemu.ability import unmovable
from harness.machine.qemu.live_migration import LiveMigration, MigrationFailed, another_board, board_of
from harness.machine.qemu.machine import QemuMachine
from tests.machine import bare_guest
from tests.machine.conftest import MakeMachine

pytestmark = pytest.mark.qemu

LINE = b"the quick brown fox\n"


class Heard:
    """The records of a history as they are written."""

    def __init__(self, writer: HistoryWriter) -> None:
        self.records: list[Record] = []
        writer.subscribe(self.records.append)

    def phases(self) -> list[str]:
        return [one.phase for one in self.records if isinstance(one, Migration)]


@pytest.fixture
def heard(writer: HistoryWriter) -> Heard:
    """What is written into the test's history."""
    return Heard(writer)


@pytest.fixture
def running(make_machine: MakeMachine, tmp_path: Path, deadline: Deadline) -> QemuMachine:
    """A machine whose guest writes the same line for ever, with two processors and a DIMM that were added."""
    line = bare_guest.write(bare_guest.DEBUG_PORT, LINE)
    kernel = bare_guest.build(tmp_path / "kernel", line, bare_guest.again(len(line)))
    machine = make_machine(kernel=kernel)
    machine.start(deadline)
    machine.resume(deadline)
    # The firmware counts processors: one that comes meanwhile may have it wait for ever.
    deadline.poll(lambda: LINE in machine.debugcon.read_bytes())
    slots = machine.cpu_slots(deadline)
    machine.add_cpu("late", slots[4], deadline)
    machine.add_cpu("early", slots[2], deadline)
    machine.add_dimm("dimm", 256 << 20, deadline)
    return machine


def written(machine: QemuMachine) -> int:
    return machine.debugcon.stat().st_size


def goes_on(machine: QemuMachine, deadline: Deadline) -> None:
    """See that the guest writes, and that what it has written so far is neither torn nor doubled."""
    before = written(machine)
    deadline.poll(lambda: written(machine) > before + 10 * len(LINE))
    found = machine.debugcon.read_bytes()
    assert (LINE * (len(found) // len(LINE) + 1))[: len(found)] == found


def followed(_control: Path) -> None:
    """There is nobody to follow."""


@pytest.mark.parametrize("slow", [False, True])
def test_the_guest_goes_on_with_all_that_it_has(
    running: QemuMachine,
    writer: HistoryWriter,
    heard: Heard,
    registry: Registry,
    deadline: Deadline,
    slow: bool,
) -> None:
    """In another process, with the same devices; every byte it writes is there once; meanwhile both are in the registry."""
    before = running.pid, running.argv, running.control
    devices = running.cpu_slots(deadline), running.memory_devices(deadline)
    migration = LiveMigration(running, writer)
    migration.begin(deadline, slow=slow)
    listing = {one.qemu: one.state for one in listed(registry)}
    assert {before[0]: "running", migration.target: "running"} == listing
    if slow:
        with pytest.raises(CommandRefused, match="device_add not allowed while migrating"):
            running.add_cpu("meanwhile", running.cpu_slots(deadline)[3], deadline)
    told: list[Path] = []
    migration.finish(deadline, told.append)
    assert (migration.target, [running.control], False) == (running.pid, told, psutil.pid_exists(before[0]))
    assert (before[1] != running.argv, before[2].exists(), running.control.exists()) == (True, False, True)
    assert [running.pid] == [one.qemu for one in listed(registry)]
    assert devices == (running.cpu_slots(deadline), running.memory_devices(deadline))
    goes_on(running, deadline)
    running.add_cpu("after", running.cpu_slots(deadline)[3], deadline)
    assert ["begin", "moved"] == heard.phases()
    running.close()
    assert ([], False) == (listed(registry), psutil.pid_exists(migration.target))


def test_a_guest_moves_more_than_once(
    running: QemuMachine, writer: HistoryWriter, heard: Heard, deadline: Deadline
) -> None:
    """What was added in the second QEMU is in the third; each has words of its own, and one id means one command."""
    for number in (1, 2):
        migration = LiveMigration(running, writer)
        migration.begin(deadline)
        migration.finish(deadline, followed)
        running.add_cpu(
            f"cpu-{number}", running.cpu_slots(deadline)[2 + number if number == 1 else 5], deadline
        )
    assert {"late", "early", "cpu-1", "cpu-2"} <= {
        slot.qom.rpartition("/")[2] for slot in running.cpu_slots(deadline)
    }
    goes_on(running, deadline)
    assert ["qemu-2.log", "qemu-3.log", "qemu.log"] == sorted(
        path.name for path in running.directory.glob("qemu*.log")
    )
    sent = [
        one.message["id"]
        for one in heard.records
        if isinstance(one, Qmp) and one.direction == "out" and "id" in one.message
    ]
    assert len(sent) == len(set(sent))
    assert [1, 2, 3] == sorted({one.monitor for one in heard.records if isinstance(one, Qmp)})


def test_a_paused_guest_stays_paused(running: QemuMachine, writer: HistoryWriter, deadline: Deadline) -> None:
    """Nothing lets it go on but whoever paused it."""
    running.pause(deadline)
    migration = LiveMigration(running, writer)
    migration.begin(deadline)
    migration.finish(deadline, followed)
    assert (False, True) == (running.run_state(deadline).running, running.paused_here)
    running.resume(deadline)
    goes_on(running, deadline)


@pytest.mark.parametrize("paused", [False, True])
def test_what_it_does_when_the_state_is_sent_counts(
    running: QemuMachine, writer: HistoryWriter, deadline: Deadline, paused: bool
) -> None:
    """A guest that was paused, or let go on, on the way is so in the new QEMU."""
    if not paused:
        running.pause(deadline)
    migration = LiveMigration(running, writer)
    migration.begin(deadline, slow=True)
    if paused:
        running.pause(deadline)
    else:
        running.resume(deadline)
    migration.finish(deadline, followed)
    assert (not paused, paused) == (running.run_state(deadline).running, running.paused_here)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("target-killed", "."),
        ("cancelled", "it was cancelled: "),
        ("other-machine", "Machine type received is 'pc-q35-[0-9.]+' and local is 'pc-q35-[0-9.]+'"),
        ("unreachable", "nobody is there"),
    ],
)
def test_a_failure_leaves_the_guest_where_it_was(
    running: QemuMachine,
    writer: HistoryWriter,
    heard: Heard,
    registry: Registry,
    deadline: Deadline,
    how: str,
    words: str,
) -> None:
    """It runs on there, takes devices and can be moved again; the other QEMU is gone, and the history has its words."""

    def follow(_control: Path) -> None:
        raise MachineFailed("nobody is there")

    board = another_board(running, deadline) if how == "other-machine" else ""
    before = running.pid
    migration = LiveMigration(running, writer, board=board)
    migration.begin(deadline, slow=how in ("target-killed", "cancelled"))
    if how == "target-killed":
        migration.kill()
    if how == "cancelled":
        migration.cancel(deadline)
    with pytest.raises(MigrationFailed, match=words) as raised:
        migration.finish(deadline, follow)
    assert (before, True, True) == (running.pid, running.alive(), running.run_state(deadline).running)
    assert f"It continues in process {before}" in raised.value.hint
    assert (False, [before]) == (psutil.pid_exists(migration.target), [one.qemu for one in listed(registry)])
    goes_on(running, deadline)
    running.add_cpu("after", running.cpu_slots(deadline)[3], deadline)
    again = LiveMigration(running, writer)
    again.begin(deadline)
    again.finish(deadline, followed)
    goes_on(running, deadline)
    assert ["begin", "stayed", "begin", "moved"] == heard.phases()


def test_a_target_that_stands_still_is_given_up(
    running: QemuMachine,
    writer: HistoryWriter,
    heard: Heard,
    deadline: Deadline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stopped process takes no state, and QEMU may wait for it with its main loop: the deadline ends that, and the guest goes on."""
    monkeypatch.setattr(shutdown, "QUIT_GRACE", 0.1)
    monkeypatch.setattr(shutdown, "TERM_GRACE", 0.1)
    migration = LiveMigration(running, writer)
    migration.begin(deadline, slow=True)
    os.kill(migration.target, signal.SIGSTOP)
    with pytest.raises(MigrationFailed, match=r"within 2 s"):
        migration.finish(Deadline(2, "migrate"), followed)
    goes_on(running, deadline)
    assert (False, ["begin", "stayed"]) == (psutil.pid_exists(migration.target), heard.phases())


def test_a_target_that_does_not_start_is_said(
    running: QemuMachine, writer: HistoryWriter, heard: Heard, deadline: Deadline
) -> None:
    """With its words; the guest was not even stopped."""
    migration = LiveMigration(running, writer, board="pc-q35-0.1")
    with pytest.raises(MigrationFailed, match="unsupported machine type"):
        migration.begin(deadline)
    goes_on(running, deadline)
    assert ["stayed"] == heard.phases()


@pytest.mark.parametrize("which", ["source", "both"])
def test_the_end_of_the_old_qemu_is_the_end(
    running: QemuMachine, writer: HistoryWriter, registry: Registry, deadline: Deadline, which: str
) -> None:
    """A guest whose QEMU dies while it is moved is lost; nothing of it is left, not even the other QEMU."""
    migration = LiveMigration(running, writer)
    migration.begin(deadline, slow=True)
    target = migration.target
    if which == "both":
        migration.kill()
    os.kill(running.pid, signal.SIGKILL)
    with pytest.raises(HarnessError):
        migration.finish(deadline, followed)
    running.close()
    assert (False, []) == (psutil.pid_exists(target), listed(registry))


def test_what_is_given_up_leaves_no_process(
    running: QemuMachine, writer: HistoryWriter, registry: Registry, deadline: Deadline
) -> None:
    """A run that ends while its guest is on the way closes both."""
    migration = LiveMigration(running, writer)
    migration.begin(deadline, slow=True)
    migration.close()
    assert [running.pid] == [one.qemu for one in listed(registry)]
    goes_on(running, deadline)
    running.close()
    assert (False, []) == (psutil.pid_exists(migration.target), listed(registry))


def test_ports_are_forwarded_as_before(
    make_machine: MakeMachine, writer: HistoryWriter, tmp_path: Path, deadline: Deadline
) -> None:
    """Whoever talks to the guest through a port of this host goes on to do so."""
    kernel = bare_guest.build(tmp_path / "kernel", bare_guest.spin())
    machine = make_machine(kernel=kernel, network=Network(forwards=(5985, 22)), generation_id=True)
    machine.start(deadline)
    machine.resume(deadline)
    before = forwarded_ports(machine, deadline)
    guid = machine.execute("query-vm-generation-id", deadline)
    migration = LiveMigration(machine, writer)
    migration.begin(deadline)
    migration.finish(deadline, followed)
    assert (before, guid) == (
        forwarded_ports(machine, deadline),
        machine.execute("query-vm-generation-id", deadline),
    )
    with socket.create_connection(("127.0.0.1", before[22]), 10):
        pass


def test_disks_and_variables_go_with_the_guest(
    make_machine: MakeMachine, writer: HistoryWriter, tmp_path: Path, deadline: Deadline
) -> None:
    """Two QEMUs have them open, and one at a time may write them: the new one may when the old one may no more, and vice versa."""
    disk, code, variables = tmp_path / "disk.qcow2", tmp_path / "code", tmp_path / "variables"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    code.write_bytes(bytes(4 << 20))
    variables.write_bytes(bytes(4 << 20))
    machine = make_machine(
        disks=(Disk(file=disk),),
        flash=Flash(code=code, variables=variables),
        cdroms=(Cdrom(file=None, port=1),),
        screen=True,
        network=Network(),
    )
    machine.start(deadline)
    machine.resume(deadline)
    for fails in (True, False):
        migration = LiveMigration(machine, writer)
        migration.begin(deadline, slow=fails)
        if fails:
            migration.cancel(deadline)
            with pytest.raises(MigrationFailed, match="cancelled"):
                migration.finish(deadline, followed)
        else:
            migration.finish(deadline, followed)
        assert machine.run_state(deadline).running
        # Without -d QEMU would open the disk once more, beside the guest's device, which shares no writing.
        words = {"command-line": 'qemu-io -d disk0-device "write -P 7 0 64k"'}
        machine.execute("human-monitor-command", deadline, **words)
        deadline.poll(lambda: "wrote 65536/65536 bytes" in machine.words())


def test_a_disk_that_has_no_state_keeps_the_guest_where_it_is(
    make_machine: MakeMachine, writer: HistoryWriter, tmp_path: Path, deadline: Deadline
) -> None:
    """QEMU says so; a plan is refused before the boot for the same reason."""
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    machine = make_machine(disks=(Disk(file=disk, bus="nvme"),))
    machine.start(deadline)
    machine.resume(deadline)
    with pytest.raises(MigrationFailed, match=r"non-migratable device '.*nvme'"):
        LiveMigration(machine, writer).begin(deadline)
    assert machine.run_state(deadline).running
    assert "NVMe" in unmovable(machine.spec)


def test_a_second_client_of_the_new_qemu_is_another(
    make_machine: MakeMachine, writer: HistoryWriter, tmp_path: Path, deadline: Deadline
) -> None:
    """Two clients ask for the same at once, before the guest moves and after: one is refused each time."""
    kernel = bare_guest.build(tmp_path / "kernel", bare_guest.spin())
    machine = make_machine(kernel=kernel, clients=2)
    machine.start(deadline)
    machine.resume(deadline)
    said = [machine.add_cpu_twice("first", machine.cpu_slots(deadline)[2], deadline)]
    migration = LiveMigration(machine, writer)
    migration.begin(deadline)
    migration.finish(deadline, followed)
    said.append(machine.add_cpu_twice("second", machine.cpu_slots(deadline)[3], deadline))
    assert 2 == sum("uplicate" in words or "exists" in words for words in said), said
    with pytest.raises(CommandRefused):
        machine.add_cpu_twice("third", machine.cpu_slots(deadline)[3], deadline)
    plugged = [
        slot.qom.rpartition("/")[2] for slot in machine.cpu_slots(deadline) if "peripheral/" in slot.qom
    ]
    assert ["first", "second"] == plugged


def test_the_machine_type_is_the_versioned_one(
    running: QemuMachine, writer: HistoryWriter, deadline: Deadline
) -> None:
    """An alias may mean another type to another QEMU; options that were given with it stay."""
    running.spec = msgspec.structs.replace(running.spec, machine="q35,hpet=off")
    board = board_of(running, deadline)
    assert (True, True) == (board.startswith("pc-q35-"), board != another_board(running, deadline))
    migration = LiveMigration(running, writer)
    migration.begin(deadline)
    with pytest.raises(MigrationFailed):
        # The guest was started with a HPET: the other QEMU misses the device, and says so.
        migration.finish(deadline, followed)
    command = (running.directory / "qemu-2.log").read_text()
    assert "hpet" in command
