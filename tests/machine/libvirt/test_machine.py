# SPDX-License-Identifier: MIT
"""libvirt keeps the machine contract, and what is its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from part_markers import needs
from private_libvirtd import PrivateLibvirtd

from harness.deadline import Deadline
from harness.errors import CommandRefused, InfrastructureError, MachineFailed, UsageError
from harness.history.record import Qmp
from harness.history.writer import HistoryWriter
from harness.host import qemu_build
from harness.host.registry import ProcessName, Registry
from harness.machine.libvirt.machine import LibvirtMachine
from harness.machine.machine import MachineSpec
from harness.machine.memory_backend import MemoryBackend
from tests.machine import bare_guest
from tests.machine.contract import MachineContract

MIB = 1 << 20

pytestmark = pytest.mark.libvirt

MakeMachine = Callable[..., LibvirtMachine]


@pytest.fixture
def deadline() -> Deadline:
    """More than any of these tests takes on a busy host, libvirt's first look at QEMU included."""
    return Deadline(120, "test")


@pytest.fixture
@needs("libvirt")
def make_machine(
    tmp_path: Path, writer: HistoryWriter, registry: Registry, private_libvirtd: PrivateLibvirtd
) -> Iterator[MakeMachine]:
    """Make machines, not yet started; keywords are those of MachineSpec."""
    machines: list[LibvirtMachine] = []

    def make(directory: Path | None = None, *, uri: str = "", **fields: Any) -> LibvirtMachine:
        spec = MachineSpec(
            **{"accelerator": "tcg", "qemu": qemu_build.find_program(), "memory": 128 << 20, **fields}
        )
        machine = LibvirtMachine(
            spec,
            directory or tmp_path / "run",
            writer,
            connect=uri or private_libvirtd.uri,
            name=f"test{len(machines)}",
            registry=registry,
        )
        machines.append(machine)
        return machine

    yield make
    for machine in machines:
        machine.close()


class TestLibvirtMachine(MachineContract):
    """The contract, on a real libvirtd under TCG."""

    duplicate_cpu = ("virDomainSetVcpu", "NotCalled")
    slot_taken = "vcpu '0' is already in requested state"
    no_dimm_slot = "exceeds slots count '2'"


def test_registered_while_it_runs(make_machine: MakeMachine, deadline: Deadline, registry: Registry) -> None:
    """The registry lists the machine from start to close, with its QEMU, its domain and where libvirt is."""
    machine = make_machine()
    machine.start(deadline)
    (entry,) = registry.running()
    assert (machine.argv, machine.uuid, machine.uri) == (entry.command, entry.domain, entry.uri)
    assert ProcessName.of(machine.pid) == entry.qemu
    assert str(machine.control.parent) == entry.runtime
    machine.close()
    assert [] == registry.entries()
    assert not machine.control.parent.exists()


def test_nothing_is_left(
    make_machine: MakeMachine, deadline: Deadline, private_libvirtd: PrivateLibvirtd
) -> None:
    """After close there is neither domain nor process."""
    machine = make_machine()
    machine.start(deadline)
    pid = machine.pid
    assert [machine.uuid] == private_libvirtd.domains()
    machine.close()
    assert ([], None) == (private_libvirtd.domains(), ProcessName.of(pid))


def test_qemu_runs_as_whoever_runs_the_harness(make_machine: MakeMachine, deadline: Deadline) -> None:
    """Its files are ours, whatever user libvirt usually runs QEMU as."""
    machine = make_machine()
    machine.start(deadline)
    assert os.geteuid() == Path(f"/proc/{machine.pid}").stat().st_uid
    assert os.geteuid() == machine.control.stat().st_uid


def test_every_call_is_in_the_history(
    make_machine: MakeMachine, deadline: Deadline, writer: HistoryWriter
) -> None:
    """Who answered, calls by libvirt's names, replies and events, in order, with times that never go back."""
    machine = make_machine()
    machine.start(deadline)
    machine.resume(deadline)
    machine.wait_event("RESUME", deadline)
    machine.close()
    records = [msgspec.json.decode(line, type=Qmp) for line in writer.path.read_bytes().splitlines()]
    assert {"uri": machine.uri, "libvirt": machine.versions["libvirt"]} == records[0].message["libvirt"]
    calls = [record.message["execute"] for record in records if record.direction == "out"]
    assert ["query-status", "virDomainResume"] == calls
    assert "RESUME" in [record.message.get("event") for record in records]
    times = [record.host_ns for record in records]
    assert sorted(times) == times


def test_nothing_passes_libvirt_by(make_machine: MakeMachine, deadline: Deadline) -> None:
    """A command that may change the machine is refused, not sent."""
    machine = make_machine()
    machine.start(deadline)
    with pytest.raises(CommandRefused, match="behind libvirt's back"):
        machine.execute("device_add", deadline, driver="qemu64-x86_64-cpu")


def test_two_nodes(make_machine: MakeMachine, deadline: Deadline) -> None:
    """With two nodes processors and DIMMs go where they are told."""
    machine = make_machine(nodes=2, max_processors=4)
    machine.start(deadline)
    slots = machine.cpu_slots(deadline)
    assert [0, 0, 1, 1] == [slot.props["node-id"] for slot in slots]
    machine.add_cpu("cpu3", slots[3], deadline)
    machine.add_dimm("dimm0", 128 * MIB, deadline, node=1)
    assert [1] == [dimm.node for dimm in machine.memory_devices(deadline)]


@pytest.mark.parametrize("share", [False, True])
def test_a_dimm_that_is_a_file(make_machine: MakeMachine, deadline: Deadline, share: bool) -> None:
    """libvirt makes the file, shared or not, and binds it to the host's node."""
    machine = make_machine()
    machine.start(deadline)
    backend = MemoryBackend(kind="file", share=share, host_nodes=(0,))
    machine.add_dimm("dimm0", 128 * MIB, deadline, backend=backend)
    (memory,) = [row for row in machine.execute("query-memdev", deadline) if "dimm0" in row.get("id", "")]
    assert (128 * MIB, share, [0]) == (memory["size"], memory["share"], memory["host-nodes"])
    backing = machine.execute("qom-get", deadline, path=f"/objects/{memory['id']}", property="mem-path")
    assert "dimm0" in backing
    with pytest.raises(UsageError, match="libvirt cannot be given a memfd for one DIMM"):
        machine.add_dimm("dimm1", 128 * MIB, deadline, backend=MemoryBackend(kind="memfd"))


@pytest.mark.parametrize("machine_type", ["pc", "pc-q35-4.2", "q35,hpet=off"])
def test_other_machine_types(make_machine: MakeMachine, deadline: Deadline, machine_type: str) -> None:
    """Another machine type, an older one, or one with options of its own takes processors and DIMMs as well."""
    machine = make_machine(machine=machine_type)
    machine.start(deadline)
    machine.add_cpu("cpu2", machine.cpu_slots(deadline)[2], deadline)
    machine.add_dimm("dimm0", 128 * MIB, deadline)
    assert "/machine/peripheral/cpu2" == machine.cpu_slots(deadline)[2].qom


@pytest.mark.parametrize("name", ["with, comma=and <space> & 'quote'", "zwölf/boxkämpfer"])
def test_any_run_directory(make_machine: MakeMachine, deadline: Deadline, tmp_path: Path, name: str) -> None:
    """Run directories may hold any character that XML can."""
    machine = make_machine(tmp_path / name, debug_port=0x402, monitor=True, cpu="qemu64,-svm,+x2apic")
    machine.start(deadline)
    machine.resume(deadline)
    deadline.poll(lambda: b"SeaBIOS" in machine.debugcon.read_bytes())
    assert machine.human is not None
    assert machine.human.is_socket()


def test_firmware(make_machine: MakeMachine, deadline: Deadline) -> None:
    """Firmware given by file is what runs."""
    machine = make_machine(firmware=Path("/usr/share/seabios/bios-256k.bin"), debug_port=0x402)
    machine.start(deadline)
    assert "/usr/share/seabios/bios-256k.bin" in " ".join(machine.argv)
    machine.resume(deadline)
    deadline.poll(lambda: b"SeaBIOS" in machine.debugcon.read_bytes())


def test_guest_power_off_ends_the_machine(
    make_machine: MakeMachine, deadline: Deadline, tmp_path: Path
) -> None:
    """A guest that turns itself off is announced before libvirt ends QEMU, and the error says so."""
    machine = make_machine(kernel=bare_guest.build(tmp_path / "kernel", bare_guest.power_off()))
    machine.start(deadline)
    machine.resume(deadline)
    assert machine.wait_event("SHUTDOWN", deadline).data["guest"] is True
    with pytest.raises(MachineFailed, match="the guest powered off, and libvirt ended QEMU"):
        machine.wait_event("RESET", deadline)
    assert not machine.alive()


class TestRefusals:
    """What cannot be is refused before or by libvirt, in its words, and the machine goes on."""

    def test_cpu_of_another_type(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """libvirt is told a number only, so a slot that the machine has not is refused here."""
        machine = make_machine()
        machine.start(deadline)
        slot = msgspec.structs.replace(machine.cpu_slots(deadline)[2], type="EPYC-x86_64-cpu")
        with pytest.raises(CommandRefused, match="no slot for a EPYC"):
            machine.add_cpu("cpu2", slot, deadline)
        assert "" == machine.cpu_slots(deadline)[2].qom

    def test_dimm_for_a_node_that_is_not(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """A DIMM for an unknown node is refused and its name stays free."""
        machine = make_machine()
        machine.start(deadline)
        with pytest.raises(CommandRefused, match="has only '1' NUMA nodes") as refused:
            machine.add_dimm("dimm0", 128 * MIB, deadline, node=1)
        assert "virDomainAttachDeviceFlags" == refused.value.command
        assert "VIR_ERR" in refused.value.error_class
        machine.add_dimm("dimm0", 128 * MIB, deadline)

    def test_dimm_too_large(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """A DIMM beyond max_memory is refused."""
        machine = make_machine(max_memory=256 * MIB)
        machine.start(deadline)
        with pytest.raises(CommandRefused, match="exceed"):
            machine.add_dimm("dimm0", 512 * MIB, deadline)

    @pytest.mark.parametrize("name", ["dimm.0", "", "a b", "x" * 65])
    def test_dimm_name(self, make_machine: MakeMachine, deadline: Deadline, name: str) -> None:
        """A name that libvirt would drop without a word is refused."""
        machine = make_machine()
        machine.start(deadline)
        with pytest.raises(CommandRefused, match="cannot be a name"):
            machine.add_dimm(name, 128 * MIB, deadline)

    def test_unknown_query(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """QEMU's own words and class for what QEMU refuses itself."""
        machine = make_machine()
        machine.start(deadline)
        with pytest.raises(CommandRefused, match="has not been found") as refused:
            machine.execute("query-nothing", deadline)
        assert "CommandNotFound" == refused.value.error_class


class TestBadPlaces:
    """What is wrong before QEMU runs."""

    def test_kernel_missing(
        self,
        make_machine: MakeMachine,
        deadline: Deadline,
        registry: Registry,
        private_libvirtd: PrivateLibvirtd,
    ) -> None:
        """The words name the kernel that is not there; nothing is left."""
        machine = make_machine(kernel=Path("/no/such/kernel"))
        with pytest.raises(MachineFailed, match="/no/such/kernel"):
            machine.start(deadline)
        assert ([], []) == (registry.entries(), private_libvirtd.domains())
        assert not machine.control.parent.exists()

    def test_no_libvirt_there(self, make_machine: MakeMachine, deadline: Deadline, tmp_path: Path) -> None:
        """A URI that leads nowhere is named with libvirt's words."""
        machine = make_machine(uri=f"qemu+unix:///session?socket={tmp_path}/none")
        with pytest.raises(InfrastructureError, match=r"cannot connect to libvirt at .*No such file"):
            machine.start(deadline)

    def test_another_hypervisor(self, make_machine: MakeMachine, deadline: Deadline) -> None:
        """libvirt's own test driver is no QEMU."""
        machine = make_machine(uri="test:///default")
        with pytest.raises(UsageError, match="runs TEST, not QEMU"):
            machine.start(deadline)

    def test_run_directory_unwritable(
        self, make_machine: MakeMachine, deadline: Deadline, tmp_path: Path
    ) -> None:
        """A run directory that cannot be made is named with the way out."""
        (tmp_path / "file").touch()
        machine = make_machine(tmp_path / "file" / "run")
        with pytest.raises(InfrastructureError, match="cannot write in the run directory"):
            machine.start(deadline)
