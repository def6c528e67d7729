# SPDX-License-Identifier: MIT
"""Snapshots on real QEMU: a machine continues where another was saved, with everything that was added to it."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from harness.deadline import Deadline
from harness.errors import InfrastructureError, MachineFailed
from harness.machine.attachments import Disk, RealTimeClock
from harness.machine.machine import MachineSpec
from harness.machine.migration_state import AddedCpu, AddedDimm, Incoming
from harness.machine.qemu.machine import QemuMachine
from harness.machine.snapshot import KEPT, MachineSnapshot, SnapshotStore, digest_of, disk_name, restored
from tests.machine import bare_guest
from tests.machine.conftest import MakeMachine
from tests.machine.contract import clock_of

SIZE = 256 << 20
SPEC = MachineSpec(accelerator="tcg", qemu=Path("/usr/bin/qemu-system-x86_64"))


def waiting_guest(file: Path) -> Path:
    """A guest that says so, waits for a byte on its control port, and goes on."""
    return bare_guest.build(
        file,
        bare_guest.write(bare_guest.DEBUG_PORT, b"begun\n"),
        bare_guest.wait_for_byte(bare_guest.COM2),
        bare_guest.write(bare_guest.DEBUG_PORT, b"gone on\n"),
    )


def saved(machine: QemuMachine, file: Path, deadline: Deadline) -> MachineSnapshot:
    """Run the guest until it waits, and save it there."""
    deadline.poll(lambda: b"begun" in machine.debugcon.read_bytes())
    memory, added = machine.save(file, deadline)
    return MachineSnapshot(digest="x", directory=str(file.parent), mapped=memory.mapped, added=added)


def go_on(machine: QemuMachine, deadline: Deadline) -> bytes:
    """Send the byte that the guest waits for; return what it wrote from then on."""
    import socket

    machine.resume(deadline)
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(machine.control))
        control.sendall(b"x")
        deadline.poll(lambda: b"gone on" in machine.debugcon.read_bytes())
    return machine.debugcon.read_bytes()


@pytest.mark.qemu
def test_the_clock_goes_on_at_the_time_of_the_saving(
    make_machine: MakeMachine, tmp_path: Path, deadline: Deadline
) -> None:
    """A clock of its own knows nothing of how long the snapshot lay there."""
    start = 1_772_359_260
    first = make_machine(
        tmp_path / "first", kernel=waiting_guest(tmp_path / "kernel"), clock=RealTimeClock(start=start)
    )
    first.start(deadline)
    first.resume(deadline)
    state = saved(first, tmp_path / "memory", deadline)
    stood = clock_of(first, deadline)
    first.close()
    lay = time.monotonic()
    deadline.poll(lambda: time.monotonic() - lay > 3)
    spec = restored(first.spec, state, tmp_path, deadline)
    second = make_machine(tmp_path / "second", **msgspec.structs.asdict(spec))
    second.start(deadline)
    assert stood <= clock_of(second, deadline) <= stood + 1


def test_machines_with_other_clocks_have_snapshots_of_their_own() -> None:
    """A guest that was saved at one time is none that begins at another."""
    clocks = [None, RealTimeClock(), RealTimeClock(start=1), RealTimeClock(start=2)]
    digests = {digest_of(msgspec.structs.replace(SPEC, clock=clock), "image", "QEMU") for clock in clocks}
    assert 4 == len(digests)


@pytest.mark.qemu
def test_guest_goes_on_with_what_was_added(
    make_machine: MakeMachine, tmp_path: Path, deadline: Deadline
) -> None:
    """Two processors, out of order, and two DIMMs are where they were, and the guest does not begin anew."""
    kernel = waiting_guest(tmp_path / "kernel")
    first = make_machine(tmp_path / "first", kernel=kernel)
    first.start(deadline)
    first.resume(deadline)
    slots = first.cpu_slots(deadline)
    first.add_cpu("late", slots[4], deadline)
    first.add_cpu("early", slots[2], deadline)
    first.add_dimm("dimm-a", SIZE, deadline)
    first.add_dimm("dimm-b", 2 * SIZE, deadline)
    before = (first.cpu_slots(deadline), first.memory_devices(deadline))
    state = saved(first, tmp_path / "memory", deadline)
    first.close()
    assert {"late", "early"} == {one.id for one in state.added if isinstance(one, AddedCpu)}
    spec = restored(first.spec, state, tmp_path, deadline)
    second = make_machine(tmp_path / "second", **msgspec.structs.asdict(spec))
    second.start(deadline)
    assert before == (second.cpu_slots(deadline), second.memory_devices(deadline))
    assert b"gone on\n" == go_on(second, deadline)
    second.add_cpu("next", second.cpu_slots(deadline)[3], deadline)


@pytest.mark.qemu
def test_state_of_another_machine_is_refused_with_the_words_of_qemu(
    make_machine: MakeMachine, tmp_path: Path, deadline: Deadline
) -> None:
    """A machine that lacks what the saved one had, and a file that is no state, end with QEMU's own words."""
    kernel = waiting_guest(tmp_path / "kernel")
    first = make_machine(tmp_path / "first", kernel=kernel)
    first.start(deadline)
    first.resume(deadline)
    first.add_dimm("dimm-a", SIZE, deadline)
    saved(first, tmp_path / "memory", deadline)
    first.close()
    second = make_machine(tmp_path / "second", kernel=kernel, incoming=Incoming(file=tmp_path / "memory"))
    with pytest.raises(MachineFailed, match="load of migration failed"):
        second.start(deadline)
    (tmp_path / "text").write_text("no state")
    third = make_machine(tmp_path / "third", kernel=kernel, incoming=Incoming(file=tmp_path / "text"))
    with pytest.raises(MachineFailed, match="Not a migration stream"):
        third.start(deadline)
    fourth = make_machine(tmp_path / "fourth", kernel=kernel, incoming=Incoming(file=tmp_path / "none"))
    with pytest.raises(InfrastructureError, match="cannot read the migration state"):
        fourth.start(deadline)


@pytest.mark.qemu
def test_disks_of_a_restored_machine_are_overlays(
    make_machine: MakeMachine, tmp_path: Path, deadline: Deadline
) -> None:
    """The saved disk is the backing file of a new one, and is not written to."""
    state_place = tmp_path / "saved"
    state_place.mkdir()
    disk = Disk(file=state_place / "disk-0.qcow2")
    assert disk.file.name == disk_name(0, disk)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk.file), "16M"], check=True)
    kernel = waiting_guest(tmp_path / "kernel")
    first = make_machine(tmp_path / "first", kernel=kernel, disks=(disk,))
    first.start(deadline)
    first.resume(deadline)
    state = saved(first, state_place / "memory", deadline)
    first.close()
    content = disk.file.read_bytes()
    (tmp_path / "run").mkdir()
    spec = restored(first.spec, state, tmp_path / "run", deadline)
    second = make_machine(tmp_path / "second", **msgspec.structs.asdict(spec))
    second.start(deadline)
    assert b"gone on\n" == go_on(second, deadline)
    second.close()
    assert content == disk.file.read_bytes()
    said = subprocess.run(
        ["qemu-img", "info", "--output=json", str(spec.disks[0].file)], capture_output=True, check=True
    )
    assert str(disk.file) == json.loads(said.stdout)["backing-filename"]


@pytest.mark.qemu
def test_full_disk_is_said(make_machine: MakeMachine, tmp_path: Path, deadline: Deadline) -> None:
    """A state that cannot be written is no state: QEMU's words are given, and the machine can be closed."""
    first = make_machine(tmp_path / "first", kernel=waiting_guest(tmp_path / "kernel"))
    first.start(deadline)
    first.resume(deadline)
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(InfrastructureError, match="could not be saved"):
        first.save(full, deadline)
    with pytest.raises(InfrastructureError, match="cannot write"):
        first.save(tmp_path / "none" / "memory", deadline)


def made(store: SnapshotStore, digest: str, calls: Path) -> MachineSnapshot:
    """Ask for a state; each making is noted in ``calls``."""

    def make(work: Path) -> MachineSnapshot:
        with calls.open("a") as file:
            file.write("made\n")
        (work / "memory").write_text(digest)
        return MachineSnapshot(
            digest=digest, added=[AddedDimm(id="d", size=SIZE, node=0, slot=0, address=1 << 32)]
        )

    return store.provide(digest, make, Deadline(60, "test"), lambda _text: None)


def test_state_is_made_once(tmp_path: Path) -> None:
    """Whoever asks again, in another process too, gets what was made first."""
    calls = tmp_path / "calls"
    context = multiprocessing.get_context("fork")
    askers = [
        context.Process(target=made, args=(SnapshotStore(tmp_path / "cache"), "a" * 64, calls))
        for _ in range(4)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    state = made(SnapshotStore(tmp_path / "cache"), "a" * 64, calls)
    assert "made\n" == calls.read_text()
    assert ("a" * 64, ["d"]) == (state.memory.read_text(), [one.id for one in state.added])


def test_failed_making_leaves_nothing(tmp_path: Path) -> None:
    """What fails while a state is made is raised, and the next one makes it."""
    store = SnapshotStore(tmp_path)

    def fail(work: Path) -> MachineSnapshot:
        (work / "memory").write_text("half")
        raise InfrastructureError("no guest")

    with pytest.raises(InfrastructureError, match="no guest"):
        store.provide("b" * 64, fail, Deadline(60, "test"), lambda _text: None)
    assert ["lock"] == [path.name for path in (tmp_path / "states").iterdir()]
    made(store, "b" * 64, tmp_path / "calls")
    assert "made\n" == (tmp_path / "calls").read_text()


def test_states_used_longest_ago_are_removed(tmp_path: Path) -> None:
    """More than are kept go, and one that was just used stays."""
    store = SnapshotStore(tmp_path, room=0)
    digests = [f"{number:064x}"[::-1] for number in range(1, KEPT + 2)]
    for number, digest in enumerate(digests[:KEPT]):
        place = Path(made(store, digest, tmp_path / "calls").directory)
        os.utime(place, (1000 + number, 1000 + number))
    assert store.find(digests[0]) is not None
    made(store, digests[KEPT], tmp_path / "calls")
    assert [digests[1]] == [digest for digest in digests if store.find(digest) is None]


def test_more_states_are_kept_where_there_is_room(tmp_path: Path) -> None:
    """Those used last stay as long as all of them fit, the eight of them in any case."""

    def left(*, room: int, number: int) -> int:
        store = SnapshotStore(tmp_path, room=room)
        newest = made(store, f"{number:016x}" * 4, tmp_path / "calls").directory
        os.utime(newest, (1000 + number, 1000 + number))
        return sum((path / "state.json").is_file() for path in (tmp_path / "states").iterdir())

    counts = [left(room=1 << 30, number=number) for number in range(1, KEPT + 4)]
    assert counts == list(range(1, KEPT + 4))
    one = sum(file.lstat().st_blocks * 512 for file in (tmp_path / "states" / f"{1:016x}").iterdir())
    assert left(room=one * (KEPT + 2), number=KEPT + 4) == KEPT + 2
    assert left(room=0, number=KEPT + 5) == KEPT
    assert left(room=0, number=KEPT + 6) == KEPT


def test_digest_tells_machines_apart() -> None:
    """Where files lie and who looks on changes nothing; memory, image, QEMU and accelerator do."""
    first = digest_of(SPEC, "image", "QEMU 7.2")
    same = msgspec.structs.replace(SPEC, qemu=Path("/elsewhere"), monitor=True)
    assert first == digest_of(same, "image", "QEMU 7.2")
    with_disk = [
        digest_of(msgspec.structs.replace(SPEC, disks=(Disk(file=Path(file)),)), "image", "QEMU 7.2")
        for file in ("/run/1/disk", "/run/2/disk")
    ]
    assert with_disk[0] == with_disk[1]
    others = {
        digest_of(msgspec.structs.replace(SPEC, memory=1 << 30), "image", "QEMU 7.2"),
        digest_of(msgspec.structs.replace(SPEC, accelerator="kvm"), "image", "QEMU 7.2"),
        digest_of(msgspec.structs.replace(SPEC, append="kd=1"), "image", "QEMU 7.2"),
        digest_of(SPEC, "other image", "QEMU 7.2"),
        digest_of(SPEC, "image", "QEMU 8.0"),
        with_disk[0],
        first,
    }
    assert 7 == len(others)


def test_damaged_state_is_made_anew(tmp_path: Path) -> None:
    """A description that does not decode, or memory that is gone, is no state."""
    store = SnapshotStore(tmp_path)
    directory = Path(made(store, "c" * 64, tmp_path / "calls").directory)
    (directory / "state.json").write_text("{")
    assert None is store.find("c" * 64)
    directory = Path(made(store, "c" * 64, tmp_path / "calls").directory)
    (directory / "memory").unlink()
    assert None is store.find("c" * 64)
