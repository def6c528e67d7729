# SPDX-License-Identifier: MIT
"""Direct QEMU: one machine, from its start to its end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.deadline import Deadline
from harness.errors import (
    CommandRefused,
    HarnessError,
    InfrastructureError,
    MachineFailed,
    MonitorLost,
    system_errors,
    told_shortage,
)
from harness.history.reserve import check_room
from harness.host import qemu_build
from harness.host.budget import size_text
from harness.host.registry import ProcessName
from harness.machine import devices, shutdown
from harness.machine.base import MachineBase, one_refused
from harness.machine.event_log import EventLog
from harness.machine.file_limit import largest_file
from harness.machine.machine import PERIPHERAL, CpuSlot, Drop, Machine, MachineSpec
from harness.machine.memory_backend import RAM, MemoryBackend, exhaustion
from harness.machine.migration_state import Added, AddedCpu, AddedDimm, Incoming
from harness.machine.monitor import Monitor
from harness.machine.other_memory import VIRTIO_MEM, nvdimms
from harness.machine.process import ExitReport, Process
from harness.program import describe

_OF_ONE_QEMU = (
    "spec", "argv", "log", "control", "human", "kd", "exit_report",
    "_runtime", "_entry", "_process", "_monitor", "_rival", "_devices",
)  # fmt: skip
"""The state that belongs to one QEMU, and not to the guest in it."""

MAPPED = "mapped-ram"
"""The migration capability for a state that is a file instead of a stream (QEMU: qapi/migration.json, since 9.0)."""


@dataclasses.dataclass(eq=False, repr=False, kw_only=True)
class QemuMachine(MachineBase):
    """One virtual machine under QEMU; implements :class:`harness.machine.machine.Machine`.

    QEMU's own output is in ``log``, qemu.log of the run directory. ``human`` is the socket of the human monitor, if the
    spec has one. ``argv`` is the command, ``exit_report`` says how QEMU ended, once it did.

    A guest may continue in another QEMU (:mod:`harness.machine.qemu.live_migration`). That one is a machine ``beside``
    this one, its ``source``, until both :meth:`exchange` their QEMUs. It reports to the same event log, continues the guest's files, and
    has its own output in qemu-2.log. ``qemus`` counts them.
    """

    source: QemuMachine | None = None
    _way = "monitor"

    def __post_init__(self) -> None:
        super().__post_init__()
        source = self.source
        self.qemus = 1
        self.log = self.directory / "qemu.log"
        if source is not None:
            source.qemus += 1
            self.log = self.directory / f"qemu-{source.qemus}.log"
        self.exit_report: ExitReport | None = None
        self._process: Process | None = None
        log = source.event_log if source is not None else None
        self._monitor = Monitor(self._runtime.path / "qmp", self.writer, failure=self._failed, log=log)
        self._log = self._monitor.log
        self._rival: Monitor | None = None
        self._devices: set[str] = set()
        self._sparse: int = 0

    def beside(self, spec: MachineSpec) -> QemuMachine:
        """Return the machine, not yet started, that will continue this one's guest."""
        return QemuMachine(
            spec,
            self.directory,
            self.writer,
            name=f"{self.name}-{self.qemus + 1}",
            registry=self.registry,
            channel_limit=self.channel_limit,
            source=self,
        )

    def exchange(self, other: QemuMachine) -> None:
        """Swap the QEMUs: this machine continues its guest in ``other``'s QEMU, and ``other`` gets the old QEMU."""
        for name in _OF_ONE_QEMU:
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, theirs)
            setattr(other, name, mine)
        other.answer_for()
        self.answer_for()
        self._log.check_machine = self._monitor.check_over

    def answer_for(self) -> None:
        """Report the end of this machine's new QEMU as its own."""
        for monitor in filter(None, (self._monitor, self._rival)):
            monitor.failure = self._failed

    @property
    def event_log(self) -> EventLog:
        """The log of the guest's events, in any of its QEMUs."""
        return self._log

    def socket(self, name: str) -> Path:
        """Return the path for a socket of QEMU's own. It is removed with the machine."""
        return self._runtime.path / name

    def words(self) -> str:
        """Return QEMU's last output."""
        return self._process.words() if self._process is not None else ""

    def _start(self, deadline: Deadline) -> None:
        found = qemu_build.find_qemu(self.spec.qemu, deadline)
        folder = self._runtime.path
        files = devices.ChannelFiles.within(folder, console=self.console, debugcon=self.debugcon)
        words = devices.arguments(self.spec, name=self.name, files=files, qmp=self._monitor.path)
        self.argv = [str(found.path), *words]
        self._register(self.argv)
        with self._state() as state:
            self._process = Process(
                self.argv, self.log, ended=self._monitor.end, stdin=state,
                largest_file=largest_file(self.spec, channel=self.channel_limit),
            )  # fmt: skip
            self._process.spawn()
        self._note_process(ProcessName.of(self._process.pid))
        self._monitor.start()
        try:
            self._monitor.wait_connected(deadline, "start")
        except MonitorLost as error:
            raise MachineFailed(
                f"QEMU gave no QMP greeting within {deadline.seconds:.3g} s",
                output=self._process.words(),
                hint=f"See {self.log}.",
            ) from error
        if isinstance(self.spec.incoming, Incoming):
            self._take_over(self.spec.incoming, deadline)

    @contextlib.contextmanager
    def _state(self) -> Iterator[int | None]:
        """Open the state that is taken over, unless there is none or QEMU opens it itself."""
        incoming = self.spec.incoming
        if not isinstance(incoming, Incoming):
            yield None
            return
        with system_errors(
            f"cannot read the migration state {incoming.file}",
            hint="It is made anew when it is not in the cache.",
        ):
            state = os.open(incoming.file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield None if incoming.mapped else state
        finally:
            os.close(state)

    def _take_over(self, incoming: Incoming, deadline: Deadline) -> None:
        """Wait until the state is read. Raises MachineFailed with QEMU's words if it is of another machine."""
        self._devices.update(device.id for device in self.spec.added)
        if incoming.mapped:
            self._map_memory(deadline, True)
            self.execute("migrate-incoming", deadline, uri=_file_uri(incoming.file))

        def read() -> bool:
            return self.run_state(deadline).status != "inmigrate"

        deadline.poll(
            read,
            interval=0.005,
            error=lambda: MachineFailed(
                f"QEMU did not read the migration state within {deadline.seconds:.3g} s",
                output=self.words(),
                hint=f"See {self.log}.",
            ),
        )
        if incoming.mapped:
            # A guest with it moves to no other QEMU: "Migration requires seekable transport" (QEMU 9.0 and later).
            self._map_memory(deadline, False)

    def _map_memory(self, deadline: Deadline, state: bool) -> None:
        capability = {"capability": MAPPED, "state": state}
        self.execute("migrate-set-capabilities", deadline, capabilities=[capability])

    def save(self, file: Path, deadline: Deadline) -> tuple[Incoming, list[Added]]:
        """Stop the guest and write its state to ``file``; return it with what was added to the machine until then.

        The machine's disks must not change afterwards: it can only be closed. Raises
        InfrastructureError with QEMU's words if it cannot be saved or written.
        """
        self.pause(deadline)
        added = self.added(deadline)
        offered = [one["capability"] for one in self.execute("query-migrate-capabilities", deadline)]
        mapped = MAPPED in offered and "," not in str(file)
        self.execute("migrate-set-parameters", deadline, **{"max-bandwidth": 1 << 40})
        with system_errors(f"cannot write {file}"):
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                if not mapped:
                    self._monitor.execute("getfd", deadline, {"fdname": "state"}, descriptor=descriptor)
            finally:
                os.close(descriptor)
        if mapped:
            self._map_memory(deadline, True)
        found: dict[str, Any] = {}
        try:
            self.execute("migrate", deadline, uri=_file_uri(file) if mapped else "fd:state")
        except CommandRefused as error:
            raise self._not_saved(file, error.description) from error

        def ended() -> bool:
            found.update(self.execute("query-migrate", deadline))
            return found.get("status") in ("completed", "failed", "cancelled")

        deadline.poll(ended, interval=0.01)
        if found["status"] != "completed":
            raise self._not_saved(file, found.get("error-desc", found["status"]))
        return Incoming(file=file, mapped=mapped), added

    def _not_saved(self, file: Path, why: str) -> InfrastructureError:
        return InfrastructureError(
            f"the state of machine {self.name!r} could not be saved: {why}",
            hint=f"It was to be written to {file}. Is there room? A device may have no state that can be saved.",
        )

    def added(self, deadline: Deadline) -> list[Added]:
        """Return the processors and DIMMs that were plugged in, in an order in which they can be plugged again."""
        found: list[Added] = [
            AddedCpu(id=slot.qom.removeprefix(PERIPHERAL), driver=slot.type, props=slot.props)
            for slot in self.cpu_slots(deadline)
            if slot.qom.startswith(PERIPHERAL)
        ]
        found += [
            AddedDimm(id=dimm.id, size=dimm.size, node=dimm.node, slot=dimm.slot, address=dimm.address)
            for dimm in self.memory_devices(deadline)
        ]
        return found

    def _failed(self, doing: str = "") -> HarnessError:
        """Return the error for a QEMU that is gone; ``doing`` is what it was needed for."""
        process = self._process
        report = process.report() if process is not None else None
        words = process.words() if process is not None else ""
        if process is None or report is None or report.asked:
            message = f"machine {self.name!r} was closed"
        else:
            message = f"QEMU died, {describe(report.status)}{_summary(words)}"
            if report.status == -signal.SIGXFSZ:
                most = largest_file(self.spec, channel=self.channel_limit)
                message += f": it wrote a file of more than {most} bytes (RLIMIT_FSIZE)"
            if report.status == -signal.SIGBUS and self._sparse:
                free = size_text(shutil.disk_usage(self.directory).free)
                message += f". A page of a DIMM's sparse file could not be allocated: {free} are free in {self.directory}"
        way_out = f"{hint}\n" if (hint := told_shortage(words)[1]) else ""
        return MachineFailed(
            f"{doing}: {message}" if doing else message,
            output=words,
            hint=f"{way_out}All its output is in {self.log}. The command was: {shlex.join(self.argv)}",
        )

    def execute(self, command: str, deadline: Deadline, **arguments: Any) -> Any:
        """Send one QMP command; argument names that Python cannot write go in as ``**{"node-name": …}``."""
        return self._monitor.execute(command, deadline, arguments)

    def add_cpu(self, device: str, slot: CpuSlot, deadline: Deadline) -> None:
        """Plug a processor. Raises CommandRefused with QEMU's words; MonitorLost when the result is unknown."""
        self._change(
            device,
            deadline,
            lambda: self._has_cpu(device, slot, deadline),
            "device_add",
            {"driver": slot.type, "id": device, **slot.props},
        )

    def add_cpu_twice(self, device: str, slot: CpuSlot, deadline: Deadline) -> str:
        """Make this client and a second one plug the same processor at once; see :class:`harness.machine.machine.Machine`."""
        if self._rival is None:
            path = devices.second_client(self._monitor.path)
            self._rival = Monitor(path, self.writer, failure=self._failed, log=self._log)
            self._rival.start()
        self._rival.wait_connected(deadline, "add with a second client")
        arguments = {"driver": slot.type, "id": device, **slot.props}
        clients = (self._rival, self._monitor)
        replies = [client.begin("device_add", deadline, arguments) for client in clients]
        refused = one_refused(replies)
        self._devices.add(device)
        return refused

    def add_dimm(
        self,
        device: str,
        size: int,
        deadline: Deadline,
        *,
        node: int | None = None,
        backend: MemoryBackend = RAM,
    ) -> None:
        """Plug a DIMM; its memory is called ``DEVICE-memory``. Raises as :meth:`add_cpu`, and HostExhausted."""
        plug: dict[str, Any] = {"driver": "pc-dimm"}
        if node is not None:
            plug["node"] = node
        self._add_memory(
            device, size, plug, backend, lambda: self._has_dimm(device, size, deadline), deadline
        )

    def add_nvdimm(self, device: str, size: int, deadline: Deadline, *, node: int = 0) -> None:
        """Plug an NVDIMM; its memory is a sparse file called ``DEVICE-memory``. Raises as :meth:`add_dimm`."""
        plug = {"driver": "nvdimm", "node": node}
        backend = MemoryBackend(kind="file", share=True)
        self._add_memory(device, size, plug, backend, lambda: device in nvdimms(self, deadline), deadline)

    def _add_memory(
        self,
        device: str,
        size: int,
        plug: dict[str, Any],
        backend: MemoryBackend,
        there: Callable[[], bool],
        deadline: Deadline,
    ) -> None:
        """Make a device's memory and plug the device. If the device is refused, the memory is deleted again."""
        name = f"{device}-memory"

        def backend_there() -> bool:
            objects = self.execute("qom-list", deadline, path="/objects")
            return any(row["name"] == name for row in objects)

        with (
            exhaustion(device, size, backend, self.directory),
            backend.made_file(self.directory, size) as file,
        ):
            memory = backend.properties(name, size, file)
            self._change(name, deadline, backend_there, "object-add", memory)
        if file is not None and not backend.prealloc:
            self._sparse += size
        try:
            self._change(device, deadline, there, "device_add", {**plug, "id": device, "memdev": name})
        except CommandRefused:
            with contextlib.suppress(CommandRefused, MonitorLost):
                self.execute("object-del", deadline, id=name)
                self._devices.discard(name)
            raise

    def unplug(self, device: str, deadline: Deadline) -> None:
        """Send ``device_del``, which QEMU passes on to the guest (QEMU: qapi/qdev.json). A guest may be asked twice."""
        self._once(
            f"device_del {device}",
            deadline,
            lambda: self._is_gone(device, deadline),
            lambda: self.execute("device_del", deadline, id=device),
        )

    def release(self, device: str, deadline: Deadline) -> None:
        """Delete the backend of a DIMM that is gone, once QEMU no longer uses it."""
        backend = f"{device}-memory"

        def deleted() -> bool:
            try:
                self.execute("object-del", deadline, id=backend)
            except CommandRefused as error:
                if "in use" in error.description:
                    return False
                raise
            return True

        if backend in self._devices:
            deadline.poll(deleted)
        self._devices -= {device, backend}

    def request_virtio_mem(self, size: int, deadline: Deadline) -> None:
        """Send ``qom-set`` of the device's ``requested-size``, which may be repeated."""
        self.execute("qom-set", deadline, path=VIRTIO_MEM, property="requested-size", value=size)

    def set_balloon(self, size: int, deadline: Deadline) -> None:
        """Send ``balloon``, which may be repeated."""
        self.execute("balloon", deadline, value=size)

    def _change(
        self,
        device: str,
        deadline: Deadline,
        there: Callable[[], bool],
        command: str,
        arguments: dict[str, Any],
    ) -> None:
        """Send a command that makes ``device``. A device that existed before proves nothing."""
        known = device in self._devices
        self._once(
            f"{command} {device}", deadline, lambda: not known and there(),
            lambda: self.execute(command, deadline, **arguments),
        )  # fmt: skip
        self._devices.add(device)

    def drop_monitor(self, when: Drop = "now") -> None:
        """Drop the QMP connection on purpose; it comes back by itself.

        ``now`` closes the harness's side at once. ``before-command`` drops it in place of the next command, which QEMU then
        never sees. ``before-reply`` drops it when the next reply arrives, so that QEMU has acted and the reply is lost.
        """
        self._monitor.drop(when)

    def sync(self) -> None:
        """Do nothing: QEMU writes to both files before the guest continues."""

    def alive(self) -> bool:
        """Return whether QEMU's process runs."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """QEMU's process number, 0 before it was spawned."""
        return self._process.pid if self._process is not None else 0

    def check_alive(self) -> None:
        """Raise MachineFailed with QEMU's words if its process is gone, InfrastructureError if its disk is full."""
        if not self.alive():
            raise self._failed()
        check_room(self.directory)

    def _end(self, hurry: threading.Event) -> bool:
        """End QEMU by quit, SIGTERM, then SIGKILL, and reap it."""
        if self._process is not None:
            self.exit_report = shutdown.descend(self._process, self._monitor, hurry)
        if self._rival is not None:
            self._rival.close(2.0)
        self._monitor.close(2.0)
        return True


def _file_uri(file: Path) -> str:
    return f"file:{file.absolute()}"


def _summary(words: str) -> str:
    """Return QEMU's last lines in one: what made it end, without unrelated warnings."""
    lines = [line for line in words.splitlines() if line.strip() and "warning:" not in line]
    return f": {'; '.join(lines[-3:])}" if lines else ", without any output"


if TYPE_CHECKING:

    def _keeps_the_protocol(machine: QemuMachine) -> Machine:
        return machine
