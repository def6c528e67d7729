# SPDX-License-Identifier: MIT
"""Direct QEMU keeps the machine contract, and what is its own: guests that end, places, the registry, two at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import msgspec
import pytest

from harness.deadline import Deadline
from harness.errors import (
    CommandRefused,
    ExitCode,
    GuestHang,
    HostExhausted,
    InfrastructureError,
    MachineFailed,
    MissingPart,
    UsageError,
)
from harness.history.bug_check import BugCheck, bug_check_of
from harness.history.record import Qmp
from harness.history.writer import HistoryWriter
from harness.host import qemu_build
from harness.host.host_memory import check_huge_pages
from harness.host.registry import ProcessName, Registry
from harness.interrupts import Interrupted
from harness.machine.accelerator import kvm_works
from harness.machine.machine import MachineSpec
from harness.machine.memory_backend import MemoryBackend
from harness.machine.other_memory import await_size, balloon_size, nvdimms, plugged
from harness.machine.qemu.machine import QemuMachine
from tests.machine import bare_guest
from tests.machine.conftest import MakeMachine
from tests.machine.contract import MachineContract
from tests.struck_registry import StruckRegistry

MIB = 1 << 20

pytestmark = pytest.mark.qemu


class TestQemuMachine(MachineContract):
    """The contract, on real QEMU under TCG."""


def test_guest_reset_is_told_from_ours(make_machine: MakeMachine, deadline: Deadline, tmp_path: Path) -> None:
    """A reset by the guest is announced as the guest's."""
    kernel = bare_guest.build(tmp_path / "kernel", bare_guest.reset())
    machine = make_machine(kernel=kernel)
    machine.start(deadline)
    machine.resume(deadline)
    event = machine.wait_event("RESET", deadline)
    assert {"guest": True, "reason": "guest-reset"} == event.data
    assert machine.alive()


def test_guest_power_off_leaves_qemu(make_machine: MakeMachine, deadline: Deadline, tmp_path: Path) -> None:
    """A guest that turns itself off is announced, and QEMU stays to be asked."""
    machine = make_machine(kernel=bare_guest.build(tmp_path / "kernel", bare_guest.power_off()))
    machine.start(deadline)
    machine.resume(deadline)
    assert machine.wait_event("SHUTDOWN", deadline).data["guest"] is True
    assert "shutdown" == machine.execute("query-status", deadline)["status"]


def test_guest_panic_leaves_qemu(make_machine: MakeMachine, deadline: Deadline, tmp_path: Path) -> None:
    """A guest that panics is paused, and its memory can still be dumped."""
    machine = make_machine(kernel=bare_guest.build(tmp_path / "kernel", bare_guest.panic()))
    machine.start(deadline)
    machine.resume(deadline)
    assert "pause" == machine.wait_event("GUEST_PANICKED", deadline).data["action"]
    assert "guest-panicked" == machine.execute("query-status", deadline)["status"]


def test_a_guest_that_may_tell_of_a_bug_check_goes_on(
    make_machine: MakeMachine, deadline: Deadline, tmp_path: Path
) -> None:
    """With hv-crash nothing that it tells stops it: what it does afterwards is still done. TCG offers no registers."""
    kernel = bare_guest.build(
        tmp_path / "kernel",
        bare_guest.panic(),
        bare_guest.write(bare_guest.DEBUG_PORT, b"the dump"),
        bare_guest.reset(),
    )
    machine = make_machine(kernel=kernel, cpu="max,hv-relaxed,hv-crash")
    machine.start(deadline)
    machine.resume(deadline)
    told = machine.wait_event("GUEST_PANICKED", deadline)
    assert ("run", None) == (told.data["action"], bug_check_of(told.data))
    machine.wait_event("RESET", deadline, guest=True)
    assert machine.debugcon.read_bytes().startswith(b"the dump")
    assert machine.execute("query-status", deadline)["running"]


class BareImage(msgspec.Struct, frozen=True):
    """A kernel alone, by which KVM is probed."""

    kernel: Path
    initrd: Path | None = None
    append: str = ""


@pytest.mark.kvm
def test_a_bug_check_is_told_as_it_happens(
    make_machine: MakeMachine, deadline: Deadline, tmp_path: Path
) -> None:
    """Code and parameters reach the harness by Hyper-V's crash registers, with no driver, and the guest goes on."""
    ready = bare_guest.build(tmp_path / "ready", bare_guest.write(bare_guest.COM2, b"hello\r\n! ready 1\r\n"))
    works, reason = kvm_works(qemu_build.find_program(), BareImage(kernel=ready), tmp_path, deadline)
    if not works:
        pytest.skip(f"KVM cannot be used: {reason}")
    words = (0xD1, 0xFFFFF80012345678, 2, 0, 1 << 63)
    kernel = bare_guest.build(
        tmp_path / "kernel",
        bare_guest.bug_check(*words),
        bare_guest.write(bare_guest.DEBUG_PORT, b"the dump"),
        bare_guest.panic(),
    )
    machine = make_machine(kernel=kernel, accelerator="kvm", cpu="Westmere,-vmx,hv-relaxed,hv-crash")
    machine.start(deadline)
    machine.resume(deadline)
    told = machine.wait_event("GUEST_PANICKED", deadline)
    assert ("run", BugCheck(words[0], words[1:])) == (told.data["action"], bug_check_of(told.data))
    machine.wait_event("GUEST_PANICKED", deadline, after=told.serial)
    assert b"the dump" == machine.debugcon.read_bytes()


def test_control_is_the_second_serial_port(
    make_machine: MakeMachine, deadline: Deadline, tmp_path: Path
) -> None:
    """What is sent to the control socket reaches the guest, and the answer comes back."""
    kernel = bare_guest.build(
        tmp_path / "kernel",
        bare_guest.wait_for_byte(bare_guest.COM2),
        bare_guest.write(bare_guest.COM2, b"! ready\n"),
    )
    machine = make_machine(kernel=kernel)
    machine.start(deadline)
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(deadline.remaining())
        control.connect(str(machine.control))
        machine.resume(deadline)
        control.sendall(b"?")
        heard = b""
        while not heard.endswith(b"\n"):
            heard += control.recv(64)
    assert b"! ready\n" == heard


@pytest.mark.parametrize("name", ["a" * 200, "with, comma=and space", "zwölf/boxkämpfer"])
def test_any_run_directory(make_machine: MakeMachine, deadline: Deadline, tmp_path: Path, name: str) -> None:
    """Run directories may be long and hold any character; sockets stay short."""
    machine = make_machine(tmp_path / name / ("deep" * 20), debug_port=0x402)
    machine.start(deadline)
    machine.resume(deadline)
    deadline.poll(lambda: b"SeaBIOS" in machine.debugcon.read_bytes())
    assert len(str(machine.control)) <= 107
    assert machine.control.is_socket()


def test_firmware(make_machine: MakeMachine, deadline: Deadline) -> None:
    """Firmware given by file is what runs."""
    machine = make_machine(firmware=Path("/usr/share/seabios/bios-256k.bin"), debug_port=0x402)
    machine.start(deadline)
    assert "-bios" in machine.argv
    machine.resume(deadline)
    deadline.poll(lambda: b"SeaBIOS" in machine.debugcon.read_bytes())


@pytest.mark.parametrize("machine_type", ["pc", "pc-q35-4.2", "q35,hpet=off"])
def test_other_machine_types(make_machine: MakeMachine, deadline: Deadline, machine_type: str) -> None:
    """Another machine type, an older one, or one with options of its own takes processors and DIMMs as well."""
    machine = make_machine(machine=machine_type)
    machine.start(deadline)
    machine.add_cpu("cpu2", machine.cpu_slots(deadline)[2], deadline)
    machine.add_dimm("dimm0", 128 * MIB, deadline)
    assert "/machine/peripheral/cpu2" == machine.cpu_slots(deadline)[2].qom


def test_human_monitor(make_machine: MakeMachine, deadline: Deadline) -> None:
    """The second monitor talks to people while QMP goes on."""
    machine = make_machine(monitor=True)
    machine.start(deadline)
    assert machine.human is not None
    with socket.socket(socket.AF_UNIX) as human:
        human.settimeout(deadline.remaining())
        human.connect(str(machine.human))
        human.sendall(b"info status\n")
        heard = b""
        while b"VM status: paused" not in heard:
            heard += human.recv(4096)
    assert machine.execute("query-status", deadline)["running"] is False


def test_two_nodes(make_machine: MakeMachine, deadline: Deadline) -> None:
    """With two nodes processors and DIMMs go where they are told."""
    machine = make_machine(nodes=2, max_processors=4)
    machine.start(deadline)
    slots = machine.cpu_slots(deadline)
    assert [0, 0, 1, 1] == [slot.props["node-id"] for slot in slots]
    machine.add_cpu("cpu3", slots[3], deadline)
    machine.add_dimm("dimm0", 128 * MIB, deadline, node=1)
    assert [1] == [dimm.node for dimm in machine.memory_devices(deadline)]


@pytest.mark.parametrize(
    "backend",
    [
        MemoryBackend(prealloc=True, share=True),
        MemoryBackend(kind="file"),
        MemoryBackend(kind="file", share=True, prealloc=True),
        MemoryBackend(kind="memfd"),
        MemoryBackend(kind="memfd", share=False, host_nodes=(0,)),
    ],
    ids=repr,
)
def test_what_a_dimm_is_made_of(
    make_machine: MakeMachine, deadline: Deadline, backend: MemoryBackend
) -> None:
    """QEMU has each in its own sandbox, and nothing of a file is left in the run directory."""
    machine = make_machine()
    machine.start(deadline)
    before = {path.name for path in machine.directory.iterdir()}
    machine.add_dimm("dimm0", 128 * MIB, deadline, backend=backend)
    (memory,) = [row for row in machine.execute("query-memdev", deadline) if row.get("id") == "dimm0-memory"]
    shared = backend.share if backend.share is not None else backend.kind == "memfd"
    assert (128 * MIB, shared, backend.prealloc) == (memory["size"], memory["share"], memory["prealloc"])
    assert list(backend.host_nodes) == memory["host-nodes"]
    assert before == {path.name for path in machine.directory.iterdir()}


def test_a_sparse_file_without_room(make_machine: MakeMachine, deadline: Deadline) -> None:
    """The signal that QEMU gets when a page of the file cannot be had is explained; without such a file it is not."""
    words = r"killed by SIGBUS.* A page of a DIMM's sparse file could not be allocated: .* free in"
    machine = make_machine()
    machine.start(deadline)
    machine.add_dimm("dimm0", 128 * MIB, deadline, backend=MemoryBackend(kind="file"))
    os.kill(machine.pid, signal.SIGBUS)
    with pytest.raises(MachineFailed, match=words):
        machine.wait_event("RESET", deadline)
    plain = make_machine(machine.directory / "plain")
    plain.start(deadline)
    os.kill(plain.pid, signal.SIGBUS)
    with pytest.raises(MachineFailed) as died:
        plain.wait_event("RESET", deadline)
    assert "sparse" not in died.value.message


def test_memory_that_a_guest_does_not_take(make_machine: MakeMachine, deadline: Deadline) -> None:
    """Without a driver in the guest nothing is plugged or taken, and the wait for it says so; an NVDIMM is listed."""
    machine = make_machine(virtio_mem=256 * MIB, balloon=True, nvdimm=True, nodes=1)
    machine.start(deadline)
    machine.request_virtio_mem(128 * MIB, deadline)
    assert 0 == plugged(machine, deadline)
    short = deadline.within(0.2, "test")
    with pytest.raises(
        GuestHang, match=r"virtio-mem: the guest was to have 128 MiB within .* QEMU says 0 MiB"
    ):
        await_size("virtio-mem", 128 * MIB, lambda: plugged(machine, deadline), short)
    machine.set_balloon(64 * MIB, deadline)
    assert 128 * MIB == balloon_size(machine, deadline)
    machine.add_nvdimm("pmem", 128 * MIB, deadline)
    assert (["pmem"], []) == (nvdimms(machine, deadline), machine.memory_devices(deadline))
    assert [] == [*machine.directory.glob("dimm-memory-*")]
    with pytest.raises(CommandRefused, match="uplicate"):
        machine.add_nvdimm("pmem", 128 * MIB, deadline)
    with pytest.raises(CommandRefused, match="requested-size"):
        machine.request_virtio_mem(512 * MIB, deadline)


def test_what_a_machine_has_not(make_machine: MakeMachine, deadline: Deadline) -> None:
    """QEMU refuses the change of a device that there is not, and an NVDIMM on a machine that takes none."""
    machine = make_machine()
    machine.start(deadline)
    with pytest.raises(CommandRefused, match="virtiomem0"):
        machine.request_virtio_mem(128 * MIB, deadline)
    with pytest.raises(CommandRefused, match="balloon"):
        machine.set_balloon(64 * MIB, deadline)
    with pytest.raises(CommandRefused, match="nvdimm"):
        machine.add_nvdimm("pmem", 128 * MIB, deadline)


def test_a_256th_processor_has_no_number(make_machine: MakeMachine, deadline: Deadline) -> None:
    """QEMU before 9.0 has 255 under TCG; what a run says before the boot is in tests/run/test_host_check.py."""
    machine = make_machine(max_processors=255)
    machine.start(deadline)
    assert 255 == len(machine.cpu_slots(deadline))
    if int(qemu_build.find_qemu().version.partition(".")[0]) < 9:
        with pytest.raises(MachineFailed, match="requires kernel irqchip and X2APIC"):
            make_machine(max_processors=256).start(deadline)


def test_a_file_of_another_size(make_machine: MakeMachine, deadline: Deadline) -> None:
    """QEMU refuses one that is smaller than the DIMM, and the DIMM's name stays free."""
    machine = make_machine()
    machine.start(deadline)
    small = MemoryBackend(kind="file", file_size=64 * MIB)
    with pytest.raises(
        CommandRefused, match=r"backing store size 0x4000000 (does not match|is too small for)"
    ):
        machine.add_dimm("dimm0", 128 * MIB, deadline, backend=small)
    machine.add_dimm("dimm0", 128 * MIB, deadline, backend=MemoryBackend(kind="file"))
    assert ["dimm0"] == [dimm.id for dimm in machine.memory_devices(deadline)]


def test_huge_pages(make_machine: MakeMachine, deadline: Deadline) -> None:
    """A DIMM of huge pages takes them; where too few are free, that is the host's fault, in words."""
    machine = make_machine()
    machine.start(deadline)
    backend = MemoryBackend(kind="memfd", hugepages=2 * MIB)
    try:
        check_huge_pages({2 * MIB: 128 * MIB})
    except UsageError:
        with pytest.raises(HostExhausted, match=r"too few free pages of 2 MiB for.*Cannot allocate memory"):
            machine.add_dimm("dimm0", 128 * MIB, deadline, backend=backend)
        return
    machine.add_dimm("dimm0", 128 * MIB, deadline, backend=backend)
    assert ["dimm0"] == [dimm.id for dimm in machine.memory_devices(deadline)]


@pytest.mark.root
def test_a_full_disk(make_machine: MakeMachine, deadline: Deadline, tmp_path: Path) -> None:
    """A file that cannot be preallocated is infrastructure, in plain words with QEMU's; a sparse one is taken."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", small], check=False)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        machine = make_machine(small / "run")
        machine.start(deadline)
        with pytest.raises(HostExhausted, match="the disk has no room to preallocate 128 MiB") as full:
            machine.add_dimm("dimm0", 128 * MIB, deadline, backend=MemoryBackend(kind="file", prealloc=True))
        assert "QEMU says: " in full.value.message
        assert (ExitCode.INFRASTRUCTURE, "infrastructure") == (full.value.exit_code, full.value.failure_class)
        assert [] == [*machine.directory.glob("dimm-memory-*")]
        machine.add_dimm("dimm0", 128 * MIB, deadline, backend=MemoryBackend(kind="file"))
        machine.close()
    finally:
        subprocess.run(["umount", small], check=True)


def test_two_machines_at_once(make_machine: MakeMachine, deadline: Deadline, tmp_path: Path) -> None:
    """Two machines share nothing: each has its devices, its sockets and its entry."""
    machines = [make_machine(tmp_path / name) for name in ("one", "two")]
    for machine in machines:
        machine.start(deadline)
    machines[0].add_dimm("dimm0", 128 * MIB, deadline)
    assert [1, 0] == [len(machine.memory_devices(deadline)) for machine in machines]
    machines[0].close()
    assert [False, True] == [machine.alive() for machine in machines]
    assert machines[1].execute("query-status", deadline)["running"] is False


def test_registered_while_it_runs(make_machine: MakeMachine, deadline: Deadline, registry: Registry) -> None:
    """The registry lists the machine from start to close, with the process that really is its QEMU."""
    machine = make_machine()
    assert [] == registry.entries()
    machine.start(deadline)
    (entry,) = registry.running()
    assert (machine.argv, str(machine.directory)) == (entry.command, entry.directory)
    assert ProcessName.of(machine.pid) == entry.qemu
    assert str(machine.control.parent) == entry.runtime
    machine.close()
    assert [] == registry.entries()
    assert not machine.control.parent.exists()


def test_every_message_is_in_the_history(
    make_machine: MakeMachine, deadline: Deadline, writer: HistoryWriter
) -> None:
    """Greeting, negotiation, commands, replies and events are recorded in order, with times that never go back."""
    machine = make_machine()
    machine.start(deadline)
    machine.resume(deadline)
    machine.close()
    records = [msgspec.json.decode(line, type=Qmp) for line in writer.path.read_bytes().splitlines()]
    kinds = [
        "greeting" if "QMP" in message else message.get("execute") or message.get("event") or "reply"
        for message in (record.message for record in records)
    ]
    assert ["greeting", "qmp_capabilities", "reply", "cont"] == kinds[:4]
    assert {"RESUME", "reply", "quit"} <= set(kinds[4:])
    times = [record.host_ns for record in records]
    assert sorted(times) == times
    sent = [record.message.get("id") for record in records if "execute" in record.message][1:]
    assert len(set(sent)) == len(sent)


def test_quit_is_no_death(make_machine: MakeMachine, deadline: Deadline) -> None:
    """A machine that we closed reports that it was asked."""
    machine = make_machine()
    machine.start(deadline)
    machine.close()
    assert machine.exit_report is not None
    assert (True, 0, "quit") == (
        machine.exit_report.asked,
        machine.exit_report.status,
        machine.exit_report.by,
    )


@pytest.mark.parametrize("strike", [1, 2])
def test_an_interrupt_while_the_machine_is_noted_leaves_no_entry(
    tmp_path: Path, writer: HistoryWriter, deadline: Deadline, strike: int
) -> None:
    """The first entry is written before QEMU is spawned, the second with its number."""
    registry = StruckRegistry(tmp_path / "registry")
    registry.strike = strike
    spec = MachineSpec(accelerator="tcg", qemu=qemu_build.find_program(), memory=128 << 20)
    with pytest.raises(Interrupted):
        QemuMachine(spec, tmp_path / "run", writer, name="struck", registry=registry).start(deadline)
    assert 0 == registry.strike
    assert [] == list(registry.directory.iterdir())


def test_closed_before_it_started(make_machine: MakeMachine, deadline: Deadline) -> None:
    """A machine that never started closes without a word, and cannot be started afterwards."""
    machine = make_machine()
    machine.close()
    assert machine.exit_report is None
    assert not machine.control.parent.exists()
    with pytest.raises(InfrastructureError, match="started before"):
        machine.start(deadline)


class TestRefusals:
    """What QEMU refuses is told in QEMU's words, and the machine goes on."""

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (
                {"props": {"socket-id": 9, "core-id": 0, "thread-id": 0}},
                "Invalid CPU socket-id: 9 must be in range",
            ),
            ({"type": "nonsense-cpu"}, "'nonsense-cpu' is not a valid device model name"),
            ({"type": "EPYC-x86_64-cpu"}, "Invalid CPU type"),
        ],
    )
    def test_cpu(
        self, make_machine: MakeMachine, deadline: Deadline, change: dict[str, object], words: str
    ) -> None:
        """A wrong slot and an unknown or unfit type."""
        machine = make_machine()
        machine.start(deadline)
        slot = msgspec.structs.replace(machine.cpu_slots(deadline)[2], **change)
        with pytest.raises(CommandRefused, match=words) as refused:
            machine.add_cpu("cpu2", slot, deadline)
        assert words in refused.value.description
        assert ExitCode.INFRASTRUCTURE == refused.value.exit_code
        assert "" == machine.cpu_slots(deadline)[2].qom

    def test_dimm_for_a_node_that_is_not(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """A DIMM for an unknown node is refused and its backend goes."""
        machine = make_machine()
        machine.start(deadline)
        with pytest.raises(CommandRefused, match="exceeds the number of numa nodes: 1"):
            machine.add_dimm("dimm0", 128 * MIB, deadline, node=1)
        names = [row["name"] for row in machine.execute("qom-list", deadline, path="/objects")]
        assert "dimm0-memory" not in names

    def test_dimm_too_large(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """A DIMM beyond max_memory is refused."""
        machine = make_machine(max_memory=256 * MIB)
        machine.start(deadline)
        with pytest.raises(CommandRefused, match="not enough space"):
            machine.add_dimm("dimm0", 512 * MIB, deadline)

    def test_unknown_command(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """An unknown command has its own error class."""
        machine = make_machine()
        machine.start(deadline)
        with pytest.raises(CommandRefused) as refused:
            machine.execute("no-such-command", deadline)
        assert "CommandNotFound" == refused.value.error_class


class TestBadPlaces:
    """What is wrong before QEMU runs."""

    def test_qemu_missing(self, make_machine: MakeMachine, deadline: Deadline, registry: Registry) -> None:
        """A missing QEMU leaves nothing behind."""
        machine = make_machine(qemu=Path("/no/such/qemu"))
        with pytest.raises(MissingPart, match="no program at /no/such/qemu"):
            machine.start(deadline)
        assert not machine.control.parent.exists()
        assert [] == registry.entries()

    def test_run_directory_unwritable(
        self, make_machine: MakeMachine, deadline: Deadline, tmp_path: Path
    ) -> None:
        """A run directory that cannot be made is named with the way out."""
        (tmp_path / "file").touch()
        machine = make_machine(tmp_path / "file" / "run")
        with pytest.raises(InfrastructureError, match="cannot write in the run directory") as refused:
            machine.start(deadline)
        assert "--runs DIR" in refused.value.hint
        assert ExitCode.INFRASTRUCTURE == refused.value.exit_code

    def test_kernel_missing(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """QEMU's own words name the kernel that is not there."""
        machine = make_machine(kernel=Path("/no/such/kernel"))
        with pytest.raises(MachineFailed, match="could not open kernel file '/no/such/kernel'"):
            machine.start(deadline)

    def test_qemu_that_never_greets(
        self, make_machine: MakeMachine, tmp_path: Path, registry: Registry
    ) -> None:
        """A QEMU that hangs before its greeting costs the deadline, and is gone afterwards."""
        program = tmp_path / "qemu"
        program.write_text(
            "#!/bin/sh\ntest $1 = --version && echo QEMU emulator version 8.0.0 || exec sleep 60\n"
        )
        program.chmod(0o755)
        machine = make_machine(qemu=program)
        with pytest.raises(MachineFailed, match=r"gave no QMP greeting within 0\.5 s"):
            machine.start(Deadline(0.5, "start"))
        assert not machine.alive()
        assert [] == registry.entries()
