# SPDX-License-Identifier: MIT
"""The machine protocol: what every backend (direct QEMU, libvirt) offers to the modules that use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from harness.deadline import Deadline
from harness.host.budget import ResourceRequest
from harness.machine.attachments import Cdrom, Disk, Flash, Network, RealTimeClock
from harness.machine.memory_backend import RAM, MemoryBackend
from harness.machine.migration_state import Added, AwaitedState, Incoming

Drop = Literal["now", "before-command", "before-reply"]
"""When the connection to QEMU is lost: see :meth:`Machine.drop_monitor`."""

OVERHEAD = 256 << 20
"""Bytes that QEMU itself needs besides the guest's memory: under TCG the translated code, some devices, its own heap."""

PERIPHERAL = "/machine/peripheral/"
"""The QOM path where QEMU keeps the devices that have an id."""

RUN_SIZE = 64 << 20
"""Bytes of a run directory. That of a run of the twin takes less than one MiB, a crash some MiB more."""

OVERLAY_SIZE = 2 << 30
"""Bytes by which an overlay grows in a run: what a guest with its own disk writes while it boots and is tested."""


class MachineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The machine to build. Sizes in bytes.

    ``kernel``/``initrd``/``append`` boot Linux directly (the twin); ``firmware`` is a file for ``-bios`` or pflash.
    ``processors`` at power-on, ``max_processors`` slots in all; ``memory`` at power-on, ``max_memory``, ``dimm_slots``.
    ``virtio_mem`` is how much a virtio-mem device can plug, 0 for none. ``balloon`` adds one, ``nvdimm`` allows NVDIMMs.
    ``debug_port`` is the driver's isa-debugcon port. ``monitor`` adds a second, human monitor, ``kd`` a serial port
    for a kernel debugger.

    ``incoming`` is the migration state of a snapshot (:mod:`harness.machine.snapshot`), which the machine continues instead
    of starting its firmware. ``added`` are the devices that had been hot-added when it was saved.

    For guests with a disk: ``flash`` is UEFI firmware with its own variables, ``cores`` the processors of one socket.
    ``clock`` is the real-time clock, None for QEMU's own. ``screen`` is a VGA adapter for ``screendump``. ``generation_id``
    is vmgenid, ``generation`` its GUID, "" for a new one.

    ``clients`` is how many QMP clients there may be at once, 1 or 2.
    """

    accelerator: Literal["kvm", "tcg"]
    qemu: Path
    machine: str = "q35"
    cpu: str = ""
    processors: int = 2
    max_processors: int = 6
    memory: int = 512 << 20
    max_memory: int = 4 << 30
    dimm_slots: int = 4
    nodes: int = 1
    virtio_mem: int = 0
    balloon: bool = False
    nvdimm: bool = False
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    firmware: Path | None = None
    debug_port: int = 0x504
    monitor: bool = False
    kd: bool = False
    cores: int = 1
    flash: Flash | None = None
    disks: tuple[Disk, ...] = ()
    cdroms: tuple[Cdrom, ...] = ()
    network: Network | None = None
    screen: bool = False
    clock: RealTimeClock | None = None
    generation_id: bool = False
    generation: str = ""
    clients: int = 1
    incoming: Incoming | AwaitedState | None = None
    added: tuple[Added, ...] = ()
    extra: list[str] = []

    def resource_request(self, *, processors: int = 0, memory: int = 0, disk: int = 0) -> ResourceRequest:
        """Return the needs of the machine at power-on and of the planned additions, as far as it has slots and room for them.

        ``disk`` is the run directory's bytes in addition to those of every run.
        """
        return ResourceRequest(
            vcpus=min(self.processors + processors, self.max_processors),
            memory=min(self.memory + memory, max(self.max_memory, self.memory)) + OVERHEAD,
            disk=RUN_SIZE + OVERLAY_SIZE * len(self.disks) + disk,
        )


class CpuSlot(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``query-hotpluggable-cpus``. ``props`` is QEMU's own, copied and never built; ``qom`` is "" if empty.

    ``index`` is the slot's place when rows are sorted by socket, die, module, core and thread.
    """

    index: int
    type: str
    props: dict[str, Any]
    qom: str = ""


class MemoryDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``query-memory-devices``: a plugged DIMM, size in bytes."""

    id: str
    size: int
    slot: int
    node: int
    address: int


class QmpEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A QMP event: ``serial`` counts every message of this machine in true order, so "after the reply" is decidable."""

    name: str
    data: dict[str, Any]
    serial: int
    host_ns: int
    qemu_us: int


class Machine(Protocol):
    """One virtual machine from spawn to end. Errors: see each method; all take a Deadline.

    ``console`` and ``debugcon`` are files that QEMU appends to from its start. ``control`` is the unix socket of the
    guest's control port, ``human`` that of the second monitor and ``kd`` that of the kernel debugger's port, if the spec
    has them. ``argv`` is QEMU's command once it runs. ``versions`` names the layers between the harness and QEMU, {} if none.
    """

    spec: MachineSpec
    directory: Path
    console: Path
    debugcon: Path
    control: Path
    human: Path | None
    kd: Path | None
    argv: list[str]
    versions: dict[str, str]

    def start(self, deadline: Deadline) -> None:
        """Spawn paused, connect the monitor. Raises MachineFailed with QEMU's own words, MissingPart."""

    def resume(self, deadline: Deadline) -> None:
        """Let the guest run (``cont``)."""

    def pause(self, deadline: Deadline) -> None:
        """Stop the guest's processors (``stop``)."""

    def reset(self, deadline: Deadline) -> None:
        """Send ``system_reset``; return when QEMU's RESET event came."""

    def execute(self, command: str, deadline: Deadline, **arguments: Any) -> Any:
        """Send one QMP command and return its reply. Raises CommandRefused, MachineFailed, MonitorLost.

        After a dropped connection it reconnects within the deadline. The command is sent again only if it is a query.
        For others MonitorLost is raised with the connection restored, so that the caller can ask what happened.
        """

    def cpu_slots(self, deadline: Deadline) -> list[CpuSlot]:
        """Return all slots in ascending order."""

    def add_cpu(self, device: str, slot: CpuSlot, deadline: Deadline) -> None:
        """Send ``device_add`` of a processor into ``slot``; never adds twice when the monitor drops."""

    def add_cpu_twice(self, device: str, slot: CpuSlot, deadline: Deadline) -> str:
        """Make two clients plug the same processor under the same name at the same moment.

        Returns the words by which one was refused. Raises CommandRefused if both were, InfrastructureError if neither was.
        """

    def memory_devices(self, deadline: Deadline) -> list[MemoryDevice]:
        """Return all plugged DIMMs."""

    def add_dimm(
        self,
        device: str,
        size: int,
        deadline: Deadline,
        *,
        node: int | None = None,
        backend: MemoryBackend = RAM,
    ) -> None:
        """Send ``object-add`` and ``device_add`` of a DIMM; its memory is deleted again when the device is refused.

        Raises HostExhausted if the host has too little memory or disk for ``backend``.
        """

    def add_nvdimm(self, device: str, size: int, deadline: Deadline, *, node: int = 0) -> None:
        """Send ``object-add`` and ``device_add`` of an NVDIMM whose bytes are a sparse file. Raises as :meth:`add_dimm`."""

    def request_virtio_mem(self, size: int, deadline: Deadline) -> None:
        """Ask the guest to use so many bytes of the virtio-mem device. Raises CommandRefused with QEMU's words."""

    def set_balloon(self, size: int, deadline: Deadline) -> None:
        """Ask the guest to shrink to so many bytes (``balloon``). Raises CommandRefused with QEMU's words."""

    def unplug(self, device: str, deadline: Deadline) -> None:
        """Ask the guest to give a processor or a DIMM back. Events report its answer. Raises CommandRefused."""

    def release(self, device: str, deadline: Deadline) -> None:
        """Delete the backend of a device that is gone, so that its id is free again."""

    def serial(self) -> int:
        """Return the serial of the last QMP message seen; pass it as ``after`` to :meth:`wait_event`."""

    def wait_event(self, name: str, deadline: Deadline, *, after: int = 0, **match: Any) -> QmpEvent:
        """Return the first event called ``name`` later than ``after`` whose data contains ``match`` (dotted keys).

        Raises GuestHang when the deadline passes, MachineFailed when QEMU died.
        """

    def events(self, name: str, *, after: int = 0) -> list[QmpEvent]:
        """Return the events seen so far."""

    def drop_monitor(self, when: Drop = "now") -> None:
        """Drop the connection to QEMU, as a crashing proxy would. The next command reconnects.

        ``now``; ``before-command``, in place of sending the next command; ``before-reply``, when the next reply arrives.
        """

    def sync(self) -> None:
        """Return once all output of the guest is in ``console`` and ``debugcon``. Raises InfrastructureError."""

    def alive(self) -> bool:
        """Return whether QEMU's process runs."""

    def check_alive(self) -> None:
        """Raise MachineFailed if QEMU is gone, InfrastructureError if the disk of the run directory is full."""

    def close(self) -> None:
        """Shut down: quit over QMP, SIGTERM, SIGKILL, each with its grace. Idempotent, bounded in time."""
