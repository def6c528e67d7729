# SPDX-License-Identifier: MIT
"""One .etl file: its session, its account of losses, and its records in time order.

ETW gives every processor its own buffer and writes a buffer to the file when it is full or the session flushes, so
file order is not time order: an idle processor's first record may stand in the last buffer. Reading is two steps.

*Index.* Only the header and the first record's time of each buffer are read: 26 bytes are kept per buffer (0.4 MB
for a log of 1 GB with buffers of 64 KB), in order of first time.

*Merge.* Buffers are opened in that order. The next buffer's first time is the horizon: nothing still unopened can
come before it, so every record of the open buffers before the horizon may go out. Open buffers stand in a heap by
the time of their next record; slices before the horizon are cut by bisection and joined by one sort, which for rows
already in order is a merge in C. Records are decoded a few at a time, so that memory holds the open buffers (usually
one for each processor) and not the file. A hostile file in which all buffers overlap is held to ``OPEN_LIMIT``.

Records with equal times come out in processor order, then in the order of their processor's buffers. The order of
equal times on different processors means nothing (harness.capture.etl.record).
"""

from __future__ import annotations

import heapq
import os
import stat
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Self

from harness.capture.etl import buffer, session
from harness.capture.etl.account import LogAccount
from harness.capture.etl.buffer import BufferHeader
from harness.capture.etl.record import AnyLogRecord
from harness.capture.etl.session import TraceSession
from harness.errors import InfrastructureError, UsageError

CHUNK = 1024
"""Records decoded at once from an open buffer."""

OPEN_LIMIT = 256 << 20
"""Bytes, roughly, that open buffers may hold before records go out in doubtful order (and are counted as late)."""

RECORD_COST = 400
"""Bytes that a decoded record is taken to hold, for OPEN_LIMIT."""

FOREVER = 1 << 64

ReportProgress = Callable[[int], None]

_TIME = attrgetter("time")


class _Open:
    """A buffer whose records are going out: the decoded ones from ``place`` on, and where decoding goes on."""

    __slots__ = ("at", "data", "end", "key", "offset", "place", "processor", "records")

    def __init__(self, data: bytes, offset: int, processor: int, key: int) -> None:
        self.data = data
        self.offset = offset
        self.processor = processor
        self.key = key
        self.at = buffer.HEADER_SIZE
        self.end = len(data)
        self.place = 0
        self.records: list[AnyLogRecord] = []

    def refill(self, account: LogAccount) -> bool:
        """Decode the next records; False when the buffer is used up."""
        before = self.records[-1].time if self.records else 0
        self.records, at, damage = buffer.decode(self.data, self.processor, self.at, self.end, CHUNK, before)
        if damage:
            account.damage(self.offset + self.at, damage)
        self.at = at
        self.place = 0
        self.records.sort(key=_TIME)
        return bool(self.records)

    @property
    def cost(self) -> int:
        return len(self.data) + RECORD_COST * min(CHUNK, len(self.data) // 16)


class TraceLog:
    """An .etl file opened for reading. A context manager; iterating it is :meth:`records`.

    ``session`` is what the file says of itself; ``account`` what is missing, complete once all records were read.
    Raises UsageError when the path is no log, or a compressed one; InfrastructureError when reading fails.
    A damaged, truncated or unclosed log is read as far as it goes, and the account says so.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.account = LogAccount()
        self.session = TraceSession()
        self._offsets = array("Q")
        self._first = array("q")
        self._processors = array("H")
        self._used = array("I")
        self._sequences = array("q")
        try:
            # Not blocking: a FIFO of that name would make the open itself wait for a writer.
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", hint="Name an .etl file.") from error
        try:
            self._index()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[AnyLogRecord]:
        return self.records()

    def close(self) -> None:
        """Close the file; records already handed out stay valid."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _read(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._file, size, offset)
        except OSError as error:
            raise InfrastructureError(f"{self.path}: reading at byte {offset}: {error.strerror}") from error

    def buffers(self) -> Iterator[BufferHeader]:
        """Yield the buffer headers in file order, damaged ones left out. Raises UsageError at a compressed one."""
        size = self.account.bytes
        offset = 0
        step = 0
        while offset < size:
            raw = self._read(offset, buffer.HEADER_SIZE)
            header = buffer.decode_header(raw, offset)
            if isinstance(header, str):
                if not step:
                    raise UsageError(
                        f"{self.path}: this is no event trace log: {header}",
                        hint="An .etl file begins with a buffer header; was the file copied in text mode, or is it zipped?",
                    )
                if any(raw):
                    self.account.damage(offset, header)
                # A buffer of zeros is what a preallocated file ends in. In both cases all buffers of a session
                # have one size, so the next one is known.
                offset += step
                continue
            if header.flags & buffer.COMPRESSED:
                raise UsageError(
                    f"{self.path}: the buffer at byte {offset} is compressed; compressed logs are not read",
                    hint="Record without compression: no -compress with wpr, no 'Compress' in the profile.",
                )
            step = step or header.size
            yield header
            offset += header.size

    def _index(self) -> None:
        account = self.account
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{self.path}: no regular file", hint="Name an .etl file.")
        account.bytes = status.st_size
        if not account.bytes:
            raise UsageError(
                f"{self.path}: the file is empty",
                hint="Stop the session before copying its log (logman stop NAME -ets).",
            )
        for header in self.buffers():
            account.buffers += 1
            account.loss_flags += header.lost
            if header.offset + header.used > account.bytes or header.offset + header.size > account.bytes:
                account.truncated = True
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
        self._describe()
        self._missing()
        order = sorted(range(len(self._first)), key=self._first.__getitem__)
        self._order = array("I", order)
        # A reading finds the damage inside buffers anew each time; what the index found stays.
        self._indexed_damaged, self._indexed_damages = account.damaged, list(account.damages)

    def _first_time(self, header: BufferHeader) -> int | None:
        """Return the earliest time of a buffer's records, None for a buffer without any."""
        start = header.offset + buffer.HEADER_SIZE
        most = header.offset + header.used - start
        if most < 8:
            return None
        time = buffer.peek_time(self._read(start, 24))
        if time is not None:
            return time
        # The first record carries no time, or stands where a longer look is needed: decode the whole buffer.
        data = bytes(buffer.HEADER_SIZE) + self._read(start, most)
        found, _at, _damage = buffer.decode(data, 0, buffer.HEADER_SIZE, len(data), len(data))
        return min((one.time for one in found if getattr(one, "timed", True)), default=header.time)

    def _describe(self) -> None:
        found = None
        if len(self._offsets) and self._offsets[0] == 0:
            data = self._read(0, self._used[0])
            records, _at, _damage = buffer.decode(data, 0, buffer.HEADER_SIZE, len(data), 1)
            if records and session.is_header(records[0]):
                found = session.decode(records[0])
        if found is None:
            self.account.headless = True
            return
        self.session = found
        self.account.events_lost = found.events_lost
        self.account.buffers_lost = found.buffers_lost
        self.account.unclosed = found.end == 0
        if found.mode & session.COMPRESSED_MODE:
            raise UsageError(
                f"{self.path}: the session '{found.name[:80]!r}' wrote a compressed log; compressed logs are not read",
                hint="Record without compression: no -compress with wpr, no 'Compress' in the profile.",
            )

    def _missing(self) -> None:
        numbers = sorted(set(self._sequences))
        if numbers:
            self.account.first_sequence = max(numbers[0], 0)
            self.account.absent = numbers[-1] - numbers[0] + 1 - len(numbers)

    def _data(self, index: int) -> bytes:
        return self._read(self._offsets[index], self._used[index])

    def records(
        self, *, since: int | None = None, until: int | None = None, progress: ReportProgress | None = None
    ) -> Iterator[AnyLogRecord]:
        """Yield all records in time order, streaming; ``since`` and ``until`` (exclusive) are ticks.

        ``progress`` is called with the number of bytes each time a buffer is opened. Each call reads the file anew
        and counts records, damage and late records in the account from zero.
        """
        account = self.account
        account.records = account.late = 0
        account.damaged, account.damages = self._indexed_damaged, list(self._indexed_damages)
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

    def _batches(self, progress: ReportProgress | None) -> Iterator[list[AnyLogRecord]]:
        heap: list[tuple[int, int, int, _Open]] = []
        cost = 0
        order = self._order
        for place, index in enumerate(order):
            opened = _Open(self._data(index), self._offsets[index], self._processors[index], place)
            if progress is not None:
                progress(len(opened.data))
            if opened.refill(self.account):
                heapq.heappush(heap, (opened.records[0].time, opened.processor, place, opened))
                cost += opened.cost
            horizon = self._first[order[place + 1]] if place + 1 < len(order) else FOREVER
            if cost > OPEN_LIMIT:
                horizon = FOREVER
            while heap and heap[0][0] < horizon:
                batch, freed = self._cut(heap, horizon)
                cost -= freed
                yield batch

    def _cut(self, heap: list[tuple[int, int, int, _Open]], horizon: int) -> tuple[list[AnyLogRecord], int]:
        """Take one batch of records before ``horizon`` from the open buffers; never more than one chunk of each."""
        # A buffer whose decoded records all come before the horizon may go on with more of them, so what the others
        # give now must not pass the last time decoded there.
        taking: list[_Open] = []
        limit = horizon
        while heap and heap[0][0] < limit:
            opened = heapq.heappop(heap)[3]
            taking.append(opened)
            if opened.at < opened.end:
                limit = min(limit, opened.records[-1].time)
        taking.sort(key=lambda one: (one.processor, one.key))
        batch: list[AnyLogRecord] = []
        freed = 0
        for opened in taking:
            records, place = opened.records, opened.place
            cut = bisect_left(records, limit, lo=place, key=_TIME)
            if cut == place and records[place].time <= limit and limit < horizon:
                # Only records at the limit itself are left: they must go out, or nothing ever would.
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

    def tally(self, progress: ReportProgress | None = None) -> dict[int, int]:
        """Count the records by header type without decoding them, in file order."""
        counts: defaultdict[int, int] = defaultdict(int)
        for index in range(len(self._offsets)):
            data = self._data(index)
            buffer.tally(data, len(data), counts)
            if progress is not None:
                progress(len(data))
        types: dict[int, int] = {}
        for upper, count in counts.items():
            kind = buffer.header_type(upper)
            if count:
                types[kind] = types.get(kind, 0) + count
        return types
