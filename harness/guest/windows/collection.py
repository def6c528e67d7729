# SPDX-License-Identifier: MIT
"""What Windows recorded: fetched by the transports, or from its disk if the guest does not answer.

Each thing is fetched separately, into a file that the harness names, no larger than its limit. An error with one of them
is in the list and does not affect the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from harness.capture.etl import debug_print
from harness.capture.offline.recordings import FILES
from harness.deadline import Deadline
from harness.errors import GuestError, HarnessError
from harness.guest.guest import CollectedFile
from harness.guest.windows import answer
from harness.guest.windows.crash_collection import CrashCollection
from harness.guest.windows.driver_trace import DriverTrace
from harness.guest.windows.service import RING, USER_MODE, WindowsService
from harness.guest.windows.shell import HOME, PowerShellSession
from harness.guest.windows.trace import Trace
from harness.guest.windows.transports import GuestTransports
from harness.machine.machine import Machine
from harness.transport.link import WireTransport

ANSWERS_WITHIN = 30.0
ANSWER_SHARE = 0.25
"""Seconds, and share of the available time, in which a working guest must run a trivial command."""

EXPORTS = f"{HOME}\\collected"
MINIDUMPS = "C:\\Windows\\Minidump"
MEMORY_DUMP = "C:\\Windows\\MEMORY.DMP"

MIB = 1 << 20
LIMITS = {
    "trace": 512 * MIB,
    "prints": 256 * MIB,
    "ring": 64 * MIB,
    "user mode": 16 * MIB,
    "events": 64 * MIB,
    "setup": 4 * MIB,
    "minidumps": 64 * MIB,
    "dump": 1024 * MIB,
}
"""The most bytes of each thing that are taken. A template's trace stops by itself at 256 MiB."""

MOST_MINIDUMPS = 16


class Collection:
    """One collection. It stops the trace: that of hpnotify, or ``events``, that of a mapped driver."""

    def __init__(
        self,
        machine: Machine,
        shell: PowerShellSession,
        transports: GuestTransports,
        trace: Trace,
        service: WindowsService,
        *,
        events: DriverTrace | None = None,
        prints: Trace | None = None,
    ) -> None:
        self._machine = machine
        self._shell = shell
        self._transports = transports
        self._trace = trace
        self._service = service
        self._events = events
        self._prints = prints

    def take(self, into: Path, deadline: Deadline) -> list[CollectedFile]:
        """Fetch everything into ``into``."""
        self._into = into
        self._deadline = deadline
        patience = min(ANSWERS_WITHIN, ANSWER_SHARE * deadline.remaining())
        try:
            self._transports.commands.run(
                "echo collect", deadline.within(patience, "ask whether the guest answers")
            )
        except GuestError as error:
            said = CollectedFile(name="guest", refused=error.message[:400])
            return [said, *CrashCollection(self._machine).take(into, deadline)]
        except HarnessError as error:
            return [CollectedFile(name="guest", refused=error.message[:400])]
        return [
            *self._each("trace", self._take_trace),
            *self._each("prints", self._take_prints),
            *self._each("ring", self._take_ring),
            *self._each("user mode", self._take_user_mode),
            *self._each("logs", self._take_logs),
        ]

    def _each(self, name: str, act: Callable[[], Iterator[CollectedFile]]) -> Iterator[CollectedFile]:
        try:
            yield from act()
        except HarnessError as error:
            yield CollectedFile(name=name, refused=error.message[:400])

    def _one(self, name: str, source: str, target: str) -> Iterator[CollectedFile]:
        return self._each(name, lambda: iter([self._get(name, source, target)]))

    def _take_trace(self) -> Iterator[CollectedFile]:
        if self._events is not None:
            yield self._events.end(self._into, self._files, self._deadline, limit=LIMITS["trace"])
            return
        note = self._stopped(self._trace)
        yield self._get("trace", self._trace.file, FILES["etw"], channel="etw", note=note)

    def _take_prints(self) -> Iterator[CollectedFile]:
        if self._prints is not None:
            note = self._stopped(self._prints)
            file = FILES[debug_print.CHANNEL]
            yield self._get("prints", self._prints.file, file, channel=debug_print.CHANNEL, note=note)

    def _stopped(self, trace: Trace) -> str:
        """Stop a session and return its account as text."""
        try:
            account = trace.stop(self._deadline)
        except GuestError as error:
            # Its log is taken even if it no longer runs.
            return error.message[:300]
        return f"{account.events_lost} events and {account.buffers_lost} buffers lost, by the session's own account"

    def _take_ring(self) -> Iterator[CollectedFile]:
        for name in self._service.loaded:
            self._service.drain(name, self._deadline)
        if self._service.drained:
            yield self._get("ring", RING, FILES["ring"], channel="ring")

    def _take_user_mode(self) -> Iterator[CollectedFile]:
        if self._service.watching:
            yield self._get("user mode", USER_MODE, "user-mode.jsonl")

    def _take_logs(self) -> Iterator[CollectedFile]:
        made = self._shell.ask(
            "export", self._deadline, answer.Exported, Directory=EXPORTS, Most=LIMITS["setup"]
        )
        if made.code:
            yield CollectedFile(name="events", refused=f"wevtutil: exit code {made.code}: {made.said[:300]}")
        else:
            yield from self._one("events", f"{EXPORTS}\\System.evtx", "System.evtx")
        if made.setup:
            yield CollectedFile(name="setup", refused=made.setup[:300])
        else:
            yield from self._one("setup", f"{EXPORTS}\\setupapi.dev.log", "setupapi.dev.log")
        if made.minidumps:
            yield from self._each("minidumps", self._take_minidumps)
        if made.dump > LIMITS["dump"]:
            yield CollectedFile(
                name="dump", refused=f"MEMORY.DMP has {made.dump} bytes, more than {LIMITS['dump']}"
            )
        elif made.dump:
            yield from self._one("dump", MEMORY_DUMP, "MEMORY.DMP")

    def _take_minidumps(self) -> Iterator[CollectedFile]:
        folder = self._into / "minidumps"
        folder.mkdir(mode=0o700, exist_ok=True)
        for one in self._files.gather(
            MINIDUMPS, folder, self._deadline, files=MOST_MINIDUMPS, limit=LIMITS["minidumps"]
        ):
            yield CollectedFile(
                name="minidump",
                file=one.path,
                size=one.size,
                sha256=one.sha256,
                note=one.name[:100],
                refused=one.refused,
            )

    def _get(
        self, name: str, source: str, target: str, *, channel: str = "", note: str = ""
    ) -> CollectedFile:
        file = self._into / target
        copied = self._files.get(source, file, self._deadline, limit=LIMITS[name])
        return CollectedFile(
            name=name, file=file, size=copied.size, sha256=copied.sha256, channel=channel, note=note
        )

    @property
    def _files(self) -> WireTransport:
        return self._transports.files
