# SPDX-License-Identifier: MIT
"""A whole run on the scripted Windows, with what each of its stages asked of it.

The machine is a real QEMU with the firmware of a template, whose disk boots nothing. WinRM's double answers at its port.
:class:`ScriptedKernel` does what Windows' kernel would do about a new processor: it answers by ``_OST`` and counts it.
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from guest.windows.conftest import ScriptedWindows
from transport.wsman_double import Command

from harness.history.record import Add, OperationProgress, Record, Stage

HOTPLUG = 0xCD8
"""The registers of processor hotplug on a q35 board (QEMU: include/hw/acpi/ich9.h, ICH9_CPU_HOTPLUG_IO_BASE)."""

_MONITOR = re.compile(r"UNIX-CONNECT:(\S+)")


class ScriptedKernel:
    """A listener of a run's history, whose machine has a human monitor.

    ``spent`` is this process's processor time in nanoseconds at each record, by the record's time.
    """

    def __init__(self, windows: ScriptedWindows) -> None:
        self.spent: dict[int, int] = {}
        self._windows = windows
        self._monitor = ""
        self._threads: list[threading.Thread] = []

    def __call__(self, record: Record) -> None:
        """Take over a processor that QEMU has accepted."""
        self.spent[record.host_ns] = time.process_time_ns()
        if isinstance(record, Stage) and (found := _MONITOR.search(record.detail)):
            self._monitor = found[1]
        elif isinstance(record, Add) and record.phase == "accepted" and record.what == "cpu":
            thread = threading.Thread(target=self._take)
            self._threads.append(thread)
            thread.start()

    def _take(self) -> None:
        """Count it, then report success for a device check (QEMU: docs/specs/acpi_cpu_hotplug.rst, ACPI 6.5, 6.3.5)."""
        index = self._windows.model["processors"]
        self._windows.change(processors=index + 1)
        writes = [
            f"/w {HOTPLUG:#x} {index}",
            f"/b {HOTPLUG + 5:#x} 1", f"/w {HOTPLUG + 8:#x} 1",
            f"/b {HOTPLUG + 5:#x} 2", f"/w {HOTPLUG + 8:#x} 0",
        ]  # fmt: skip
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(self._monitor)
            for write in writes:
                monitor.sendall(f"o {write}\n".encode())
            with contextlib.suppress(OSError):
                # Until QEMU ends, which ends the connection: a client that leaves may take its last line along.
                while monitor.recv(4096):
                    pass

    def close(self) -> None:
        """Wait until the connections have ended, as they do with QEMU."""
        for thread in self._threads:
            thread.join()


class AskedStage(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage asked of Windows: ``commands``, each in a shell of its own, and WinRM's ``requests``.

    ``took_ms`` is the whole stage, ``ran_ms`` the part in which a command ran in the guest, ``spent_ms`` the processor time
    of this process, which WinRM's double belongs to.
    """

    stage: str
    commands: int
    requests: int
    took_ms: float
    ran_ms: float
    spent_ms: float

    @property
    def own_ms(self) -> float:
        """The rest: the harness's own share, with WinRM's double."""
        return round(self.took_ms - self.ran_ms, 1)


def asked(
    records: Iterable[Record], windows: ScriptedWindows, spent: Mapping[int, int]
) -> Iterator[AskedStage]:
    """The stages and operations of a run in the order in which they ended."""
    begun: dict[str, int] = {}
    for record in records:
        match record:
            case Stage(name=name, phase="begin") | OperationProgress(name=name, phase="begin"):
                begun[name] = record.host_ns
            case Stage(name=name, phase="end") | OperationProgress(name=name, phase="end"):
                began, ended = begun.pop(name), record.host_ns
                yield _between(name, began, ended, windows, spent[ended] - spent[began])


def _between(name: str, began: int, ended: int, windows: ScriptedWindows, spent: int) -> AskedStage:
    ran = [one for one in windows.double.ran if began <= one.began < ended]
    # A guest has two seconds for its first answer, which a busy host may not keep. Then it is asked again.
    again = max(0, sum(map(_whether_ready, ran)) - 1)
    return AskedStage(
        stage=name,
        commands=len(ran) - again,
        requests=sum(began <= at < ended for at in windows.double.asked),
        took_ms=round((ended - began) / 1e6, 1),
        ran_ms=round(_covered(ran, ended) / 1e6, 1),
        spent_ms=round(spent / 1e6, 1),
    )


def _whether_ready(command: Command) -> bool:
    """Whether a command is the script that asks whether Windows is up."""
    _, _, encoded = command.line.partition(" -EncodedCommand ")
    return b"windows.ready" in base64.b64decode(encoded).replace(b"\0", b"")


def _covered(commands: list[Command], until: int) -> int:
    """The nanoseconds in which at least one of the commands ran."""
    covered, last = 0, 0
    for one in sorted(commands, key=lambda one: one.began):
        end = min(one.ended or until, until)
        covered += max(0, end - max(one.began, last))
        last = max(last, end)
    return covered
