# SPDX-License-Identifier: MIT
"""Inspection of a guest from outside, for evidence: its processors' registers, its screen, its memory.

The guest need not cooperate, so it works on one that hangs, or that panicked and was stopped. It does not
change what the guest does; dumping memory stops the guest meanwhile (QEMU: qapi/dump.json).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from harness.deadline import Deadline
from harness.errors import CommandRefused, InfrastructureError
from harness.machine.libvirt.connection import Connection, bounded, load, words

T = TypeVar("T")

REGISTERS = "info registers -a"
"""The human monitor's command for the registers of all processors (QEMU: hmp-commands-info.hx)."""

DUMP_POLL = 0.1
"""Seconds between two checks of a dump's progress."""


class Inspector(Protocol):
    """The possible inspections. Each method raises what the machine's ``execute`` raises."""

    def registers(self, deadline: Deadline) -> str:
        """Return the registers of all processors, as QEMU's human monitor prints them."""

    def screenshot(self, stem: Path, deadline: Deadline) -> Path:
        """Write the screen's content and return the file: ``stem`` with the suffix of its format."""

    def dump(self, into: Path, deadline: Deadline) -> None:
        """Write the guest's memory and its processors' state as one ELF file."""

    def pause_reason(self, deadline: Deadline) -> str:
        """Return what paused the guest, as far as the layer between the harness and QEMU knows; "" if unknown."""


@runtime_checkable
class Inspectable(Protocol):
    """A machine whose guest can be inspected. A mere process cannot."""

    def inspector(self) -> Inspector:
        """Return an inspector of the guest."""


class QmpInspector:
    """Inspects through QMP."""

    def __init__(self, execute: Callable[..., Any]) -> None:
        self._execute = execute

    def registers(self, deadline: Deadline) -> str:
        """Send ``human-monitor-command``: QMP itself has no command for registers."""
        return str(self._execute("human-monitor-command", deadline, **{"command-line": REGISTERS}))

    def screenshot(self, stem: Path, deadline: Deadline) -> Path:
        """Send ``screendump``, as PNG; QEMU before 7.1, or built without libpng, knows only PPM (QEMU: qapi/ui.json)."""
        file = stem.with_suffix(".png")
        try:
            self._execute("screendump", deadline, filename=str(file), format="png")
        except CommandRefused as error:
            if "format" not in error.description and "PNG" not in error.description:
                raise
            file = stem.with_suffix(".ppm")
            self._execute("screendump", deadline, filename=str(file))
        return file

    def dump(self, into: Path, deadline: Deadline) -> None:
        """Send ``dump-guest-memory``, detached, so that the monitor answers meanwhile and the deadline can end the wait."""
        self._execute("dump-guest-memory", deadline, paging=False, protocol=f"file:{into}", detach=True)

        def status() -> dict[str, Any] | None:
            answer: dict[str, Any] = self._execute("query-dump", deadline)
            return answer if answer["status"] in ("completed", "failed") else None

        answer = deadline.poll(
            status,
            interval=DUMP_POLL,
            error=lambda: InfrastructureError(f"the dump was not finished within {deadline.seconds:.3g} s"),
        )
        if answer["status"] == "failed":
            raise InfrastructureError("QEMU could not write the dump", hint="Is there room on the disk?")

    def pause_reason(self, _deadline: Deadline) -> str:
        """Return "": QEMU does not report which of its clients stopped the guest."""
        return ""


class LibvirtInspector:
    """Inspects through libvirt's own calls. For registers it uses QEMU's human monitor, which libvirt passes on."""

    def __init__(self, connection: Connection, *, remote: bool) -> None:
        self._connection = connection
        self._remote = remote

    def registers(self, deadline: Deadline) -> str:
        """Call ``virDomainQemuMonitorCommand`` with a command that changes nothing."""

        def ask(domain: Any) -> str:
            import libvirt_qemu

            flag = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            return str(libvirt_qemu.qemuMonitorCommand(domain, REGISTERS, flag))

        return self._call("virDomainQemuMonitorCommand", ask, deadline)

    def screenshot(self, stem: Path, deadline: Deadline) -> Path:
        """Call ``virDomainScreenshot``, whose picture comes as a stream."""
        libvirt = load()

        def take(domain: Any) -> Path:
            stream = domain.connect().newStream()
            try:
                kind = str(domain.screenshot(stream, 0, 0))
                file = stem.with_suffix(".png" if kind.endswith("png") else ".ppm")
                with file.open("wb") as picture:
                    stream.recvAll(lambda _stream, data, _opaque: picture.write(data), None)
                stream.finish()
            except libvirt.libvirtError:
                stream.abort()
                raise
            return file

        return self._call("virDomainScreenshot", take, deadline)

    def dump(self, into: Path, deadline: Deadline) -> None:
        """Call ``virDomainCoreDumpWithFormat``, memory only, which libvirt writes on its own host."""
        libvirt = load()
        if self._remote:
            raise InfrastructureError(
                "the guest runs on another host, and its memory is not fetched from there"
            )
        self._call(
            "virDomainCoreDumpWithFormat",
            lambda domain: domain.coreDumpWithFormat(
                str(into), libvirt.VIR_DOMAIN_CORE_DUMP_FORMAT_RAW, libvirt.VIR_DUMP_MEMORY_ONLY
            ),
            deadline,
        )

    def pause_reason(self, deadline: Deadline) -> str:
        """Call ``virDomainGetState``: libvirt keeps a reason for a paused domain (libvirt: virDomainPausedReason)."""
        libvirt = load()
        state, reason = self._call("virDomainGetState", lambda domain: domain.state(), deadline)
        if state != libvirt.VIR_DOMAIN_PAUSED:
            return ""
        prefix = "VIR_DOMAIN_PAUSED_"
        names = {
            number: name.removeprefix(prefix).lower().replace("_", " ")
            for name, number in vars(libvirt).items()
            if name.startswith(prefix)
        }
        return f"libvirt's reason is {names.get(reason, f'number {reason}')!r}"

    def _call(self, name: str, act: Callable[[Any], T], deadline: Deadline) -> T:
        libvirt = load()
        link = self._connection.wait(deadline, name)
        try:
            return bounded(lambda: act(link.domain), deadline)
        except TimeoutError:
            raise InfrastructureError(
                f"{name}: libvirt did not answer within {deadline.seconds:.3g} s"
            ) from None
        except libvirt.libvirtError as error:
            raise CommandRefused(
                f"libvirt refused {name}: {words(error)}",
                command=name,
                error_class="",
                description=words(error),
            ) from error
