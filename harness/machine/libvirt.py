# SPDX-License-Identifier: MIT
"""Through libvirt: the life of one machine as a transient domain, from its definition to its end.

What changes the machine goes through libvirt's own calls, so that libvirt always knows what it has; what only asks goes
to QEMU as QMP (``virDomainQemuMonitorCommand``). Both are on the tape, the former by their names in libvirt's API.
QEMU's events come by ``virConnectDomainQemuMonitorEventRegister``, in their order among themselves; against replies their
order is libvirtd's, which passes them on from different threads. An event's own stamp is QEMU's.

libvirt chooses the ids of processors (``vcpu3``) and prefixes those that users choose for DIMMs (``ua-``). This backend
calls every device by the name it was added by, on the tape too; an event whose device it renamed holds libvirt's name
as ``libvirt``.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import re
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from harness.deadline import Deadline
from harness.errors import (
    CommandRefused,
    HarnessError,
    InfrastructureError,
    MachineFailed,
    MonitorLost,
    UsageError,
)
from harness.history.record import Stage
from harness.history.tape import Tape
from harness.machine import ladder, version
from harness.machine.client import Drop
from harness.machine.connection import Connection, Link, bounded, load, words
from harness.machine.domain import Files, Owner, dimm_xml, domain_xml
from harness.machine.ending import end_domain
from harness.machine.event_log import EventLog
from harness.machine.machine import CpuSlot, Machine, MachineSpec, MemoryDevice, QmpEvent
from harness.machine.monitor import is_query, outcome
from harness.machine.qemu import TOPOLOGY
from harness.machine.registry import Entry, ProcessName, Registry
from harness.machine.runtime import RuntimeDirectory

T = TypeVar("T")

ALIAS = "ua-"
"""How libvirt wants the names of users to begin (libvirt: formatdomain.html, ``alias``)."""

PERIPHERAL = "/machine/peripheral/"
"""Where QEMU keeps the devices that have an id."""

LAST_WORDS = 1.0
"""Seconds for libvirt to pass on what QEMU told before it ended."""


class _Dropped(Exception):
    """The connection dropped during a call; ``sent`` says whether libvirt may have got it."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__()
        self.sent = sent


class LibvirtMachine:
    """One virtual machine under libvirt; implements :class:`harness.machine.machine.Machine`.

    ``uri`` is "" for libvirt's own choice. ``directory`` is the run directory (made if missing): console.log and
    debugcon.log grow there, domain.xml is what libvirt was given. A local domain is tied to a connection of its own, the
    leash, and libvirt destroys it when the harness ends, however it ends. ``argv`` is QEMU's command as libvirt made it,
    ``versions`` says which ``libvirt`` answered at which ``uri``.
    """

    def __init__(
        self,
        spec: MachineSpec,
        directory: Path,
        tape: Tape,
        *,
        uri: str = "",
        name: str = "guest",
        registry: Registry | None = None,
    ) -> None:
        self.spec = spec
        self.name = name
        self.directory = directory.absolute()
        self.console = self.directory / "console.log"
        self.debugcon = self.directory / "debugcon.log"
        self.argv: list[str] = []
        self.versions: dict[str, str] = {}
        self.xml = ""
        self.uuid = str(uuid.uuid4())
        self._tape = tape
        self._registry = registry or Registry()
        self._runtime = RuntimeDirectory()
        self.control = self._runtime.path / "control"
        self.human = self._runtime.path / "human" if spec.monitor else None
        self._log = EventLog(tape, self._check)
        self._connection = Connection(uri, joined=self._join, check=self._check)
        self._leash: Any = None
        self._entry: Entry | None = None
        self._process: ProcessName | None = None
        self._created = False
        self._gone = ""
        self._missed = 0.0
        self._names: dict[str, str] = {}
        self._ids = itertools.count(1)
        self._fault: Drop | None = None
        self._closing = threading.Lock()
        self._closed = False
        _open.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def uri(self) -> str:
        """Where libvirt is; once connected, libvirt's own word for it."""
        return self._connection.uri

    # -- start ------------------------------------------------------------------------------------------------------

    def start(self, deadline: Deadline) -> None:
        """Define and create the domain, paused. Raises MissingPart, MachineFailed with libvirt's words, InfrastructureError."""
        if self._created or self._closed:
            raise InfrastructureError(f"machine {self.name!r} was started before", hint="Make a new one.")
        try:
            self._start(deadline)
        except BaseException:
            self.close()
            raise

    def _start(self, deadline: Deadline) -> None:
        emulator = version.find_qemu(self.spec.qemu, deadline).path
        self._make_directory()
        link = self._connection.open(deadline)
        if link.connection.getType() != "QEMU":
            raise UsageError(
                f"libvirt at {self.uri} runs {link.connection.getType()}, not QEMU",
                hint="Name another with --connect, for instance qemu:///system.",
            )
        self.xml = domain_xml(
            self.spec,
            name=self._runtime.path.name,
            title=self.name,
            uuid=self.uuid,
            files=Files(
                console=self.console,
                debugcon=self.debugcon,
                control=self.control,
                human=self._runtime.path / "human",
                pid=self._runtime.path / "pid",
            ),
            owner=Owner(uid=os.geteuid(), gid=os.getegid(), models=_security_models(link)),
            emulator=emulator,
        )
        (self.directory / "domain.xml").write_text(self.xml, encoding="utf-8")
        harness = ProcessName.of(os.getpid())
        if harness is None:
            raise InfrastructureError(
                "/proc is not readable", hint="The harness needs Linux with /proc mounted."
            )
        entry = Entry(
            name=self.name,
            harness=harness,
            qemu=None,
            directory=str(self.directory),
            runtime=str(self._runtime.path),
            command=[str(emulator)],
            uri=self.uri,
            domain=self.uuid,
        )
        self._entry = self._registry.write(entry)
        self._created = True
        self._create(deadline)
        self._attach(link)
        self._find_process()
        entry = msgspec.structs.replace(self._entry, qemu=self._process, command=self.argv)
        self._entry = self._registry.write(entry)

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for file in (self.console, self.debugcon):
                file.touch(0o600)
        except OSError as error:
            raise InfrastructureError(
                f"cannot write in the run directory {self.directory}: {error.strerror}",
                hint="Give another place with --runs DIR.",
            ) from error

    def _create(self, deadline: Deadline) -> None:
        libvirt = load()

        def create() -> None:
            self._leash = libvirt.open(self.uri)
            flags = libvirt.VIR_DOMAIN_START_PAUSED | libvirt.VIR_DOMAIN_START_AUTODESTROY
            self._leash.createXML(self.xml, flags)

        try:
            bounded(create, deadline)
        except TimeoutError:
            raise self._no_start(f"libvirt did not create it within {deadline.seconds:.3g} s") from None
        except libvirt.libvirtError as error:
            raise self._no_start(words(error)) from error

    def _no_start(self, why: str) -> HarnessError:
        return MachineFailed(
            f"libvirt at {self.uri} could not start the machine: {why}",
            command=[str(self.spec.qemu)],
            status=None,
            output=why,
            hint=f"The domain is in {self.directory / 'domain.xml'}: virsh -c '{self.uri}' create FILE says the same.",
        )

    def _find_process(self) -> None:
        """Learn which process is QEMU; it writes its number before it takes the first command."""
        pid = int((self._runtime.path / "pid").read_text("ascii"))
        self._process = ProcessName.of(pid)
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            self.argv = [os.fsdecode(word) for word in command.split(b"\0")[:-1]]

    def _join(self, link: Link) -> None:
        """A new connection: record what answered, and follow the domain, if there is one yet."""
        self.versions = {
            "libvirt": _dotted(link.connection.getLibVersion()),
            "uri": link.connection.getURI(),
        }
        self._log.passed("in", {"libvirt": self.versions}, link.number)
        if self._created:
            self._attach(link)

    def _attach(self, link: Link) -> None:
        """Look the domain up and have its events told."""
        libvirt = load()
        import libvirt_qemu

        connection = link.connection
        try:
            link.domain = connection.lookupByUUIDString(self.uuid)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                self._end("its domain is gone")
                raise self._failed() from error
            raise

        def told(
            _connection: Any,
            _domain: Any,
            name: str,
            seconds: int,
            micros: int,
            details: str | None,
            _opaque: Any,
        ) -> None:
            self._told(link.number, name, {"seconds": seconds, "microseconds": micros}, details)

        def lived(_connection: Any, _domain: Any, event: int, detail: int, _opaque: Any) -> None:
            if event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
                self._end(_ENDS.get(detail, "QEMU died"))

        told_id = libvirt_qemu.qemuMonitorEventRegister(connection, link.domain, None, told, None, 0)
        link.leave.append(lambda: libvirt_qemu.qemuMonitorEventDeregister(connection, told_id))
        life = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        lived_id = connection.domainEventRegisterAny(link.domain, life, lived, None)
        link.leave.append(lambda: connection.domainEventDeregisterAny(lived_id))
        if not link.domain.isActive():
            self._end("QEMU died")

    def _told(self, number: int, name: str, timestamp: dict[str, int], details: str | None) -> None:
        """Record an event, its device called by our name."""
        data = msgspec.json.decode(details) if details else {}
        message: dict[str, Any] = {"event": name, "data": data, "timestamp": timestamp}
        info = data.get("info")
        place: dict[str, Any] = info if isinstance(info, dict) else data
        device = place.get("device")
        if isinstance(device, str) and device in self._names:
            place["device"] = self._names[device]
            message["libvirt"] = {"device": device}
        self._log.passed("in", message, number)

    # -- calls ------------------------------------------------------------------------------------------------------

    def _exchange(
        self,
        name: str,
        arguments: dict[str, Any],
        act: Callable[[Link], T],
        deadline: Deadline,
        reply: Callable[[T], Any],
    ) -> Any:
        """Make one call and record it and what ``reply`` makes of its outcome. Raises _Dropped; see :meth:`_call`."""
        libvirt = load()
        link = self._connection.wait(deadline, name)
        number = f"harness-{next(self._ids)}"
        message: dict[str, Any] = {"execute": name}
        if arguments:
            message["arguments"] = arguments
        self._log.passed("out", {**message, "id": number}, link.number)
        if self._strikes("before-command"):
            raise _Dropped(sent=False)
        try:
            value = bounded(lambda: act(link), deadline)
        except TimeoutError:
            raise MonitorLost(
                f"{name}: libvirt did not answer within {deadline.seconds:.3g} s",
                hint="libvirtd or QEMU is stuck; 'virsh list' and 'virsh qemu-monitor-command' tell which.",
            ) from None
        except libvirt.libvirtError as error:
            if link.dropped(error):
                self._connection.lost(link)
                raise _Dropped(sent=True) from error
            self._log.passed(
                "in", {"error": {"class": _code(error), "desc": words(error)}, "id": number}, link.number
            )
            if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
                self._check_end(link, name)
            raise CommandRefused(
                f"libvirt refused {name}: {words(error)}",
                command=name,
                error_class=_code(error),
                description=words(error),
            ) from error
        if self._strikes("before-reply"):
            raise _Dropped(sent=True)
        answer = reply(value)
        self._log.passed("in", {**answer, "id": number}, link.number)
        return outcome(name, answer)

    def _strikes(self, when: Drop) -> bool:
        """Lose the connection if that was asked for, at this moment."""
        if self._fault != when:
            return False
        self._fault = None
        self._connection.drop()
        return True

    def _call(
        self, name: str, arguments: dict[str, Any], act: Callable[[Link], object], deadline: Deadline
    ) -> None:
        """Make a call that changes something. Raises CommandRefused, MachineFailed, MonitorLost when nobody knows."""
        self._log.check(name)
        try:
            self._exchange(name, arguments, act, deadline, lambda _: {"return": {}})
        except _Dropped as dropped:
            self._connection.wait(deadline, name)
            raise MonitorLost(
                f"{name}: the connection to libvirt dropped before the reply; it is restored",
                hint="libvirt may or may not have carried the call out: ask it before making it again.",
            ) from dropped

    def _query(self, command: str, arguments: dict[str, Any], deadline: Deadline) -> Any:
        """Ask QEMU; when the connection drops, ask again."""
        import libvirt_qemu

        question: dict[str, Any] = {"execute": command}
        if arguments:
            question["arguments"] = arguments
        text = msgspec.json.encode(question).decode()
        while True:
            self._log.check(command)
            with contextlib.suppress(_Dropped):
                return self._exchange(
                    command,
                    arguments,
                    lambda link: libvirt_qemu.qemuMonitorCommand(link.domain, text, 0),
                    deadline,
                    _decoded,
                )

    def execute(self, command: str, deadline: Deadline, **arguments: Any) -> Any:
        """Send a QMP query, or do what ``cont``, ``stop`` and ``system_reset`` do; nothing else may pass libvirt by."""
        if is_query(command):
            return self._query(command, arguments, deadline)
        if command == "cont":
            # QEMU takes it for done when the guest runs already; libvirt refuses it.
            if not self._query("query-status", {}, deadline)["running"]:
                self._call("virDomainResume", {}, lambda link: link.domain.resume(), deadline)
            return {}
        if command == "stop":
            self._call("virDomainSuspend", {}, lambda link: link.domain.suspend(), deadline)
            return {}
        if command == "system_reset":
            self._call("virDomainReset", {}, lambda link: link.domain.reset(0), deadline)
            return {}
        raise CommandRefused(
            f"{command} is not sent: it may change the machine behind libvirt's back",
            command=command,
            error_class="NotThroughLibvirt",
            description="it may change the machine behind libvirt's back",
            hint="Use --backend qemu for it.",
        )

    def resume(self, deadline: Deadline) -> None:
        """``virDomainResume``."""
        self.execute("cont", deadline)

    def pause(self, deadline: Deadline) -> None:
        """``virDomainSuspend``."""
        self.execute("stop", deadline)

    def reset(self, deadline: Deadline) -> None:
        """``virDomainReset``, and wait for the RESET event that the host caused."""
        before = self.serial()
        self.execute("system_reset", deadline)
        self.wait_event("RESET", deadline, after=before, guest=False)

    # -- devices ----------------------------------------------------------------------------------------------------

    def cpu_slots(self, deadline: Deadline) -> list[CpuSlot]:
        """Return the rows of ``query-hotpluggable-cpus`` in ascending order, which is that of libvirt's vCPU numbers."""
        rows = self.execute("query-hotpluggable-cpus", deadline)
        rows.sort(key=lambda row: [row["props"].get(key, 0) for key in TOPOLOGY])
        return [
            CpuSlot(
                index=index, type=row["type"], props=row["props"], qom=self._our_path(row.get("qom-path", ""))
            )
            for index, row in enumerate(rows)
        ]

    def _our_path(self, path: str) -> str:
        own = path.removeprefix(PERIPHERAL)
        return f"{PERIPHERAL}{self._names[own]}" if own != path and own in self._names else path

    def add_cpu(self, device: str, slot: CpuSlot, deadline: Deadline) -> None:
        """``virDomainSetVcpu`` of the slot's vCPU. Raises CommandRefused with libvirt's words; MonitorLost when it cannot be known.

        A slot whose props or type are not those that the machine has is refused here: libvirt is told its number only.
        """
        libvirt = load()
        call = "virDomainSetVcpu"
        slots = self.cpu_slots(deadline)
        known = next((row for row in slots if row.props == slot.props), None)
        if known is None or known.type != slot.type:
            raise _refused(call, f"the machine has no slot for a {slot.type} at {slot.props}")

        def there() -> bool:
            return any(
                row.qom == f"{PERIPHERAL}{device}" and row.props == slot.props
                for row in self.cpu_slots(deadline)
            )

        def act(link: Link) -> object:
            return link.domain.setVcpu(str(known.index), 1, libvirt.VIR_DOMAIN_AFFECT_LIVE)

        with self._named(call, f"vcpu{known.index}", device):
            self._change(device, deadline, there, call, {"vcpumap": str(known.index), "state": 1}, act)

    def memory_devices(self, deadline: Deadline) -> list[MemoryDevice]:
        """Return the DIMMs of ``query-memory-devices``."""
        found = []
        for row in self.execute("query-memory-devices", deadline):
            if row["type"] == "dimm":
                data = row["data"]
                own = data.get("id", "")
                found.append(
                    MemoryDevice(
                        id=self._names.get(own, own),
                        size=data["size"],
                        slot=data["slot"],
                        node=data["node"],
                        address=data["addr"],
                    )
                )
        return found

    def add_dimm(self, device: str, size: int, deadline: Deadline, *, node: int | None = None) -> None:
        """``virDomainAttachDeviceFlags`` of a DIMM, on node 0 if none is named. Raises as :meth:`add_cpu`."""
        libvirt = load()
        call = "virDomainAttachDeviceFlags"
        if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", device) is None:
            raise _refused(call, f"{device!r} cannot be a name: libvirt takes letters, digits, '-' and '_'")
        xml = dimm_xml(f"{ALIAS}{device}", size, node or 0)

        def there() -> bool:
            return any(row.id == device and row.size == size for row in self.memory_devices(deadline))

        def act(link: Link) -> object:
            return link.domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)

        with self._named(call, f"{ALIAS}{device}", device):
            self._change(device, deadline, there, call, {"xml": xml}, act)

    @contextlib.contextmanager
    def _named(self, call: str, own: str, device: str) -> Iterator[None]:
        """Have libvirt's name ``own`` stand for ``device``, unless the call within is refused."""
        if device in self._names.values():
            raise _refused(call, f"duplicate id: a device is called {device!r} already")
        fresh = own not in self._names
        self._names.setdefault(own, device)
        try:
            yield
        except CommandRefused:
            if fresh:
                del self._names[own]
            raise

    def _change(
        self,
        device: str,
        deadline: Deadline,
        there: Callable[[], bool],
        call: str,
        arguments: dict[str, Any],
        act: Callable[[Link], object],
    ) -> None:
        """Make a call that makes ``device``, exactly once as far as QEMU is concerned.

        When the connection drops before the reply, QEMU is asked whether it has the device. If so, that was the reply;
        if not, the call is made again, once. libvirt does one thing at a time to a domain, so that the answer to a later
        question settles the earlier call; and a second add of the same vCPU or alias would be refused.
        """
        try:
            self._call(call, arguments, act, deadline)
        except MonitorLost as lost:
            if deadline.expired:
                raise
            if there():
                self._note(f"the connection dropped during {call} {device}; QEMU has it, so it was accepted")
                return
            self._note(f"the connection dropped during {call} {device}; QEMU has it not, sent again")
            try:
                self._call(call, arguments, act, deadline)
            except MonitorLost:
                if deadline.expired or not there():
                    raise lost from None
                self._note(f"the connection dropped again during {call} {device}; QEMU has it")

    def _note(self, text: str) -> None:
        self._tape.write(Stage(name="qemu", phase="note", detail=text))

    # -- events -----------------------------------------------------------------------------------------------------

    def drop_monitor(self, when: Drop = "now") -> None:
        """Lose the connection to libvirt on purpose; it comes back by itself. See :class:`QemuMachine`."""
        if when == "now":
            self._connection.drop()
        else:
            self._fault = when

    def serial(self) -> int:
        """Return the serial of the last message."""
        return self._log.serial()

    def wait_event(self, name: str, deadline: Deadline, *, after: int = 0, **match: Any) -> QmpEvent:
        """Wait for an event; nested data is matched as ``**{"info.device": "cpu2"}``."""
        return self._log.wait_event(name, deadline, after=after, match=match)

    def events(self, name: str, *, after: int = 0) -> list[QmpEvent]:
        """Return the events seen so far."""
        return self._log.events(name, after)

    # -- end --------------------------------------------------------------------------------------------------------

    def _end(self, how: str) -> None:
        """QEMU is gone; ``how`` is the first that was heard of it."""
        self._gone = self._gone or how
        self._log.wake()

    def _check(self, doing: str) -> None:
        """Raise MachineFailed if the machine is gone."""
        if self._closed or not self._present():
            raise self._failed(doing)

    def _present(self) -> bool:
        """Return whether QEMU is there. What it told before it ended gets some time to arrive."""
        if self._gone:
            return False
        if self._process is None or self._process.alive():
            return True
        self._missed = self._missed or time.monotonic()
        return time.monotonic() - self._missed < LAST_WORDS

    def _check_end(self, link: Link, doing: str) -> None:
        """A call was refused as if there were no guest: raise MachineFailed if that is so."""
        libvirt = load()
        try:
            active = bool(link.domain.isActive())
        except libvirt.libvirtError as error:
            active = error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN
        if not active:
            self._end("QEMU died")
        self._check(doing)

    def _failed(self, doing: str = "") -> HarnessError:
        message = f"machine {self.name!r} was closed" if self._closed else self._gone or "QEMU died"
        return MachineFailed(
            f"{doing}: {message}" if doing else message,
            command=self.argv,
            status=None,
            output="",
            hint=f"What QEMU said is in libvirt's log of the domain {self._runtime.path.name}, on its host.",
        )

    def alive(self) -> bool:
        """Return whether QEMU runs, as far as is known."""
        return self._created and not self._closed and self._present()

    @property
    def pid(self) -> int:
        """QEMU's process number, 0 before it was created or where it runs on another host."""
        return self._process.pid if self._process is not None else 0

    def check_alive(self) -> None:
        """Raise MachineFailed if QEMU is gone."""
        self._check("")

    def close(self) -> None:
        """End QEMU through libvirt, or without it where that does not answer; forget the machine. Idempotent."""
        with self._closing:
            if self._closed:
                return
            with ladder.uninterrupted() as hurry:
                self._closed = True
                self._log.wake()
                ended = True
                if self._created:
                    ended = end_domain(self._connection, self._leash, self.uuid, self._process, hurry)
                self._connection.close(2.0)
                self._runtime.remove()
                if self._entry is not None and ended:
                    self._registry.remove(self._entry)
                _open.discard(self)


def _refused(call: str, why: str) -> CommandRefused:
    return CommandRefused(
        f"{call} is not called: {why}", command=call, error_class="NotCalled", description=why
    )


def _decoded(reply: str) -> dict[str, Any]:
    """Return QEMU's reply as it came through libvirt, without libvirt's own id."""
    answer: dict[str, Any] = msgspec.json.decode(reply)
    return {key: value for key, value in answer.items() if key != "id"}


def _code(error: Any) -> str:
    """Return the name of an error's code, ``VIR_ERR_INTERNAL_ERROR``."""
    libvirt = load()
    for name, code in vars(libvirt).items():
        if name.startswith("VIR_ERR_") and code == error.get_error_code() and name not in _LEVELS:
            return str(name)
    return f"libvirt error {error.get_error_code()}"


_LEVELS = ("VIR_ERR_NONE", "VIR_ERR_WARNING", "VIR_ERR_ERROR")

_ENDS = {
    0: "the guest powered off, and libvirt ended QEMU",
    1: "its domain was destroyed by somebody else",
}
"""How a domain came to stop, by the detail of its event (libvirt: virDomainEventStoppedDetailType)."""


def _dotted(number: int) -> str:
    """Return one of libvirt's version numbers as people write it."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _security_models(link: Link) -> tuple[str, ...]:
    """Return the security drivers of the host (libvirt: formatcaps.html, ``secmodel``)."""
    return tuple(re.findall(r"<secmodel>\s*<model>([a-z]+)</model>", link.connection.getCapabilities()))


if TYPE_CHECKING:

    def _keeps_the_protocol(machine: LibvirtMachine) -> Machine:
        return machine


_open: weakref.WeakSet[LibvirtMachine] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close what was left open when the interpreter ends; libvirt does the same when it is killed."""
    for machine in list(_open):
        machine.close()
