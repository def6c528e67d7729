# SPDX-License-Identifier: MIT
"""One .etl file: its session, its account of losses, and its records in time order.

ETW gives every processor its own buffer and writes a buffer to the file when it is full or the session flushes. So
file order is not time order: an idle processor's first record may be in the last buffer. Reading has two steps.

*Index.* Only the header and the first record's time of each buffer are read: 30 bytes are kept per buffer (0.5 MB
for a log of 1 GB with buffers of 64 KB), in order of first time. Of a compressed buffer only the beginning is expanded.

*Merge.* Buffers are opened in that order. The next buffer's first time is the horizon. No unopened buffer has an earlier
record, so every record of the open buffers before the horizon may be returned. Open buffers are in a heap by
the time of their next record. Slices before the horizon are cut by bisection and joined by one sort, which for rows
already in order is a merge in C. Records are decoded a few at a time, so that memory holds the open buffers (usually
one for each processor) and not the file. A hostile file in which all buffers overlap is limited to ``OPEN_LIMIT``.

Records with equal times are returned in processor order, then in the order of their processor's buffers. The order of
equal times on different processors means nothing (harness.capture.etl.record).
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from harness.capture.etl import buffer, compression, session
from harness.capture.etl.account import LogAccount
from harness.capture.etl.buffer import BufferHeader
from harness.capture.etl.log_file import Expand, LogFile
from harness.capture.etl.record import AnyLogRecord

CHUNK = 1024
"""Records decoded at once from an open buffer."""

OPEN_LIMIT = 256 << 20
"""Approximate bytes in open buffers before records are returned in doubtful order (and counted as late)."""

RECORD_COST = 400
"""Estimated bytes of a decoded record, for OPEN_LIMIT."""

FOREVER = 1 << 64

_BEGINNING = 1024
"""Compressed bytes that are read to find the time of a buffer's first record."""

ReportProgress = Callable[[int], None]

_TIME = attrgetter("time")


class Opening(NamedTuple):
    """A buffer that the merge opens: its place in that order, its offset in the file, its processor, its bytes.

    ``horizon`` is the first time of the next buffer, None for the last one.
    """

    place: int
    offset: int
    processor: int
    data: bytes
    expanded: bool
    horizon: int | None


@dataclass(slots=True)
class _Open:
    """A buffer whose records are being returned: the decoded ones from ``place`` on, and where decoding continues."""

    data: bytes
    offset: int
    processor: int
    key: int
    expanded: bool
    at: int = buffer.HEADER_SIZE
    place: int = 0
    records: list[AnyLogRecord] = field(default_factory=list)

    def refill(self, account: LogAccount) -> bool:
        """Decode the next records. Return False when the buffer is used up."""
        before = self.records[-1].time if self.records else 0
        self.records, at, damage = buffer.decode(
            self.data, self.processor, self.at, len(self.data), CHUNK, before
        )
        if damage and self.expanded:
            account.damage(self.offset, f"byte {self.at} of the expanded buffer: {damage}")
        elif damage:
            account.damage(self.offset + self.at, damage)
        self.at = at
        self.place = 0
        self.records.sort(key=_TIME)
        return bool(self.records)

    @property
    def cost(self) -> int:
        return len(self.data) + RECORD_COST * min(CHUNK, len(self.data) // 16)


class TraceLog(LogFile):
    """An .etl file opened for reading. A context manager; iterating it is :meth:`records`.

    ``session`` is the file's own description. ``account`` says what is missing, and is complete once all records were read.
    Raises UsageError when the path is not a log, or is a log compressed in a format other than plain XPRESS.
    Raises InfrastructureError when reading fails. A damaged, truncated or unclosed log is read as far as possible, and
    the account says so.
    """

    def __init__(self, path: Path, expand: Expand = compression.expand) -> None:
        super().__init__(path, expand)
        self._offsets = array("Q")
        self._first = array("q")
        self._processors = array("H")
        self._used = array("I")
        self._packed = array("I")  # bytes in the file of a compressed buffer, otherwise 0
        self._sequences = array("q")
        try:
            self._index()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[AnyLogRecord]:
        return self.records()

    def _index(self) -> None:
        account = self.account
        for header in self.buffers():
            if not header.offset:
                self.describe(header)
            account.buffers += 1
            account.loss_flags += header.lost
            account.disputed += header.disputed
            if header.offset + header.size > account.bytes:
                account.truncated = True
            if header.compressed:
                account.compressed += 1
                if header.used > compression.limit(header.size):
                    account.damage(
                        header.offset, f"{header.size} compressed bytes cannot be {header.used} bytes"
                    )
                    continue
                if account.compressed == 1:
                    self.refuse_foreign(header)
            if header.type != buffer.HEADER_BUFFER and (header.offset or header.sequence):
                self._sequences.append(header.sequence)
            if header.type in buffer.OPAQUE:
                account.opaque += header.type != buffer.EMPTY_MARKER
                continue
            first = self._first_time(header)
            if first is None:
                continue
            self._offsets.append(header.offset)
            self._first.append(first)
            self._processors.append(header.processor)
            self._used.append(header.used)
            self._packed.append(header.size if header.compressed else 0)
        if account.headless and account.damages and not self._first:
            # Many files contain bytes that look like a buffer header by chance.
            raise self.no_log(f"byte {account.damages[0].offset}: {account.damages[0].reason}")
        self._missing()
        order = sorted(range(len(self._first)), key=self._first.__getitem__)
        self._order = array("I", order)
        # A reading finds the damage inside buffers anew each time. The damage that the index found stays.
        self._indexed_damaged, self._indexed_damages = account.damaged, list(account.damages)

    def _first_time(self, header: BufferHeader) -> int | None:
        """Return the earliest time of a buffer's records, or None for a buffer without any."""
        if header.used - buffer.HEADER_SIZE < 8:
            return None
        packed = header.size if header.compressed else 0
        begin = self.content(header.offset, buffer.HEADER_SIZE + 24, min(packed, _BEGINNING))[0]
        time = buffer.peek_time(begin[buffer.HEADER_SIZE :])
        if time is not None:
            return time
        # The first record carries no time, or is not at the beginning: decode the whole buffer.
        data, problem = self.content(header.offset, header.used, packed)
        found, _at, _damage = buffer.decode(data, 0, buffer.HEADER_SIZE, len(data), len(data))
        if problem and not found:
            self.account.damage(header.offset, problem)
            return None
        return min((one.time for one in found if getattr(one, "timed", True)), default=header.time)

    def _missing(self) -> None:
        account, described = self.account, self.session
        if not account.headless and not account.unclosed and described.buffers_written == account.buffers:
            # The session took numbers for buffers that it never had to write; all written buffers are here.
            return
        numbers = sorted(set(self._sequences))
        if not numbers:
            return
        account.absent = numbers[-1] - numbers[0] + 1 - len(numbers)
        account.first_sequence = max(numbers[0], 0)
        overwriting = described.mode & (session.CIRCULAR | session.REAL_TIME | session.BUFFERING)
        if account.first_sequence == 2 and described.version.startswith("6.") and not overwriting:
            account.first_sequence = (
                1  # before Windows 10 the header buffer of a sequential log may count as the first
            )

    def _data(self, index: int) -> tuple[bytes, str]:
        return self.content(self._offsets[index], self._used[index], self._packed[index])

    def records(
        self, *, since: int | None = None, until: int | None = None, progress: ReportProgress | None = None
    ) -> Iterator[AnyLogRecord]:
        """Yield all records in time order, streaming; ``since`` and ``until`` (exclusive) are ticks.

        ``progress`` is called with the number of bytes each time a buffer is opened. Each call reads the file anew
        and counts records, damage and late records in the account from zero.
        """
        self.begin()
        account = self.account
        latest = -FOREVER
        for batch in self._batches(progress):
            if batch[0].time < latest:
                account.late += bisect_left(batch, latest, key=_TIME)
            latest = max(latest, batch[-1].time)
            account.records += len(batch)
            first = 0 if since is None or batch[0].time >= since else bisect_left(batch, since, key=_TIME)
            if until is not None and batch[-1].time >= until:
                yield from batch[first : bisect_left(batch, until, key=_TIME)]
            else:
                yield from batch[first:] if first else batch

    def begin(self) -> None:
        """Begin to read anew: reset the counts of a reading to zero."""
        account = self.account
        account.records = account.late = 0
        account.damaged, account.damages = self._indexed_damaged, list(self._indexed_damages)

    def openings(self, progress: ReportProgress | None) -> Iterator[Opening]:
        """Yield the buffers in the order in which the merge opens them."""
        order = self._order
        for place, index in enumerate(order):
            offset, packed = self._offsets[index], self._packed[index]
            data, problem = self._data(index)
            if problem:
                self.account.damage(offset, problem)
            if progress is not None:
                progress(packed or len(data))
            horizon = self._first[order[place + 1]] if place + 1 < len(order) else None
            yield Opening(place, offset, self._processors[index], data, bool(packed), horizon)

    def _batches(self, progress: ReportProgress | None) -> Iterator[list[AnyLogRecord]]:
        heap: list[tuple[int, int, int, _Open]] = []
        cost = 0
        for one in self.openings(progress):
            opened = _Open(one.data, one.offset, one.processor, one.place, one.expanded)
            if opened.refill(self.account):
                heapq.heappush(heap, (opened.records[0].time, opened.processor, opened.key, opened))
                cost += opened.cost
            horizon = FOREVER if cost > OPEN_LIMIT or one.horizon is None else one.horizon
            while heap and heap[0][0] < horizon:
                batch, freed = self._cut(heap, horizon)
                cost -= freed
                yield batch

    def _cut(self, heap: list[tuple[int, int, int, _Open]], horizon: int) -> tuple[list[AnyLogRecord], int]:
        """Take one batch of records before ``horizon`` from the open buffers, at most one chunk of each."""
        # A buffer whose decoded records all come before the horizon may continue with more of them, so the records of the
        # others must not pass the last time decoded there.
        taking: list[_Open] = []
        limit = horizon
        while heap and heap[0][0] < limit:
            opened = heapq.heappop(heap)[3]
            taking.append(opened)
            if opened.at < len(opened.data):
                limit = min(limit, opened.records[-1].time)
        taking.sort(key=lambda one: (one.processor, one.key))
        batch: list[AnyLogRecord] = []
        freed = 0
        for opened in taking:
            records, place = opened.records, opened.place
            cut = bisect_left(records, limit, lo=place, key=_TIME)
            if cut == place and records[place].time <= limit and limit < horizon:
                # Only records at the limit itself are left: they must be returned now, or they never would be.
                cut = bisect_left(records, limit + 1, lo=place, key=_TIME)
            batch += records[place:cut]
            opened.place = cut
            if cut < len(records) or opened.refill(self.account):
                heapq.heappush(
                    heap, (opened.records[opened.place].time, opened.processor, opened.key, opened)
                )
            else:
                freed += opened.cost
        if len(taking) > 1:
            batch.sort(key=_TIME)
        return batch, freed

    def holding(
        self, needles: Iterable[bytes], progress: ReportProgress | None = None
    ) -> Iterator[AnyLogRecord]:
        """Yield the records of the header buffer and of all buffers that contain one of ``needles``, in file order."""
        needles = tuple(needles)
        for index in range(len(self._offsets)):
            data, _problem = self._data(index)
            if progress is not None:
                progress(self._packed[index] or len(data))
            if index and not any(needle in data for needle in needles):
                continue
            at, time = buffer.HEADER_SIZE, 0
            while at < len(data):
                records, at, _damage = buffer.decode(
                    data, self._processors[index], at, len(data), CHUNK, time
                )
                yield from records
                if not records:
                    break
                time = records[-1].time
