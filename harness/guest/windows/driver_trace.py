# SPDX-License-Identifier: MIT
"""The trace events of a driver with a map, read from its session's log while the guest runs, and recorded at once.

In each boot a session of the driver's provider begins before the driver is loaded. When the run needs the driver's
events, the session writes its buffers, and the harness fetches what was appended to its file.

Before the buffers are written the guest reads the performance counter, which is the session's clock. An event with an earlier
time is then in the file, whichever processor it came from. So all events up to that time become records in the order of
their times. Later ones wait for the next read.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.capture.etl import buffer, guid
from harness.capture.etl.record import EventRecord
from harness.capture.etl.tracelog import TraceLog
from harness.capture.live.budget import ChannelBudget
from harness.capture.mapping.driver_map import DriverMap
from harness.capture.mapping.mapper import CHANNEL, Mapper, mapper_of
from harness.deadline import Deadline
from harness.errors import GuestError, GuestRefused, HarnessError
from harness.guest.guest import CollectedFile
from harness.guest.windows import answer
from harness.guest.windows.shell import HOME, TOOL, PowerShellSession
from harness.guest.windows.trace import Trace
from harness.history.driver import DriverRecord, Hello
from harness.history.record import Channel, Clock, Stage
from harness.history.writer import HistoryWriter
from harness.transport.link import WireTransport

SESSION = "HotplugHarnessDriver"
"""Name of the session. The session of hpnotify, which begins with the boot, has another."""

AT_ONCE = 512 << 10
"""Bytes that are fetched with one answer. Zipped and in Base64 they fit into it."""


class _EventKey(NamedTuple):
    """The fields that identify an event."""

    time: int
    processor: int
    thread: int
    id: int
    payload: bytes


class _Log:
    """The fetched part of one boot's log: ``parsed`` bytes of whole buffers, in ``file``."""

    def __init__(self, path: str, directory: Path) -> None:
        self.path = path
        self.parsed = 0
        self.mapper: Mapper | None = None
        self._directory = directory
        self._head = b""
        self._of_head: set[_EventKey] = set()

    def take(self, data: bytes, described_by: DriverMap) -> list[EventRecord]:
        """Return the driver's events in the whole buffers of ``data``, which begins at :attr:`parsed`."""
        size = self._whole(data)
        if not size:
            return []
        first = not self._head
        if first:
            header = buffer.decode_header(data, 0)
            assert not isinstance(header, str)
            self._head, data = data[: header.size], data[header.size : size]
        else:
            data = data[:size]
        self.parsed += size
        with self._opened(self._head + data) as log:
            if self.mapper is None:
                self.mapper = mapper_of(log, described_by)
            found = [one for one in self.mapper.own(log) if first or key(one) not in self._of_head]
        if first:
            self._of_head = {key(one) for one in self._events(self._head)}
        return found

    def late_in_head(self, head: bytes) -> list[EventRecord]:
        """Return the additional events of the first buffer, which the session rewrites at its end."""
        return [one for one in self._events(head) if key(one) not in self._of_head]

    def _events(self, data: bytes) -> list[EventRecord]:
        if self.mapper is None:
            return []
        with self._opened(data) as log:
            return list(self.mapper.own(log))

    def _opened(self, data: bytes) -> TraceLog:
        with tempfile.NamedTemporaryFile(dir=self._directory, suffix=".etl") as file:
            file.write(data)
            file.flush()
            return TraceLog(Path(file.name))

    def _whole(self, data: bytes) -> int:
        """Return how many bytes of ``data`` are whole buffers. A buffer that is still being written does not count."""
        at = 0
        while not isinstance(header := buffer.decode_header(data[at : at + buffer.HEADER_SIZE], at), str):
            if at + header.size > len(data):
                break
            at += header.size
        return at


class DriverTrace:
    """The trace of the driver that ``described_by`` maps. ``processors`` is their largest possible number.

    ``budget`` bounds what may be recorded, ``most`` the bytes of one log that are read. Local files are in ``directory``.
    """

    def __init__(
        self,
        shell: PowerShellSession,
        writer: HistoryWriter,
        described_by: DriverMap,
        directory: Path,
        budget: ChannelBudget,
        *,
        processors: int,
        most: int,
    ) -> None:
        self._shell = shell
        self._writer = writer
        self._map = described_by
        self._directory = directory
        self._budget = budget
        self._processors = processors
        self._most = most
        self._session = Trace(shell, session=SESSION)
        self._log: _Log | None = None
        self._past: list[Mapper] = []
        self._boots = 0
        self._held: list[EventRecord] = []
        self._last = 0
        self._late = 0
        self._lost = 0
        self._missing: list[str] = []
        self._told = False

    def begin(self, deadline: Deadline) -> None:
        """Begin a session in this boot. Raises GuestRefused with logman's message."""
        self._let_go("the guest restarted before its trace was read to its end")
        self._boots += 1
        path = f"{HOME}\\trace\\driver-{self._boots}.etl"
        self._session.start(
            deadline, processors=self._processors, provider=f"{{{guid.text(self._map.provider)}}}", file=path
        )
        self._log = _Log(path, self._directory)

    def take(self, deadline: Deadline) -> None:
        """Record all events of the driver until now. Raises GuestHang if the guest does not answer."""
        log = self._log
        if log is None:
            return
        tail = self._fetch(log, deadline, flush=True)
        if tail.code:
            raise GuestRefused(
                f"the trace of {self._map.driver} does not run any more: hpnctl trace {SESSION} --flush: exit code {tail.code}"
            )
        self._emit(tail.now)

    def finish(self, deadline: Deadline) -> str:
        """End the session before the guest restarts or the run ends, and read the rest. Return its account as text."""
        log = self._log
        if log is None:
            return ""
        try:
            lost = self._session.stop(deadline)
            self._lost += lost.events_lost
            note = f"{lost.events_lost} events and {lost.buffers_lost} buffers lost, by the session's own account"
            if lost.events_lost or lost.buffers_lost:
                self._missing.append(note)
        except GuestError as error:
            # Its log is read even if it no longer runs.
            note = error.message[:300]
            self._missing.append(note)
        self._fetch(log, deadline, flush=False)
        self._emit(None)
        return note

    def restart(self, deadline: Deadline) -> None:
        """Read all of this boot's log, since the guest is about to restart."""
        self.finish(deadline)
        self._let_go("")

    def end(self, into: Path, files: WireTransport, deadline: Deadline, *, limit: int) -> CollectedFile:
        """Finish the session at the end of the run, fetch the log, and write the channel's account."""
        log = self._log
        if log is None:
            return CollectedFile(name="trace", refused="no session was begun")
        found = CollectedFile(name="trace", refused="it was not fetched")
        try:
            note = self.finish(deadline)
            file = into / "driver.etl"
            copied = files.get(log.path, file, deadline, limit=limit)
            found = CollectedFile(name="trace", file=file, size=copied.size, sha256=copied.sha256, note=note)
            self._compare(log, file)
        except HarnessError as error:
            self._missing.append(error.message[:300])
            found = msgspec.structs.replace(found, refused="" if found.file else error.message[:400])
        self._emit(None)
        self._let_go("")
        self.account(closed=not self._missing)
        return found

    def account(self, *, closed: bool) -> None:
        """Write the channel's account, once. It is not ``closed`` if anything is known to be missing."""
        if self._told or not self._boots:
            return
        self._told = True
        if self._missing:
            self._writer.write(Stage(name="collect", phase="note", detail="; ".join(self._missing)[:1000]))
        corrupt = sum(one.corrupt for one in self._past)
        account = Channel(
            name=CHANNEL,
            records=sum(one.handed_on for one in self._past),
            corrupt=corrupt,
            foreign=sum(one.unnamed for one in self._past),
            lost=sum(one.lost for one in self._past) + corrupt + self._lost + self._late,
            closed=closed,
        )
        self._writer.write(self._budget.account(account, driver_records=self._budget.records))

    def close(self) -> None:
        """Close the trace: events that were not read to the log's end are missing."""
        self._let_go("the run ended before its trace was read to its end")
        self.account(closed=False)

    def _let_go(self, why: str) -> None:
        """Close the log of a boot."""
        log, self._log = self._log, None
        if log is None:
            return
        if why:
            self._missing.append(why)
        if log.mapper is not None:
            self._past.append(log.mapper)
        self._held.clear()
        self._last = 0

    def _fetch(self, log: _Log, deadline: Deadline, *, flush: bool) -> answer.TraceTail:
        """Fetch what is new, and keep its events. Return the first answer, whose counter is the earliest."""
        first = None
        while True:
            tail = self._shell.ask(
                "trace-tail", deadline, answer.TraceTail,
                Session=SESSION, Tool=TOOL, Flush=flush and first is None, Path=log.path, Offset=log.parsed, Most=AT_ONCE,
            )  # fmt: skip
            first = first or tail
            before = log.parsed
            if before < self._most:
                self._held += log.take(unzipped(tail.data), self._map)
            elif tail.size > before:
                self._budget.cut = (
                    self._budget.cut or f"the log has more than {self._most} bytes (--channel-limit)"
                )
            if log.parsed == before or log.parsed >= tail.size:
                return first

    def _emit(self, until: int | None) -> None:
        """Write the records of the kept events, up to a time of the counter."""
        log = self._log
        if log is None or log.mapper is None:
            return
        self._held.sort(key=lambda one: one.time)
        ready = [one for one in self._held if until is None or one.time <= until]
        self._held = self._held[len(ready) :]
        for event in ready:
            if event.time < self._last:
                # Its position in the order has passed: the next record shows that one is missing.
                self._late += 1
                continue
            self._last = event.time
            late, self._late = self._late, 0
            for record in log.mapper.logged(event, skipped=late):
                if isinstance(record, DriverRecord) and not self._budget.admit():
                    return
                self._writer.write(record)
                if isinstance(record, Hello) and record.seq == 1:
                    self._writer.write(Clock(domain=f"qpc/{record.boot}", hz=record.hz))

    def _compare(self, log: _Log, file: Path) -> None:
        """Compare the whole log with what was read of it, and take over the losses that it reports."""
        with TraceLog(file) as whole:
            for _record in whole.records():
                pass
            self._missing += whole.account.reasons()
            if whole.account.bytes > log.parsed:
                self._missing.append(
                    f"{whole.account.bytes - log.parsed} bytes of the log were not read while it was written"
                )
        with file.open("rb") as stream:
            head = stream.read(buffer.HEADER_SIZE)
            header = buffer.decode_header(head, 0)
            if not isinstance(header, str):
                self._held += log.late_in_head(head + stream.read(header.size - len(head)))


def key(event: EventRecord) -> _EventKey:
    """Return the fields that identify the event."""
    return _EventKey(event.time, event.processor, event.thread, event.id, event.payload)


def unzipped(text: str) -> bytes:
    """Return the bytes of an answer. Raises GuestRefused if it is invalid, or longer than requested."""
    unzip = zlib.decompressobj(wbits=31)
    try:
        data = unzip.decompress(base64.b64decode(text, validate=True), AT_ONCE + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise GuestRefused(f"script trace-tail: the guest's answer makes no sense: {error}") from error
    if len(data) > AT_ONCE:
        raise GuestRefused(f"script trace-tail: more than the {AT_ONCE} bytes that were requested")
    return data
