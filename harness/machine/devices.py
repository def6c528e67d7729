# SPDX-License-Identifier: MIT
"""The parts of a machine. Each knows its own QEMU arguments; no single place builds the whole command line.

Paths may hold any character. QEMU splits option strings at commas, so every value from outside has its
commas doubled (:func:`harness.machine.attachments.option_value`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from harness.errors import UsageError
from harness.machine.attachments import GenerationId, VgaAdapter, option_value
from harness.machine.machine import MachineSpec
from harness.machine.other_memory import BalloonDevice, VirtioMemDevice

MIB = 1 << 20

PANIC_PORT = 0x505
"""Port of pvpanic, QEMU's default (QEMU: docs/specs/pvpanic.rst)."""


class Device(Protocol):
    """Anything that contributes arguments to a QEMU command."""

    def arguments(self) -> list[str]:
        """Return this part's own arguments."""


class Identity(msgspec.Struct, frozen=True):
    """The name of the machine, shown by the monitor and by ps."""

    name: str

    def arguments(self) -> list[str]:
        """Return the name. Threads are named too, so that a debugger distinguishes processors."""
        return ["-name", f"guest={option_value(self.name)},debug-threads=on"]


CRASH_REGISTERS = "hv-crash"
"""The processor option by which Windows reports a bug check as it happens (QEMU: docs/system/i386/hyperv.rst). Only KVM has it."""


def tells_bug_checks(spec: MachineSpec) -> bool:
    """Return whether the guest is offered Hyper-V's crash registers."""
    options = processor_model(spec).split(",")
    return CRASH_REGISTERS in options or f"{CRASH_REGISTERS}=on" in options


class Behaviour(msgspec.Struct, frozen=True):
    """QEMU's behaviour: no default devices, no display, no network, sandboxed, paused at start.

    No end of the guest ends QEMU. After a shutdown or a panic it stays, stopped, and reports it by SHUTDOWN or
    GUEST_PANICKED. A reset is carried out and reported by RESET (QEMU: qapi/run-state.json). So evidence outlives the guest.
    A guest that ``tells_bug_checks`` is not stopped by its report: Windows writes its dump only after that
    (``-action panic=none``, since QEMU 6.0).
    """

    tells_bug_checks: bool = False

    def arguments(self) -> list[str]:
        """Return ``-S`` and the rest: no instruction runs before ``cont``, so every channel is open from the first one."""
        panic = "none" if self.tells_bug_checks else "pause"
        return [
            "-nodefaults",
            "-no-user-config",
            "-display", "none",
            "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
            "-action", f"reboot=reset,shutdown=pause,panic={panic},watchdog=none",
            "-S",
        ]  # fmt: skip


class Board(msgspec.Struct, frozen=True):
    """The machine type, with options if it has any, and the accelerator.

    SMM is off, so that the firmware need not allow a CPU hot-plug SMI. Options given with the type take precedence.
    """

    type: str
    accelerator: str
    nvdimm: bool = False
    split_irqchip: bool = False

    def arguments(self) -> list[str]:
        """Return the board. All x86 machine types since QEMU 7.2 have ``smm``; ``nvdimm`` allows NVDIMMs (docs/nvdimm.txt)."""
        name, comma, options = self.type.partition(",")
        ours = ",nvdimm=on" if self.nvdimm else ""
        ours += ",kernel-irqchip=split" if self.split_irqchip else ""
        return ["-machine", f"{name},smm=off{ours}{comma}{options}", "-accel", self.accelerator]


LARGEST_APIC_ID = 254
"""The last number of a processor without x2APIC: 255 addresses all of them (Intel SDM 3A, 11.6.2.1)."""


class InterruptRemapping(msgspec.Struct, frozen=True):
    """An IOMMU that remaps interrupts. Without it no device interrupts a processor beyond 254 (QEMU: hw/i386/intel_iommu.c)."""

    def arguments(self) -> list[str]:
        """Return the IOMMU. Extended interrupt mode has destinations of 32 bits."""
        return ["-device", "intel-iommu,intremap=on,eim=on"]


def needs_x2apic(spec: MachineSpec) -> bool:
    """Return whether the machine has processors that only x2APIC can address."""
    return spec.max_processors > LARGEST_APIC_ID + 1


class Processors(msgspec.Struct, frozen=True):
    """``cores`` processors a socket. Each core is a slot of its own, also where a socket has many."""

    model: str
    present: int
    maximum: int
    cores: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.present <= self.maximum:
            raise UsageError(
                f"a machine with {self.present} of at most {self.maximum} processors cannot be built",
                hint="processors must be at least 1 and at most max_processors.",
            )
        if self.cores < 1 or self.maximum % self.cores:
            raise UsageError(
                f"{self.maximum} processors cannot be divided into sockets of {self.cores} cores",
                hint="max_processors must be a multiple of the cores of a socket.",
            )

    @property
    def sockets(self) -> int:
        """The number of sockets."""
        return self.maximum // self.cores

    def arguments(self) -> list[str]:
        """Return ``-cpu`` and ``-smp``."""
        shape = f"sockets={self.sockets},cores={self.cores},threads=1"
        return [
            "-cpu", self.model,
            "-smp", f"cpus={self.present},maxcpus={self.maximum},{shape}",
        ]  # fmt: skip


class Memory(msgspec.Struct, frozen=True):
    """Boot memory and DIMM slots, sizes in bytes, on explicit NUMA nodes.

    At least one node is always given: without one the firmware has no SRAT, and Windows takes no hot-added
    memory (QEMU: hw/i386/acpi-build.c). With several, memory is divided evenly and sockets in consecutive groups.
    """

    size: int
    maximum: int
    slots: int
    nodes: int
    sockets: int

    def __post_init__(self) -> None:
        if self.size <= 0 or self.size % MIB or self.maximum % MIB or self.maximum < self.size:
            raise UsageError(
                f"boot memory of {self.size} bytes, at most {self.maximum}: this cannot be built",
                hint="Both must be whole MiB, and max_memory no less than memory.",
            )
        if not 1 <= self.nodes <= self.sockets or self.nodes > self.size // MIB:
            raise UsageError(
                f"{self.nodes} NUMA nodes cannot share {self.sockets} sockets and {self.size // MIB} MiB",
                hint="nodes must be at least 1 and at most the number of sockets.",
            )

    def node_sizes(self) -> list[int]:
        """Return the bytes of boot memory of each node. The last node also gets the remainder."""
        share = self.size // MIB // self.nodes * MIB
        return [share] * (self.nodes - 1) + [self.size - share * (self.nodes - 1)]

    def arguments(self) -> list[str]:
        """Return ``-m``, one backend and one ``-numa node`` per node, and the node of each socket."""
        growth = f",slots={self.slots},maxmem={self.maximum // MIB}M" if self.slots else ""
        found = ["-m", f"size={self.size // MIB}M{growth}"]
        for node, size in enumerate(self.node_sizes()):
            found += ["-object", f"memory-backend-ram,id=ram{node},size={size // MIB}M"]
            found += ["-numa", f"node,nodeid={node},memdev=ram{node}"]
        if self.nodes > 1:
            for socket in range(self.sockets):
                node = socket * self.nodes // self.sockets
                found += ["-numa", f"cpu,node-id={node},socket-id={socket}"]
        return found


class LinuxBoot(msgspec.Struct, frozen=True):
    """A kernel that the firmware starts directly."""

    kernel: Path
    initrd: Path | None
    append: str

    def arguments(self) -> list[str]:
        """Return ``-kernel``, ``-initrd`` and ``-append``, the last two only if given."""
        found = ["-kernel", str(self.kernel)]
        if self.initrd is not None:
            found += ["-initrd", str(self.initrd)]
        if self.append:
            found += ["-append", self.append]
        return found


class Firmware(msgspec.Struct, frozen=True):
    """Firmware other than QEMU's own SeaBIOS."""

    file: Path

    def arguments(self) -> list[str]:
        """Return ``-bios``."""
        return ["-bios", str(self.file)]


class SerialToFile(msgspec.Struct, frozen=True):
    """COM1: the guest's output is appended to ``file``, so that nothing is lost when a guest is restored."""

    file: Path

    def arguments(self) -> list[str]:
        """Return the port. QEMU itself drains a file, so it never stalls the guest."""
        return [
            "-chardev", f"file,id=console,path={option_value(self.file)},append=on",
            "-device", "isa-serial,index=0,chardev=console",
        ]  # fmt: skip


class SerialToSocket(msgspec.Struct, frozen=True):
    """COM2: a unix socket for one client at a time. Output without a client is dropped."""

    socket: Path

    def arguments(self) -> list[str]:
        """Return the port. QEMU does not wait for the client."""
        return [
            "-chardev", f"socket,id=control,path={option_value(self.socket)},server=on,wait=off",
            "-device", "isa-serial,index=1,chardev=control",
        ]  # fmt: skip


KD_PORT = 0x3E8
"""I/O port of COM3, which Windows calls ``debugport:3``."""


class DebuggerPort(msgspec.Struct, frozen=True):
    """COM3 on a listening unix socket: the port of a kernel debugger.

    Its interrupt is not the usual 4, which is COM1's. ISA interrupts are not shared: an interrupt that one port lowers
    would be lost to the other. A debugged Windows polls the port.
    """

    socket: Path

    def arguments(self) -> list[str]:
        """Return the port. QEMU does not wait for the client; the guest's output without a client is dropped."""
        return [
            "-chardev", f"socket,id=kd,path={option_value(self.socket)},server=on,wait=off",
            "-device", f"isa-serial,index=2,iobase={KD_PORT:#x},irq=5,chardev=kd",
        ]  # fmt: skip


class DebugPort(msgspec.Struct, frozen=True):
    """isa-debugcon: every byte written to ``port`` is appended to ``file`` at once."""

    port: int
    file: Path

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 0xFFFF:
            raise UsageError(f"debug port {self.port:#x} is not an I/O port", hint="0x504 is the usual one.")

    def arguments(self) -> list[str]:
        """Return the port. It reads back 0xe9, by which a driver detects it."""
        return [
            "-chardev", f"file,id=debugcon,path={option_value(self.file)},append=on",
            "-device", f"isa-debugcon,iobase={self.port:#x},readback=0xe9,chardev=debugcon",
        ]  # fmt: skip


class PanicPort(msgspec.Struct, frozen=True):
    """pvpanic: lets a guest announce its own panic (QEMU: docs/specs/pvpanic.rst)."""

    port: int

    def arguments(self) -> list[str]:
        """Return the ISA form, which needs no PCI driver in a dying guest."""
        return ["-device", f"pvpanic,ioport={self.port:#x}"]


class QmpSocket(msgspec.Struct, frozen=True):
    """A control monitor on a listening socket, so that a dropped client can come back; ``name`` is its chardev's."""

    socket: Path
    name: str = "qmp"

    def arguments(self) -> list[str]:
        """Return the socket and the monitor on it."""
        return [
            "-chardev", f"socket,id={self.name},path={option_value(self.socket)},server=on,wait=off",
            "-mon", f"chardev={self.name},mode=control",
        ]  # fmt: skip


class HumanMonitor(msgspec.Struct, frozen=True):
    """A second monitor for people: ``socat -,raw,echo=0 unix-connect:SOCKET``."""

    socket: Path

    def arguments(self) -> list[str]:
        """Return the socket and the readline monitor on it."""
        return [
            "-chardev", f"socket,id=human,path={option_value(self.socket)},server=on,wait=off",
            "-mon", "chardev=human,mode=readline",
        ]  # fmt: skip


class UserArguments(msgspec.Struct, frozen=True):
    """Arguments that the user adds unchanged; they come last."""

    words: list[str]

    def arguments(self) -> list[str]:
        """Return the arguments unchanged."""
        return list(self.words)


def processor_model(spec: MachineSpec) -> str:
    """Return the requested processor model, or one that suits the accelerator.

    Under KVM it is a named model that every x86-64 host since 2011 has. So the guest's view does not depend on the host,
    processors added later equal the first, and neither nested virtualisation nor SGX keeps Windows from taking them
    (virtio-win issue 1607; QEMU issue 2669). TCG offers all that it can execute.
    """
    return spec.cpu or ("Westmere,-vmx" if spec.accelerator == "kvm" else "max")


def second_client(qmp: Path) -> Path:
    """Return the socket of the second QMP client: each of QEMU's sockets takes one client."""
    return qmp.with_name("qmp2")


def parts(
    spec: MachineSpec,
    *,
    name: str,
    console: Path,
    debugcon: Path,
    control: Path,
    qmp: Path,
    human: Path,
    kd: Path,
) -> list[Device]:
    """Return the parts of the machine that ``spec`` describes. Raises UsageError for parts that cannot be built."""
    processors = Processors(processor_model(spec), spec.processors, spec.max_processors, spec.cores)
    found: list[Device] = [
        Identity(name),
        Behaviour(tells_bug_checks(spec)),
        Board(spec.machine, spec.accelerator, spec.nvdimm, needs_x2apic(spec) and spec.accelerator == "kvm"),
        processors,
        Memory(spec.memory, spec.max_memory, spec.dimm_slots, spec.nodes, processors.sockets),
        QmpSocket(qmp),
        SerialToFile(console),
        SerialToSocket(control),
        DebugPort(spec.debug_port, debugcon),
        PanicPort(PANIC_PORT if spec.debug_port != PANIC_PORT else PANIC_PORT + 1),
    ]
    if spec.clients > 1:
        found.append(QmpSocket(second_client(qmp), "qmp2"))
    if spec.monitor:
        found.append(HumanMonitor(human))
    if spec.kd:
        found.append(DebuggerPort(kd))
    if spec.firmware is not None:
        found.append(Firmware(spec.firmware))
    if spec.flash is not None:
        found.append(spec.flash)
    found += [*spec.disks, *spec.cdroms]
    if spec.network is not None:
        found.append(spec.network)
    if spec.screen:
        found.append(VgaAdapter())
    if needs_x2apic(spec):
        found.append(InterruptRemapping())
    # After the devices that have a slot of their own.
    if spec.virtio_mem:
        found.append(VirtioMemDevice(spec.virtio_mem))
    if spec.balloon:
        found.append(BalloonDevice())
    if spec.clock is not None:
        found.append(spec.clock)
    if spec.generation_id:
        found.append(GenerationId(spec.generation))
    if spec.kernel is not None:
        found.append(LinuxBoot(spec.kernel, spec.initrd, spec.append))
    elif spec.initrd is not None or spec.append:
        raise UsageError(
            "an initrd or a kernel command line was given without a kernel", hint="Give the kernel too."
        )
    found += spec.added
    if spec.incoming is not None:
        found.append(spec.incoming)
    found.append(UserArguments(spec.extra))
    return found
