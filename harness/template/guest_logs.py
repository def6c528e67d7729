# SPDX-License-Identifier: MIT
"""The logs of a guest whose build failed: what it sent on COM1, and the rest from its disk, which no process uses then.

The places of Windows' logs: Microsoft Learn, "Windows Setup Log Files and Event Logs" and "Log files for Windows Setup"
(``$WINDOWS.~BT`` before the first restart, ``Panther`` from then on); "Logging in OpenSSH Server for Windows".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.errors import HarnessError
from harness.history.json_file import indented
from harness.machine.windows_volume import WindowsVolume, open_volume
from harness.template.checkpoints import disk_errors
from harness.template.serial_logs import SerialLogs

FOLDER = "logs"
INDEX = "logs.json"

READ = 120.0
"""Seconds for reading all logs from the disk."""

MIB = 1 << 20


class LogSource(msgspec.Struct, frozen=True):
    """A log: its name, its path on the guest's volume, the name of its copy here, and its most bytes."""

    name: str
    path: str
    file: str
    limit: int = 64 * MIB


_EVENTS = "Windows/System32/winevt/Logs"

SOURCES = (
    LogSource("provisioning", "Windows/Logs/HotplugHarness.log", "provisioning.log", 16 * MIB),
    LogSource("setupact", "Windows/Panther/setupact.log", "setupact.log"),
    LogSource("setuperr", "Windows/Panther/setuperr.log", "setuperr.log"),
    LogSource("setupact-oobe", "Windows/Panther/UnattendGC/setupact.log", "setupact-oobe.log"),
    LogSource("setuperr-oobe", "Windows/Panther/UnattendGC/setuperr.log", "setuperr-oobe.log"),
    LogSource("setupact-copying", "$WINDOWS.~BT/Sources/Panther/setupact.log", "setupact-copying.log"),
    LogSource("setuperr-copying", "$WINDOWS.~BT/Sources/Panther/setuperr.log", "setuperr-copying.log"),
    LogSource("cbs", "Windows/Logs/CBS/CBS.log", "CBS.log"),
    LogSource("dism", "Windows/Logs/DISM/dism.log", "dism.log"),
    LogSource("devices", "Windows/INF/setupapi.dev.log", "setupapi.dev.log"),
    LogSource("sshd", "ProgramData/ssh/logs/sshd.log", "sshd.log"),
    LogSource("openssh-events", f"{_EVENTS}/OpenSSH%4Operational.evtx", "OpenSSH-Operational.evtx"),
    LogSource("openssh-admin", f"{_EVENTS}/OpenSSH%4Admin.evtx", "OpenSSH-Admin.evtx"),
    LogSource(
        "winrm-events", f"{_EVENTS}/Microsoft-Windows-WinRM%4Operational.evtx", "WinRM-Operational.evtx"
    ),
    LogSource("system-events", f"{_EVENTS}/System.evtx", "System.evtx"),
)


class GuestLog(msgspec.Struct, frozen=True, kw_only=True):
    """One log: where it came from (``COM1`` or ``disk``), its file in ``logs/`` with size and SHA-256; or why it is missing."""

    name: str
    path: str
    source: str = ""
    file: str = ""
    size: int = 0
    sha256: str = ""
    refused: str = ""


def bring_out(sent: SerialLogs, disk: Path, folder: Path, secrets: Iterable[str]) -> list[GuestLog]:
    """Write the logs to ``folder``/logs with an index of them, and return the index.

    ``disk`` is the image (qcow2) that the guest wrote to, which no process uses any more. ``secrets`` are blotted out in
    the copies. A log that cannot be read is in the index with the reason. Raises InfrastructureError if nothing can be
    written here.
    """
    place = folder / FOLDER
    with disk_errors(place):
        place.mkdir(mode=0o700, exist_ok=True)
    hidden = [each for each in secrets if each]
    found = {
        source.name: _kept(source, "COM1", place, sent.contents[source.name], hidden)
        for source in SOURCES
        if source.name in sent.contents
    }
    found |= _from_disk([each for each in SOURCES if each.name not in found], sent, disk, place, hidden)
    index = [found[source.name] for source in SOURCES]
    with disk_errors(place):
        (place / INDEX).write_bytes(indented(index))
    return index


def _from_disk(
    sources: list[LogSource], sent: SerialLogs, disk: Path, place: Path, hidden: list[str]
) -> dict[str, GuestLog]:
    deadline = Deadline(READ, "read the guest's logs from its disk")

    def refused(source: LogSource, error: HarnessError) -> GuestLog:
        told = sent.refused.get(source.name)
        words = " ".join([error.message, error.hint]).strip()[:400] + (f"; COM1: {told}" if told else "")
        return GuestLog(name=source.name, path=source.path, refused=words)

    def read(volume: WindowsVolume, source: LogSource) -> GuestLog:
        draft = place / f"{source.file}.new"
        try:
            volume.read(source.path, draft, deadline, limit=source.limit)
            with disk_errors(place):
                return _kept(source, "disk", place, draft.read_bytes(), hidden)
        except HarnessError as error:
            return refused(source, error)
        finally:
            with disk_errors(place):
                draft.unlink(missing_ok=True)

    try:
        with open_volume(disk, place, deadline) as volume:
            return {source.name: read(volume, source) for source in sources}
    except HarnessError as error:
        return {source.name: refused(source, error) for source in sources}


def _kept(source: LogSource, where: str, place: Path, content: bytes, hidden: list[str]) -> GuestLog:
    """Write one log, with its secrets blotted out in both of Windows' text encodings."""
    for secret in hidden:
        for encoded in (secret.encode(), secret.encode("utf-16-le")):
            content = content.replace(encoded, b"*" * len(encoded))
    with disk_errors(place):
        (place / source.file).write_bytes(content)
    return GuestLog(
        name=source.name,
        path=source.path,
        source=where,
        file=source.file,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def words(index: list[GuestLog], folder: Path) -> str:
    """Return a line about the logs: where they are, or why there are none."""
    had = [each for each in index if each.file]
    if had:
        return f"Logs of the guest: {folder / FOLDER} ({', '.join(each.file for each in had)})"
    reasons = sorted({each.refused for each in index})
    return f"The guest's logs could not be fetched: {reasons[0]}" if reasons else ""
