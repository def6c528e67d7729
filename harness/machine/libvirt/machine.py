# SPDX-License-Identifier: MIT
"""A machine through libvirt: one transient domain, from its definition to its end.

Changes to the machine go through libvirt's own calls, so that libvirt always knows its devices. Queries go
to QEMU as QMP (``virDomainQemuMonitorCommand``). Both are in the history, the former by their names in libvirt's API.
QEMU's events come by ``virConnectDomainQemuMonitorEventRegister``, in their order among themselves. Their order against
replies is libvirtd's, which passes both on from different threads. An event's own stamp is QEMU's.

Devices have the names by which they were added, in the history too (:mod:`harness.machine.libvirt.aliases`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.deadline import Deadline
from harness.errors import CommandRefused, GuestRefused, HarnessError, MachineFailed, UsageError
from harness.history.private import keep_private
from harness.history.reserve import check_room
from harness.host import qemu_build
from harness.host.registry import ProcessName
from harness.machine.base import MachineBase, one_refused
from harness.machine.event_log import EventLog
from harness.machine.inspection import Inspector, LibvirtInspector
from harness.machine.libvirt.aliases import Aliases, dimm, processor, refused
from harness.machine.libvirt.calls import LibvirtCalls
from harness.machine.libvirt.connection import (
    Connection,
    LibvirtLink,
    begun,
    bounded,
    is_remote,
    load,
    words,
)
from harness.machine.libvirt.domain import Files, QemuUser, dimm_xml, domain_xml, nvdimm_xml, virtio_mem_xml
from harness.machine.libvirt.domain_events import QEMU_DIED, follow
from harness.machine.libvirt.remote_host import RemoteHost
from harness.machine.libvirt.sent_files import SENDING, send_files
from harness.machine.libvirt.shutdown import end_domain
from harness.machine.machine import CpuSlot, Drop, Machine, MachineSpec, MemoryDevice
from harness.machine.memory_backend import RAM, MemoryBackend, exhaustion
from harness.machine.monitor import is_query
from harness.machine.other_memory import VIRTIO_MEM, nvdimms

LAST_WORDS = 1.0
"""Seconds for libvirt to pass on QEMU's last events before its end."""


ASK = 10.0
"""Seconds for libvirt to answer whether a guest that refuses a call is there at all."""

UNPLUG_ANSWER = 30.0
"""Seconds for libvirt to return from a request to give a device back. It waits up to 5 of them for the guest (libvirt:
src/qemu/qemu_hotplug.c, qemuDomainRemoveDeviceWaitTime)."""

OF_THE_GUEST = ("VIR_ERR_OPERATION_TIMEOUT", "VIR_ERR_OPERATION_FAILED")
"""Codes by which libvirt reports that the guest kept a device: it did not answer, or refused (the same file)."""

SYNC = 10.0
"""Seconds for the guest's output on another host to arrive. Over a LAN it takes some milliseconds."""


def _shows(command: str, arguments: dict[str, Any]) -> bool:
    """Return whether this human monitor command only shows what QMP cannot be asked: ``info``, an I/O port."""
    return command == "human-monitor-command" and str(arguments.get("command-line")).startswith(
        ("info ", "i /b ")
    )


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """The place where a machine is made: the spec with the paths of that host, its files there, and their owner."""

    spec: MachineSpec
    files: Files
    uid: int
    gid: int


@dataclasses.dataclass(eq=False, repr=False, kw_only=True)
class LibvirtMachine(MachineBase):
    """One virtual machine under libvirt; implements :class:`harness.machine.machine.Machine`.

    ``connect`` is the URI to connect to, "" for libvirt's own choice. ``directory`` is the run directory (made if missing): console.log and
    debugcon.log grow there, domain.xml is libvirt's input. A local domain is tied to a connection of its own, the
    leash: libvirt destroys it when the harness ends for any reason. ``argv`` is QEMU's command as libvirt made it,
    ``versions`` says which ``libvirt`` answered at which ``uri``.
    """

    connect: str = ""
    _way = "connection"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.xml = ""
        self.uuid = str(uuid.uuid4())
        self._aliases = Aliases()
        self._log = EventLog(self.writer, self._check)
        self._connection = Connection(self.connect, joined=self._join, check=self._check)
        self._exchange = LibvirtCalls(self._connection, self._log, self._check_end)
        self._remote: RemoteHost | None = None
        self._leash: Any = None
        self._process: ProcessName | None = None
        self._created = False
        self._gone = ""
        self._missed = 0.0
        self._slots: list[CpuSlot] = []
        self._dimms: dict[str, str] = {}

    @property
    def uri(self) -> str:
        """The URI of libvirt; once connected, as libvirt reports it."""
        return self._connection.uri

    @property
    def elsewhere(self) -> bool:
        """Whether QEMU runs on another host."""
        return self._remote is not None

    def local_port(self, port: int, deadline: Deadline) -> int:
        """Return a port of this host's loopback that leads to ``port`` of the loopback of QEMU's host."""
        return self._remote.forward_port(port, deadline) if self._remote is not None else port

    # -- start ------------------------------------------------------------------------------------------------------

    def _start(self, deadline: Deadline) -> None:
        link = self._connection.open(deadline)
        kind = self._connection.ask(link, lambda: str(link.connection.getType()), deadline)
        if kind != "QEMU":
            raise UsageError(
                f"libvirt at {self.uri} runs {kind}, not QEMU",
                hint="Name another with --connect, for instance qemu:///system.",
            )
        place = self._remote_place(link, deadline) if is_remote(self.uri) else self._place(deadline)
        self.xml = domain_xml(
            place.spec,
            name=self._runtime.path.name,
            title=self.name,
            uuid=self.uuid,
            files=place.files,
            owner=QemuUser(uid=place.uid, gid=place.gid, models=self._security_models(link, deadline)),
            version=self._connection.ask(link, lambda: int(link.connection.getLibVersion()), deadline),
        )
        self._keep_domain()
        self._register([str(place.spec.qemu)], uri=self.uri, domain=self.uuid)
        self._created = True
        self._create(link, deadline)
        if self._remote is None:
            self._find_process()
        else:
            self._reach(self._remote, place.files, deadline)
        self._note_process(self._process)

    def _place(self, deadline: Deadline) -> _Place:
        """Return the place if everything is on this host."""
        return _Place(
            spec=msgspec.structs.replace(self.spec, qemu=qemu_build.find_qemu(self.spec.qemu, deadline).path),
            files=Files.within(self._runtime.path, console=self.console, debugcon=self.debugcon),
            uid=os.geteuid(),
            gid=os.getegid(),
        )

    def _remote_place(self, link: LibvirtLink, deadline: Deadline) -> _Place:
        """Return the place on another host and send the files there. libvirt chooses the QEMU there."""
        remote = self._remote = RemoteHost(
            self.uri, self._runtime.path, self.directory / "ssh.log", channel_limit=self.channel_limit
        )
        remote.connect(deadline)
        sending = Deadline(SENDING, "send the machine's files") if self.spec.disks else deadline
        sent = send_files(self.spec, remote, self.directory, sending, self._note)
        files = Files.within(remote.directory)
        remote.follow(files.console, self.console, deadline)
        remote.follow(files.debugcon, self.debugcon, deadline)
        kind = "kvm" if self.spec.accelerator == "kvm" else "qemu"
        board = self.spec.machine.partition(",")[0]
        offered = self._connection.ask(
            link, lambda: str(link.connection.getDomainCapabilities(None, "x86_64", board, kind)), deadline
        )
        emulator = re.search("<path>([^<]+)</path>", offered)
        spec = msgspec.structs.replace(sent, qemu=Path(emulator.group(1) if emulator else qemu_build.PROGRAM))
        return _Place(spec=spec, files=files, uid=remote.uid, gid=remote.gid)

    def _reach(self, remote: RemoteHost, files: Files, deadline: Deadline) -> None:
        """Connect the local sockets to those of the guest, and read QEMU's command."""
        remote.forward(files.control, self.control, deadline)
        if self.human is not None:
            remote.forward(files.human, self.human, deadline)
        if self.kd is not None:
            remote.forward(files.kd, self.kd, deadline)
        command = remote.run(f"cat /proc/$(cat {files.pid})/cmdline", deadline)
        self.argv = command.split("\0")[:-1]

    def _keep_domain(self) -> None:
        with self._writing():
            file = self.directory / "domain.xml"
            keep_private(file)
            file.write_text(self.xml, encoding="utf-8")

    def _create(self, link: LibvirtLink, deadline: Deadline) -> None:
        libvirt = load()

        def create() -> None:
            flags = libvirt.VIR_DOMAIN_START_PAUSED
            if self._remote is None:
                self._leash = libvirt.open(self.uri)
                flags |= libvirt.VIR_DOMAIN_START_AUTODESTROY
            # A network that drops must not take the guest with it: on another host there is no leash.
            (self._leash or link.connection).createXML(self.xml, flags)
            self._follow(link)

        try:
            bounded(create, deadline)
        except TimeoutError:
            raise self._no_start(f"libvirt did not create it within {deadline.seconds:.3g} s") from None
        except libvirt.libvirtError as error:
            raise self._no_start(words(error)) from error

    def _no_start(self, why: str) -> HarnessError:
        return MachineFailed(
            f"libvirt at {self.uri} could not start the machine: {why}",
            output=why,
            hint=f"The domain is in {self.directory / 'domain.xml'}: virsh -c '{self.uri}' create FILE says the same.",
        )

    def _find_process(self) -> None:
        """Read which process is QEMU. It writes its number before it takes the first command."""
        try:
            pid = int((self._runtime.path / "pid").read_text("ascii"))
        except (OSError, ValueError) as error:
            raise self._no_start(f"QEMU did not write its process number: {error}") from error
        self._process = ProcessName.of(pid)
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            self.argv = [os.fsdecode(word) for word in command.split(b"\0")[:-1]]

    def _join(self, link: LibvirtLink) -> None:
        """Handle a new connection: record what answered, and follow the domain, if there is one yet."""
        self.versions = {
            "libvirt": _dotted(link.connection.getLibVersion()),
            "uri": link.connection.getURI(),
        }
        self._log.passed("in", {"libvirt": self.versions}, link.number)
        if self._created:
            self._follow(link)

    def _follow(self, link: LibvirtLink) -> None:
        follow(
            link,
            self.uuid,
            told=lambda event: self._log.passed("in", self._aliases.event(event), link.number),
            ended=self._heard_end,
        )

    # -- calls ------------------------------------------------------------------------------------------------------

    def inspector(self) -> Inspector:
        """Return an inspector that uses libvirt's own calls. Through QMP only queries are allowed."""
        return LibvirtInspector(self._connection, remote=self._remote is not None)

    def execute(self, command: str, deadline: Deadline, **arguments: Any) -> Any:
        """Send a QMP query, or carry out ``cont``, ``stop``, ``system_reset`` or ``inject-nmi``. Other commands are refused."""
        if is_query(command) or _shows(command, arguments):
            return self._exchange.query(command, arguments, deadline)
        if command == "cont":
            # QEMU accepts it when the guest already runs; libvirt refuses it.
            if not self.run_state(deadline).running:
                self._exchange.call("virDomainResume", {}, lambda link: link.domain.resume(), deadline)
            return {}
        if command == "stop":
            self._exchange.call("virDomainSuspend", {}, lambda link: link.domain.suspend(), deadline)
            return {}
        if command == "inject-nmi":
            self._exchange.call("virDomainInjectNMI", {}, lambda link: link.domain.injectNMI(0), deadline)
            return {}
        if command == "system_reset":
            self._exchange.call("virDomainReset", {}, lambda link: link.domain.reset(0), deadline)
            return {}
        raise CommandRefused(
            f"{command} is not sent: it may change the machine behind libvirt's back",
            command=command,
            error_class="NotThroughLibvirt",
            description="it may change the machine behind libvirt's back",
            hint="Use --backend qemu for it.",
        )

    # -- devices ----------------------------------------------------------------------------------------------------
    def cpu_slots(self, deadline: Deadline) -> list[CpuSlot]:
        """Return the rows of ``query-hotpluggable-cpus`` in ascending order, which is that of libvirt's vCPU numbers."""
        self._slots = [self._aliases.slot(row) for row in super().cpu_slots(deadline)]
        return list(self._slots)

    def add_cpu(self, device: str, slot: CpuSlot, deadline: Deadline) -> None:
        """Call ``virDomainSetVcpu`` for the slot's vCPU. Raises CommandRefused with libvirt's words; MonitorLost if unknown.

        A slot whose props or type the machine does not have is refused here: libvirt only gets its number.
        """
        libvirt = load()
        call = "virDomainSetVcpu"
        known = next(
            (row for row in self._slots or self.cpu_slots(deadline) if row.props == slot.props), None
        )
        if known is None or known.type != slot.type:
            raise refused(call, f"the machine has no slot for a {slot.type} at {slot.props}")

        def act(link: LibvirtLink) -> object:
            return link.domain.setVcpu(str(known.index), 1, libvirt.VIR_DOMAIN_AFFECT_LIVE)

        with self._aliases.named(call, processor(known.index), device):
            arguments = {"vcpumap": str(known.index), "state": 1}
            self._once(
                f"{call} {device}",
                deadline,
                lambda: self._has_cpu(device, slot, deadline),
                lambda: self._exchange.call(call, arguments, act, deadline),
            )

    def add_cpu_twice(self, device: str, slot: CpuSlot, deadline: Deadline) -> str:
        """Make the call of :meth:`add_cpu` on two connections at once; see :class:`harness.machine.machine.Machine`."""
        libvirt = load()
        call, place = "virDomainSetVcpu", str(slot.index)
        flags = libvirt.VIR_DOMAIN_AFFECT_LIVE
        rival = bounded(lambda: libvirt.open(self.uri), deadline)
        domain = bounded(lambda: rival.lookupByUUIDString(self.uuid), deadline)
        try:
            with self._aliases.named(call, processor(slot.index), device):
                theirs = begun(lambda: domain.setVcpu(place, 1, flags))
                ours = begun(
                    lambda: self._exchange.call(
                        call, {"vcpumap": place, "state": 1}, lambda link: link.domain.setVcpu(place, 1, flags), deadline
                    )
                )  # fmt: skip
                return one_refused(
                    [lambda: ours(deadline), lambda: self._exchange.rival(call, lambda: theirs(deadline))]
                )
        finally:
            rival.close()

    def memory_devices(self, deadline: Deadline) -> list[MemoryDevice]:
        """Return the DIMMs of ``query-memory-devices``."""
        return [self._aliases.memory_device(row) for row in super().memory_devices(deadline)]

    def add_dimm(
        self,
        device: str,
        size: int,
        deadline: Deadline,
        *,
        node: int | None = None,
        backend: MemoryBackend = RAM,
    ) -> None:
        """Call ``virDomainAttachDeviceFlags`` for a DIMM, on node 0 if none is named. Raises as :meth:`add_cpu`.

        Raises HostExhausted, and UsageError for a backend that libvirt has only for a whole domain.
        """
        alias = dimm(device, "virDomainAttachDeviceFlags")
        xml = dimm_xml(alias, size, node or 0, backend)
        with exhaustion(device, size, backend, None):
            self._attach(device, alias, xml, lambda: self._has_dimm(device, size, deadline), deadline)

    def _attach(
        self, device: str, alias: str, xml: str, there: Callable[[], bool], deadline: Deadline
    ) -> None:
        libvirt = load()
        call = "virDomainAttachDeviceFlags"

        def act(link: LibvirtLink) -> object:
            return link.domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)

        with self._aliases.named(call, alias, device):
            self._dimms[device] = xml
            self._once(
                f"{call} {device}",
                deadline,
                there,
                lambda: self._exchange.call(call, {"xml": xml}, act, deadline),
            )

    def unplug(self, device: str, deadline: Deadline) -> None:
        """Call ``virDomainSetVcpu`` or ``virDomainDetachDeviceFlags``: libvirt asks the guest, and waits for it for a while.

        libvirt refuses the call if the guest refuses, or does not answer in that time. That is the guest's own action and
        not an error of the call. Raises CommandRefused for everything else.
        """
        libvirt = load()
        alias = self._aliases.of(device)
        xml = self._dimms.get(device, "")
        call = "virDomainDetachDeviceFlags" if xml else "virDomainSetVcpu"
        number = alias.removeprefix(processor(""))
        arguments: dict[str, Any] = {"xml": xml} if xml else {"vcpumap": number, "state": 0}
        if not xml and (number == alias or not number):
            raise refused(call, f"no processor or DIMM is called {device!r}")

        def act(link: LibvirtLink) -> object:
            flags = libvirt.VIR_DOMAIN_AFFECT_LIVE
            if xml:
                return link.domain.detachDeviceFlags(xml, flags)
            return link.domain.setVcpu(number, 0, flags)

        within = Deadline(max(deadline.remaining(), UNPLUG_ANSWER), f"{call} {device}")
        try:
            self._once(
                f"{call} {device}",
                within,
                lambda: self._is_gone(device, deadline),
                lambda: self._exchange.call(call, arguments, act, within),
            )
        except CommandRefused as error:
            if error.error_class not in OF_THE_GUEST:
                raise
            self._note(f"libvirt on {device}: {error.description}")

    def release(self, device: str, deadline: Deadline) -> None:  # noqa: ARG002  the protocol's
        """Free the name. libvirt itself deletes a DIMM's backend."""
        self._aliases.forget(device)
        self._dimms.pop(device, None)

    def add_nvdimm(self, device: str, size: int, deadline: Deadline, *, node: int = 0) -> None:
        """Call ``virDomainAttachDeviceFlags`` for an NVDIMM. Raises as :meth:`add_dimm`, and GuestRefused on another host."""
        if self._remote is not None:
            raise GuestRefused(
                "an NVDIMM's file is made on this host, and the guest runs on another",
                hint="Run this plan without --connect, or with a libvirt of this host.",
            )
        alias = dimm(device, "virDomainAttachDeviceFlags")
        backend = MemoryBackend(kind="file", share=True)
        with (
            exhaustion(device, size, backend, self.directory),
            backend.made_file(self.directory, size) as file,
        ):
            xml = nvdimm_xml(alias, size, node, file or Path())
            self._attach(device, alias, xml, lambda: alias in nvdimms(self, deadline), deadline)

    def request_virtio_mem(self, size: int, deadline: Deadline) -> None:
        """Call ``virDomainUpdateDeviceFlags`` with the requested size of the device."""
        libvirt = load()

        def act(link: LibvirtLink) -> object:
            xml = virtio_mem_xml(link.domain.XMLDesc(), size)
            return link.domain.updateDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)

        arguments = {"device": VIRTIO_MEM, "requested": size}
        self._exchange.call("virDomainUpdateDeviceFlags", arguments, act, deadline)

    def set_balloon(self, size: int, deadline: Deadline) -> None:
        """``virDomainSetMemoryFlags``."""
        libvirt = load()

        def act(link: LibvirtLink) -> object:
            return link.domain.setMemoryFlags(size >> 10, libvirt.VIR_DOMAIN_AFFECT_LIVE)

        self._exchange.call("virDomainSetMemoryFlags", {"memory": size >> 10}, act, deadline)

    # -- events -----------------------------------------------------------------------------------------------------

    def drop_monitor(self, when: Drop = "now") -> None:
        """Drop the connection to libvirt on purpose; it comes back by itself. See :class:`QemuMachine`."""
        if when == "now":
            self._connection.drop()
        else:
            self._exchange.fault = when

    # -- end --------------------------------------------------------------------------------------------------------

    def _heard_end(self, how: str) -> None:
        """Record that QEMU is gone. ``how`` is the first report of it."""
        self._gone = self._gone or how
        self._log.wake()

    def _check(self, doing: str) -> None:
        """Raise MachineFailed if the machine is gone."""
        if self._closed or not self._present():
            raise self._failed(doing)

    def _present(self) -> bool:
        """Return whether QEMU is there. Its last events get some time to arrive."""
        if self._gone:
            return False
        if self._process is None or self._process.alive():
            return True
        self._missed = self._missed or time.monotonic()
        return time.monotonic() - self._missed < LAST_WORDS

    def _check_end(self, link: LibvirtLink, doing: str) -> None:
        """Raise MachineFailed if a call was refused because there is no guest."""
        libvirt = load()
        try:
            domain = link.domain
            active = domain is not None and bool(bounded(domain.isActive, Deadline(ASK, doing)))
        except TimeoutError:
            active = True
        except libvirt.libvirtError as error:
            active = error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN
        if not active:
            self._heard_end(QEMU_DIED)
        self._check(doing)

    def _failed(self, doing: str = "") -> HarnessError:
        message = f"machine {self.name!r} was closed" if self._closed else self._gone or QEMU_DIED
        if not self._closed and any(event.data.get("guest") for event in self.events("SHUTDOWN")):
            message = "the guest powered off, and libvirt ended QEMU"
        return MachineFailed(
            f"{doing}: {message}" if doing else message,
            hint=f"QEMU's output is in libvirt's log of the domain {self._runtime.path.name}, on its host.",
        )

    def sync(self) -> None:
        """Fetch the guest's output, if it runs on another host."""
        if self._remote is not None:
            self._remote.sync(Deadline(SYNC, "fetch the guest's files"))

    def alive(self) -> bool:
        """Return whether QEMU runs, as far as is known."""
        return self._created and not self._closed and self._present()

    @property
    def pid(self) -> int:
        """QEMU's process number, 0 before it was created or where it runs on another host."""
        return self._process.pid if self._process is not None else 0

    def check_alive(self) -> None:
        """Raise MachineFailed if QEMU is gone, InfrastructureError if the disk of the run directory is full."""
        self._check("")
        check_room(self.directory)

    def _end(self, hurry: threading.Event) -> bool:
        """End it through libvirt, or without libvirt if that does not answer."""
        self._log.wake()
        ended = True
        if self._created:
            ended = end_domain(self._connection, self._leash, self.uuid, self._process, hurry)
        self._connection.close(2.0)
        if self._remote is not None:
            self._remote.close()
        return ended

    def _security_models(self, link: LibvirtLink, deadline: Deadline) -> tuple[str, ...]:
        """Return the security drivers of the host (libvirt: formatcaps.html, ``secmodel``)."""
        offered = self._connection.ask(link, lambda: str(link.connection.getCapabilities()), deadline)
        return tuple(re.findall(r"<secmodel>\s*<model>([a-z]+)</model>", offered))


def _dotted(number: int) -> str:
    """Return one of libvirt's version numbers as people write it."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


if TYPE_CHECKING:

    def _keeps_the_protocol(machine: LibvirtMachine) -> Machine:
        return machine
