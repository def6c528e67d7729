# SPDX-License-Identifier: MIT
"""A guest that no longer answers: the dump that it writes after an NMI, and the files on its disk.

The registers, the screen and the memory are the run's own evidence, taken before this (:mod:`harness.run.evidence`).
The order matters: the NMI makes Windows write to its dedicated dump file. Only then is the machine stopped for good and
its disk read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness.capture.offline.recordings import FILES
from harness.deadline import Deadline
from harness.errors import GuestRefused, HarnessError
from harness.guest.guest import CollectedFile
from harness.guest.windows.crash_dump import SIZE, decode_header
from harness.history.bug_check import PANICKED, BugCheck, bug_check_of
from harness.machine.forwards import RemoteMachine
from harness.machine.inspection import Inspectable
from harness.machine.machine import Machine
from harness.machine.windows_volume import WindowsVolume, open_volume
from harness.template.provision import DEDICATED_DUMP, SESSION

SHARE = 0.4
"""Share of the time in which the bug check must write its dump."""

STILL = 5.0
"""Seconds without a write to the disk after which the dump counts as written."""

MIB = 1 << 20
ON_DISK = (
    ("trace", f"Windows/System32/LogFiles/WMI/{SESSION}.etl", FILES["etw"], "etw", 512 * MIB),
    ("events", "Windows/System32/winevt/Logs/System.evtx", "System.evtx", "", 64 * MIB),
    ("setup", "Windows/INF/setupapi.dev.log", "setupapi.dev.log", "", 64 * MIB),
)
"""The files taken from the disk: the harness's name, the path there, the file here, the channel, and the most bytes."""

DUMP_AT_CRASH = DEDICATED_DUMP
DUMP_AFTER_RESTART = "Windows/MEMORY.DMP"
DUMP = "MEMORY.DMP"
DUMP_LIMIT = 4096 * MIB
"""Where a dump is, the name of its copy here, and its most bytes: those of the dedicated dump file."""

MINIDUMPS = "Windows/Minidump"
MOST_MINIDUMPS = 16


class CrashCollection:
    """What can be collected from a guest without its help. The guest does not run afterwards."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def take(self, into: Path, deadline: Deadline) -> list[CollectedFile]:
        """Collect everything, each thing separately. What cannot be collected is in the list with the reason.

        A guest that reported a bug check is writing its dump already, and gets no NMI.
        """
        told = self._told()
        act = (
            self._interrupt
            if told is None
            else lambda into, within: self._settle("bug check", str(told), into, within)
        )
        share = deadline.within(deadline.remaining() * SHARE, "the bug check")
        found = [_tried("nmi" if told is None else "bug check", lambda: act(into, share))]
        try:
            disk = self._stop(deadline)
            with open_volume(disk, into, deadline) as volume:
                found += self._read(volume, into, deadline)
        except HarnessError as error:
            found.append(CollectedFile(name="disk", refused=" ".join([error.message, error.hint])[:400]))
        return found

    def _interrupt(self, into: Path, deadline: Deadline) -> CollectedFile:
        """Send the NMI that Windows answers with bug check 0x80 (WD: debugger/bug-check-0x80--nmi-hardware-failure.md)."""
        self._machine.execute("inject-nmi", deadline)
        return self._settle("nmi", "sent", into, deadline)

    def _told(self) -> BugCheck | None:
        """Return the bug check that the guest reported, None if it reported none (hv-crash; QEMU: qapi/run-state.json)."""
        told = (bug_check_of(event.data) for event in self._machine.events(PANICKED))
        return next((found for found in told if found is not None), None)

    def _settle(self, name: str, words: str, into: Path, deadline: Deadline) -> CollectedFile:
        """Wait until the disk comes to rest: the dump then counts as written."""
        written = [-1]
        still = [Deadline(STILL, "a quiet disk")]

        def quiet() -> bool:
            now = sum(row["stats"]["wr_bytes"] for row in self._machine.execute("query-blockstats", deadline))
            if now != written[0]:
                written[0], still[0] = now, Deadline(STILL, "a quiet disk")
            return still[0].expired or deadline.remaining() < 1.0

        deadline.poll(quiet, interval=0.5)
        note = (
            f"{words}, and the disk came to rest"
            if still[0].expired
            else f"{words}, and the disk did not come to rest in time"
        )
        if not self._machine.spec.screen or not isinstance(self._machine, Inspectable):
            return CollectedFile(name=name, note=note)
        within = Deadline(10, "take a picture of the screen")
        return of_file(
            name,
            self._machine.inspector().screenshot(into / f"screen-after-{name.replace(' ', '-')}", within),
            note=note,
        )

    def _stop(self, deadline: Deadline) -> Path:
        """Stop the machine, so that QEMU writes all its buffered data, and return the image of its disk."""
        if not self._machine.spec.disks:
            raise GuestRefused("the machine has no disk")
        if isinstance(self._machine, RemoteMachine) and self._machine.elsewhere:
            raise GuestRefused("the machine's disk is on another host, and is not fetched from there")
        if self._machine.alive():
            self._machine.pause(deadline)
        return self._machine.spec.disks[0].file

    def _read(self, volume: WindowsVolume, into: Path, deadline: Deadline) -> list[CollectedFile]:
        def take(name: str, path: str, file: Path, limit: int, channel: str, note: str) -> CollectedFile:
            volume.read(path, file, deadline, limit=limit)
            return of_file(name, file, channel=channel, note=note)

        unasked = "from the disk of a guest that did not answer"
        found = [
            _tried(name, partial(take, name, path, into / file, limit, channel, unasked))
            for name, path, file, channel, limit in ON_DISK
        ]
        found.append(_tried("dump", lambda: _dump(volume, into, deadline)))
        try:
            names = volume.names(MINIDUMPS, deadline)
        except HarnessError as error:
            return [*found, CollectedFile(name="minidumps", refused=error.message[:400])]
        dumps = [name for name in names if name.lower().endswith(".dmp")][:MOST_MINIDUMPS]
        folder = into / "minidumps"
        folder.mkdir(mode=0o700, exist_ok=True)
        for number, name in enumerate(dumps):
            file, path = folder / f"{number:04}", f"{MINIDUMPS}/{name}"
            found.append(_tried("minidump", partial(take, "minidump", path, file, 64 * MIB, "", name[:100])))
        return found


def _dump(volume: WindowsVolume, into: Path, deadline: Deadline) -> CollectedFile:
    """Copy the dump of this crash. From an image without a dedicated dump file, copy that of a crash before its last start."""
    where, note = DUMP_AT_CRASH, ""
    try:
        header = decode_header(volume.head(where, SIZE, deadline))
    except GuestRefused as at_crash:
        where, note = DUMP_AFTER_RESTART, ", of a crash before the last start"
        try:
            header = decode_header(volume.head(where, SIZE, deadline))
        except GuestRefused as older:
            raise GuestRefused(f"{at_crash.message}; {older.message}") from older
    volume.read(where, into / DUMP, deadline, limit=DUMP_LIMIT, length=header.size or None)
    return of_file("dump", into / DUMP, note=f"{header}{note}")


def of_file(name: str, file: Path, *, channel: str = "", note: str = "") -> CollectedFile:
    """Describe a file in the run directory."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return CollectedFile(
        name=name, file=file, size=file.stat().st_size, sha256=digest, channel=channel, note=note
    )


def _tried(name: str, act: Callable[[], CollectedFile]) -> CollectedFile:
    try:
        return act()
    except HarnessError as error:
        return CollectedFile(name=name, refused=error.message[:400])
