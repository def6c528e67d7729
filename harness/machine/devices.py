# SPDX-License-Identifier: MIT
"""The parts of a machine. Each knows its own QEMU arguments; no single place builds the whole command line.

Paths may hold any character. QEMU splits option strings at commas, so every value from outside has its
commas doubled (:func:`harness.machine.attachments.option_value`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import msgspec

from harness.errors import UsageError
from harness.machine.attachments import generation_id, option_value, vga_adapter
from harness.machine.machine import MachineSpec
from harness.machine.other_memory import balloon, virtio_mem

MIB = 1 << 20

PANIC_PORT = 0x505
"""Port of pvpanic, QEMU's default (QEMU: docs/specs/pvpanic.rst)."""


def identity(name: str) -> list[str]:
    """Return the name of the machine, shown by the monitor and by ps. Threads are named too: a debugger distinguishes processors."""
    return ["-name", f"guest={option_value(name)},debug-threads=on"]


CRASH_REGISTERS = "hv-crash"
"""The processor option by which Windows reports a bug check as it happens (QEMU: docs/system/i386/hyperv.rst). Only KVM has it."""


def tells_bug_checks(spec: MachineSpec) -> bool:
    """Return whether the guest is offered Hyper-V's crash registers."""
    options = processor_model(spec).split(",")
    return CRASH_REGISTERS in options or f"{CRASH_REGISTERS}=on" in options


def behaviour(*, tells_bug_checks: bool) -> list[str]:
    """Return QEMU's behaviour: no default devices, no display, no network, sandboxed, paused at start.

    With ``-S`` no instruction runs before ``cont``, so every channel is open from the first one.

    No end of the guest ends QEMU. After a shutdown or a panic it stays, stopped, and reports it by SHUTDOWN or
    GUEST_PANICKED. A reset is carried out and reported by RESET (QEMU: qapi/run-state.json). So evidence outlives the guest.
    A guest that ``tells_bug_checks`` is not stopped by its report: Windows writes its dump only after that
    (``-action panic=none``, since QEMU 6.0).
    """
    panic = "none" if tells_bug_checks else "pause"
    return [
        "-nodefaults",
        "-no-user-config",
        "-display", "none",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-action", f"reboot=reset,shutdown=pause,panic={panic},watchdog=none",
        "-S",
    ]  # fmt: skip


def board(spec: MachineSpec) -> list[str]:
    """Return the machine type, with options if it has any, and the accelerator.

    SMM is off, so that the firmware need not allow a CPU hot-plug SMI. Options given with the type take precedence. All x86
    machine types since QEMU 7.2 have ``smm``; ``nvdimm`` allows NVDIMMs (docs/nvdimm.txt).
    """
    name, comma, options = spec.machine.partition(",")
    ours = ",nvdimm=on" if spec.nvdimm else ""
    ours += ",kernel-irqchip=split" if splits_irqchip(spec) else ""
    return ["-machine", f"{name},smm=off{ours}{comma}{options}", "-accel", spec.accelerator]


LARGEST_APIC_ID = 254
"""The last number of a processor without x2APIC: 255 addresses all of them (Intel SDM 3A, 11.6.2.1)."""


def needs_x2apic(spec: MachineSpec) -> bool:
    """Return whether the machine has processors that only x2APIC can address."""
    return spec.max_processors > LARGEST_APIC_ID + 1


def splits_irqchip(spec: MachineSpec) -> bool:
    """Return whether QEMU itself is the I/O APIC beside KVM's local ones, as interrupt remapping needs it."""
    return needs_x2apic(spec) and spec.accelerator == "kvm"


def interrupt_remapping() -> list[str]:
    """Return an IOMMU that remaps interrupts. Extended interrupt mode has destinations of 32 bits.

    Without it no device interrupts a processor beyond 254 (QEMU: hw/i386/intel_iommu.c).
    """
    return ["-device", "intel-iommu,intremap=on,eim=on"]


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


def linux_boot(spec: MachineSpec) -> list[str]:
    """Return the kernel that the firmware starts directly, its initrd and its command line, each only if given."""
    if spec.kernel is None:
        if spec.initrd is not None or spec.append:
            raise UsageError(
                "an initrd or a kernel command line was given without a kernel", hint="Give the kernel too."
            )
        return []
    found = ["-kernel", str(spec.kernel)]
    if spec.initrd is not None:
        found += ["-initrd", str(spec.initrd)]
    if spec.append:
        found += ["-append", spec.append]
    return found


def serial_to_file(file: Path) -> list[str]:
    """Return COM1: the guest's output is appended to ``file``, so that nothing is lost when a guest is restored.

    QEMU itself drains a file, so it never stalls the guest.
    """
    return [
        "-chardev", f"file,id=console,path={option_value(file)},append=on",
        "-device", "isa-serial,index=0,chardev=console",
    ]  # fmt: skip


def listening(name: str, socket: Path) -> list[str]:
    """Return the chardev ``name``: a unix socket for one client at a time, which can come back after it was dropped.

    QEMU does not wait for the client. Output without a client is dropped.
    """
    return ["-chardev", f"socket,id={name},path={option_value(socket)},server=on,wait=off"]


def serial_to_socket(socket: Path) -> list[str]:
    """Return COM2 on a listening socket."""
    return [*listening("control", socket), "-device", "isa-serial,index=1,chardev=control"]


KD_PORT = 0x3E8
"""I/O port of COM3, which Windows calls ``debugport:3``."""


def debugger_port(socket: Path) -> list[str]:
    """Return COM3 on a listening socket: the port of a kernel debugger.

    Its interrupt is not the usual 4, which is COM1's. ISA interrupts are not shared: an interrupt that one port lowers
    would be lost to the other. A debugged Windows polls the port.
    """
    return [*listening("kd", socket), "-device", f"isa-serial,index=2,iobase={KD_PORT:#x},irq=5,chardev=kd"]


def debug_port(port: int, file: Path) -> list[str]:
    """Return isa-debugcon: every byte written to ``port`` is appended to ``file`` at once.

    It reads back 0xe9, by which a driver detects it. Raises UsageError for a number that is not a port's.
    """
    if not 1 <= port <= 0xFFFF:
        raise UsageError(f"debug port {port:#x} is not an I/O port", hint="0x504 is the usual one.")
    return [
        "-chardev", f"file,id=debugcon,path={option_value(file)},append=on",
        "-device", f"isa-debugcon,iobase={port:#x},readback=0xe9,chardev=debugcon",
    ]  # fmt: skip


def panic_port(spec: MachineSpec) -> int:
    """Return the port of pvpanic, which gives way to the debug port."""
    return PANIC_PORT if spec.debug_port != PANIC_PORT else PANIC_PORT + 1


def panic_device(port: int) -> list[str]:
    """Return pvpanic, which lets a guest announce its own panic (QEMU: docs/specs/pvpanic.rst).

    It is the ISA form, which needs no PCI driver in a dying guest.
    """
    return ["-device", f"pvpanic,ioport={port:#x}"]


def control_monitor(socket: Path, name: str = "qmp") -> list[str]:
    """Return a QMP monitor on a listening socket; ``name`` is its chardev's."""
    return [*listening(name, socket), "-mon", f"chardev={name},mode=control"]


def human_monitor(socket: Path) -> list[str]:
    """Return a second monitor for people: ``socat -,raw,echo=0 unix-connect:SOCKET``."""
    return [*listening("human", socket), "-mon", "chardev=human,mode=readline"]


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


class ChannelFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The places of a machine's channels, on the host that runs QEMU."""

    console: Path
    debugcon: Path
    control: Path
    human: Path
    kd: Path

    @classmethod
    def within(cls, folder: Path, **elsewhere: Path) -> Self:
        """Name all in ``folder``, except those that are ``elsewhere``."""
        return cls(**{name: folder / name for name in cls.__struct_fields__} | elsewhere)


def arguments(spec: MachineSpec, *, name: str, files: ChannelFiles, qmp: Path) -> list[str]:
    """Return the arguments for the machine that ``spec`` describes. Raises UsageError for parts that cannot be built."""
    processors = Processors(processor_model(spec), spec.processors, spec.max_processors, spec.cores)
    memory = Memory(spec.memory, spec.max_memory, spec.dimm_slots, spec.nodes, processors.sockets)
    found = [
        *identity(name),
        *behaviour(tells_bug_checks=tells_bug_checks(spec)),
        *board(spec),
        *processors.arguments(),
        *memory.arguments(),
        *control_monitor(qmp),
        *serial_to_file(files.console),
        *serial_to_socket(files.control),
        *debug_port(spec.debug_port, files.debugcon),
        *panic_device(panic_port(spec)),
    ]
    if spec.clients > 1:
        found += control_monitor(second_client(qmp), "qmp2")
    if spec.monitor:
        found += human_monitor(files.human)
    if spec.kd:
        found += debugger_port(files.kd)
    if spec.firmware is not None:
        found += ["-bios", str(spec.firmware)]
    if spec.flash is not None:
        found += spec.flash.arguments()
    for disk in spec.disks:
        found += disk.arguments()
    for cdrom in spec.cdroms:
        found += cdrom.arguments()
    if spec.network is not None:
        found += spec.network.arguments()
    if spec.screen:
        found += vga_adapter()
    if needs_x2apic(spec):
        found += interrupt_remapping()
    # After the devices that have a slot of their own.
    if spec.virtio_mem:
        found += virtio_mem(spec.virtio_mem)
    if spec.balloon:
        found += balloon()
    if spec.clock is not None:
        found += spec.clock.arguments()
    if spec.generation_id:
        found += generation_id(spec.generation)
    found += linux_boot(spec)
    for device in spec.added:
        found += device.arguments()
    if spec.incoming is not None:
        found += spec.incoming.arguments()
    return found + spec.extra
