# SPDX-License-Identifier: MIT
"""The common life of all machines under QEMU: made, registered, started, and closed exactly once."""

from __future__ import annotations

import abc
import atexit
import dataclasses
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self

from harness import locks
from harness.deadline import Deadline
from harness.errors import CommandRefused, InfrastructureError, MonitorLost
from harness.history.private import keep_private
from harness.history.record import Stage
from harness.interrupts import uninterrupted
from harness.machine.event_log import EventLog
from harness.machine.inspection import Inspector, QmpInspector
from harness.machine.machine import PERIPHERAL, CpuSlot, MemoryDevice, QmpEvent
from harness.machine.qmp_schema import HotpluggableCpu, MemoryDeviceInfo, PcDimmDeviceInfo, StatusInfo, read
from harness.machine.registered import RegisteredMachine

TOPOLOGY = ("socket-id", "die-id", "cluster-id", "module-id", "core-id", "thread-id")
"""The keys of a processor slot from the outermost inwards. QEMU leaves out those that a machine does not have."""


@dataclasses.dataclass(eq=False, repr=False, kw_only=True)
class MachineBase(RegisteredMachine, abc.ABC):
    """The common part of all backends. A backend defines how it starts, how it is queried, and how it ends.

    The run directory is made if missing. ``paused_here`` is true while :meth:`pause` holds.
    ``channel_limit`` is how many bytes of one such file are kept, 0 if they are not cut.
    """

    channel_limit: int = 0
    _log: EventLog = dataclasses.field(init=False)
    _way: ClassVar[str]
    """The connection to QEMU: its monitor, or a libvirt connection."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.paused_here = False
        self.human = self._runtime.path / "human" if self.spec.monitor else None
        self.kd = self._runtime.path / "kd" if self.spec.kd else None
        self._begun = False
        self._closing = locks.turn("machine")
        self._closed = False
        _open.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abc.abstractmethod
    def _start(self, deadline: Deadline) -> None:
        """Start QEMU, paused. After a failure, what was started is closed."""

    @abc.abstractmethod
    def _end(self, hurry: threading.Event) -> bool:
        """End QEMU and its connections; return whether it is gone for certain. ``hurry`` cuts graces short."""

    @abc.abstractmethod
    def execute(self, command: str, deadline: Deadline, **arguments: Any) -> Any:
        """Send one QMP command; see :class:`harness.machine.machine.Machine`."""

    def start(self, deadline: Deadline) -> None:
        """Start paused. Raises MissingPart, MachineFailed with the words of the program that failed, InfrastructureError."""
        if self._begun or self._closed:
            raise InfrastructureError(f"machine {self.name!r} was started before", hint="Make a new one.")
        self._begun = True
        try:
            with self._writing():
                self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                for file in (self.console, self.debugcon):
                    keep_private(file)
            self._start(deadline)
        except BaseException:
            self.close()
            raise

    def _note(self, text: str) -> None:
        self.writer.write(Stage(name="qemu", phase="note", detail=text))

    def resume(self, deadline: Deadline) -> None:
        """``cont``."""
        self.execute("cont", deadline)
        self.paused_here = False

    def pause(self, deadline: Deadline) -> None:
        """``stop``."""
        self.paused_here = True
        self.execute("stop", deadline)

    def reset(self, deadline: Deadline) -> None:
        """Send ``system_reset``, and wait for the RESET event that the host caused."""
        before = self.serial()
        self.execute("system_reset", deadline)
        self.wait_event("RESET", deadline, after=before, guest=False)

    def cpu_slots(self, deadline: Deadline) -> list[CpuSlot]:
        """Return the rows of ``query-hotpluggable-cpus`` in ascending order; QEMU lists the last one first."""
        command = "query-hotpluggable-cpus"
        rows = read(f"the answer to {command}", self.execute(command, deadline), list[HotpluggableCpu])
        rows.sort(key=lambda row: [row.props.get(key, 0) for key in TOPOLOGY])
        return [
            CpuSlot(index=index, type=row.type, props=row.props, qom=row.qom_path)
            for index, row in enumerate(rows)
        ]

    def memory_devices(self, deadline: Deadline) -> list[MemoryDevice]:
        """Return the DIMMs of ``query-memory-devices``."""
        answer = f"the answer to {(command := 'query-memory-devices')}"
        rows = read(answer, self.execute(command, deadline), list[MemoryDeviceInfo])
        dimms = [read(answer, row.data, PcDimmDeviceInfo) for row in rows if row.type == "dimm"]
        return [
            MemoryDevice(id=one.id, size=one.size, slot=one.slot, node=one.node, address=one.addr)
            for one in dimms
        ]

    def _has_cpu(self, device: str, slot: CpuSlot, deadline: Deadline) -> bool:
        """Return whether the processor ``device`` is in ``slot``."""
        rows = self.cpu_slots(deadline)
        return any(row.qom == PERIPHERAL + device and row.props == slot.props for row in rows)

    def _has_dimm(self, device: str, size: int, deadline: Deadline) -> bool:
        """Return whether there is a DIMM ``device`` of ``size`` bytes."""
        return any(row.id == device and row.size == size for row in self.memory_devices(deadline))

    def _is_gone(self, device: str, deadline: Deadline) -> bool:
        """Return whether no processor and no DIMM is called ``device``."""
        listed = any(row.qom == PERIPHERAL + device for row in self.cpu_slots(deadline))
        return not listed and all(row.id != device for row in self.memory_devices(deadline))

    def run_state(self, deadline: Deadline) -> StatusInfo:
        """Return the answer to ``query-status``."""
        return read("the answer to query-status", self.execute("query-status", deadline), StatusInfo)

    def _once(
        self, change: str, deadline: Deadline, there: Callable[[], bool], send: Callable[[], object]
    ) -> None:
        """Make a change to the machine, exactly once as far as QEMU is concerned.

        When the connection drops before the reply, ``there`` asks QEMU whether it made the change. If so, that counts as
        the reply. If not, the change never arrived, and is sent again, once. QEMU and libvirt carry out one request after
        another, so the answer to a later question settles the earlier one.
        """
        try:
            send()
        except MonitorLost as lost:
            if deadline.expired:
                raise
            if there():
                self._note(f"the {self._way} dropped during {change}; QEMU has it, so it was accepted")
                return
            self._note(f"the {self._way} dropped during {change}; QEMU does not have it, sent again")
            try:
                send()
            except MonitorLost:
                if deadline.expired or not there():
                    raise lost from None
                self._note(f"the {self._way} dropped again during {change}; QEMU has it")

    def serial(self) -> int:
        """Return the serial of the last QMP message."""
        return self._log.serial()

    def wait_event(self, name: str, deadline: Deadline, *, after: int = 0, **match: Any) -> QmpEvent:
        """Wait for an event; nested data is matched as ``**{"info.device": "cpu2"}``."""
        return self._log.wait_event(name, deadline, after=after, match=match)

    def events(self, name: str, *, after: int = 0) -> list[QmpEvent]:
        """Return the events seen so far."""
        return self._log.events(name, after)

    def inspector(self) -> Inspector:
        """Return an inspector that examines the guest through QMP."""
        return QmpInspector(self.execute)

    def close(self) -> None:
        """End QEMU by all means, remove the sockets, and forget the machine once it is gone. Idempotent, bounded in time."""
        with self._closing:
            if self._closed:
                return
            with uninterrupted() as hurry:
                self._closed = True
                gone = self._end(hurry)
                self._runtime.remove()
                if self._entry is not None and gone:
                    self.registry.remove(self._entry)
                _open.discard(self)


def one_refused(replies: Iterable[Callable[[], object]]) -> str:
    """Wait for the replies to two clients that made the same request. Return the words by which one was refused.

    Raises CommandRefused if both were refused, InfrastructureError if neither was.
    """
    refused: list[CommandRefused] = []
    accepted = 0
    for wait in replies:
        try:
            wait()
        except CommandRefused as error:
            refused.append(error)
        else:
            accepted += 1
    if not accepted:
        raise refused[0]
    if not refused:
        raise InfrastructureError(
            "two clients asked for the same device at once, and both requests succeeded",
            hint="The history has both answers.",
        )
    return refused[0].description


_open: weakref.WeakSet[MachineBase] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close what is still open when the interpreter ends. The kernel, or libvirt, does the same when it is killed."""
    for machine in list(_open):
        machine.close()
