# SPDX-License-Identifier: MIT
"""One buffer of a log: its header, and the walk over the records in it.

A session writes its buffers to the file unchanged: a WMI_BUFFER_HEADER of 72 bytes, then records, each at a
multiple of 8 bytes, up to the offset that the header names. A record begins with a 32-bit marker. Its highest bits
and its third byte say which header follows. Its low half is the record's size. The kernel's headers (system, compact,
perfinfo) are different: there the low half is a version, and the size is the low half of the second word.

The walk is the hot loop of the whole reader. It looks up the upper half of the marker in a table made once, so that
one record costs one dictionary access, one ``unpack_from`` and one constructor call.

Layout: ntwmi.h of the WDK. Sizes and offsets come from a guest: all are checked before use.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from harness.capture.etl import guid, record
from harness.capture.etl.record import (
    AnyLogRecord,
    ClassicRecord,
    CompactRecord,
    EventRecord,
    InstanceRecord,
    MessageRecord,
    OtherRecord,
    PerfRecord,
    SystemRecord,
)

HEADER = struct.Struct("<III4xqq8xH2x4xIHH16x")
"""Without the reference count, the clock, the session's number and its state, and the start of the clocks."""

HEADER_SIZE = 72

SMALLEST, LARGEST = 512, 16 << 20
"""Bytes of the smallest buffer, the header buffer of a merged log, and of the largest a session may have."""

FLUSH_MARKER, EVENTS_LOST, BUFFER_LOST, BACKUP_CORRUPT, BACKUP = 0x01, 0x02, 0x04, 0x08, 0x10
PROCESSOR_INDEX, COMPRESSED = 0x20, 0x40
"""Buffer flags (ETW_BUFFER_FLAG_*)."""

CONTEXT_SWITCH, REFERENCE_TIME, HEADER_BUFFER, EMPTY_MARKER, DEBUG_INFO = 2, 3, 4, 6, 7
"""Buffer types (ETW_BUFFER_TYPE_*); generic buffers are 0."""

OPAQUE = frozenset({CONTEXT_SWITCH, EMPTY_MARKER, DEBUG_INFO})
"""Types whose content is not a sequence of records."""

FILLER = 0xFFFFFFFF
"""Fills the unused rest of a buffer."""


class BufferHeader(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded WMI_BUFFER_HEADER.

    ``size``       bytes in the file, header included;
    ``used``       bytes up to the end of the last record, header included; in a compressed buffer once it is expanded;
    ``disputed``   Offset and SavedOffset are both plausible and differ, and this is not a header buffer;
    ``time``       when the buffer was flushed, in ticks of the session's clock, 0 in the header buffer;
    ``sequence``   counts the session's buffers;
    ``processor``  the processor that filled the buffer.
    """

    offset: int
    size: int
    used: int
    disputed: bool
    time: int
    sequence: int
    processor: int
    flags: int
    type: int

    @property
    def lost(self) -> bool:
        """Whether the session reports that it lost events or a buffer before this one."""
        return bool(self.flags & (EVENTS_LOST | BUFFER_LOST | BACKUP_CORRUPT))

    @property
    def compressed(self) -> bool:
        """Whether the data after the header must be expanded first."""
        return bool(self.flags & COMPRESSED)


def decode_header(raw: bytes, offset: int) -> BufferHeader | str:
    """Decode the header at a buffer's beginning; return why it is invalid when its sizes contradict each other."""
    if len(raw) < HEADER_SIZE:
        return f"only {len(raw)} of the {HEADER_SIZE} bytes of a buffer header are there"
    size, saved, current, time, sequence, context, used, flags, type_ = HEADER.unpack_from(raw)
    # A compressed buffer has its compressed length; its offsets are those before compression.
    compressed = flags & COMPRESSED
    if not (HEADER_SIZE if compressed else SMALLEST) <= size <= LARGEST:
        return f"ETW does not use a buffer size of {size} bytes"
    room = LARGEST if compressed else size
    # A flushed buffer has its end in SavedOffset; CurrentOffset runs past the end when the last reservation did not
    # fit. The header buffer is rewritten when the session ends: data added since SavedOffset ends at Offset.
    offsets = (used, saved, current) if type_ == HEADER_BUFFER and used > saved else (saved, used, current)
    for filled in offsets:
        if HEADER_SIZE <= filled <= room:
            break
    else:
        return f"no offset of the buffer ({saved}, {used}, {current}) lies within its {room} bytes"
    both = HEADER_SIZE <= saved <= room and HEADER_SIZE <= used <= room
    return BufferHeader(
        offset=offset,
        size=size,
        used=filled,
        disputed=both and saved != used and offsets[0] == saved,
        time=time,
        sequence=sequence,
        # Before Windows 8 the upper half is the alignment of records.
        processor=context & (0x07FF if flags & PROCESSOR_INDEX else 0xFF),
        flags=flags,
        type=type_,
    )


class _Unpack(Protocol):
    def __call__(self, data: bytes, at: int, /) -> tuple[Any, ...]: ...


_Entry = tuple[Callable[..., AnyLogRecord] | None, _Unpack | None, int, bool]

_EAGER: tuple[tuple[tuple[int, ...], type[Any], bool], ...] = (
    ((record.EVENT32, record.EVENT64), EventRecord, False),
    ((record.SYSTEM32, record.SYSTEM64), SystemRecord, True),
    ((record.COMPACT32, record.COMPACT64), CompactRecord, True),
    ((record.PERFINFO32, record.PERFINFO64), PerfRecord, True),
    ((record.FULL32, record.FULL64), ClassicRecord, False),
    ((record.INSTANCE32, record.INSTANCE64), InstanceRecord, False),
)


def _table() -> dict[int, _Entry]:
    """Map the upper half of a marker to (constructor, unpack, least size, size is in the second word)."""
    table: dict[int, _Entry] = {}
    for flags in range(0xC0, 0x100):
        for types, make, wide in _EAGER:
            for header_type in types:
                table[flags << 8 | header_type] = (make, make.header.unpack_from, make.header.size, wide)
        table[flags << 8 | record.ERROR] = (None, None, 8, False)
        table[flags << 8 | record.TIMED] = (None, None, 16, False)
        table[flags << 8 | record.MESSAGE] = (None, None, 8, False)
        table[flags << 8 | record.WNODE] = (None, None, 8, False)
    for low in range(0x1000):
        table[0x9000 | low] = (None, None, 8, False)
    table[0xB000] = (None, None, 16, False)
    return table


_TABLE = _table()

_MESSAGE = struct.Struct("<HBBHH")
_TIMED = struct.Struct("<HHIq")
_WNODE = struct.Struct("<IIQq16sQ")


def _words(data: bytes) -> memoryview | array[int]:
    view = memoryview(data)[: len(data) & ~3]
    if sys.byteorder == "little":
        return view.cast("I")
    swapped = array("I", view.tobytes())  # pragma: no cover
    swapped.byteswap()  # pragma: no cover
    return swapped  # pragma: no cover


def _message(data: bytes, at: int, processor: int, size: int, before: int) -> MessageRecord | str:
    # TRACE_MESSAGE_*: 1 sequence, 2 GUID, 4 component id, 8 and 16 time, 32 thread and process; in this order.
    _size, _reserved, _version, number, options = _MESSAGE.unpack_from(data, at)
    end = at + size
    place = at + 8
    sequence = thread = process = 0
    provider, time, timed = guid.NIL, before, False
    needed = (4 if options & 1 else 0) + (16 if options & 2 else 4 if options & 4 else 0)
    needed += (8 if options & 24 else 0) + (8 if options & 32 else 0)
    if place + needed > end:
        return f"a message of {size} bytes is too short for its options 0x{options:x}"
    if options & 1:
        sequence = int.from_bytes(data[place : place + 4], "little")
        place += 4
    if options & 2:
        provider = data[place : place + 16]
        place += 16
    elif options & 4:
        place += 4  # the component's id
    if options & 24:
        time, timed = int.from_bytes(data[place : place + 8], "little", signed=True), True
        place += 8
    if options & 32:
        thread = int.from_bytes(data[place : place + 4], "little")
        process = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8
    return MessageRecord(
        processor, data, at, size, number, options, sequence, provider, time, timed, thread, process, place
    )


def _rare(data: bytes, at: int, processor: int, marker: int, size: int, before: int) -> AnyLogRecord | str:
    upper = marker >> 16
    if upper & 0xF000 == 0x9000 or (upper & 0xC000 == 0xC000 and upper & 0xFF == record.MESSAGE):
        return _message(data, at, processor, size, before)
    if upper == 0xB000 or (upper & 0xC000 == 0xC000 and upper & 0xFF == record.TIMED):
        time = _TIMED.unpack_from(data, at)[3]
        return OtherRecord(processor, data, at, record.TIMED, size, guid.NIL, time, True, at + 16)
    if not upper & 0x8000:
        _size, _provider, _context, time, provider, _flags = _WNODE.unpack_from(data, at)
        return OtherRecord(processor, data, at, record.WNODE, size, provider, time, True, at + 48)
    return OtherRecord(processor, data, at, upper & 0xFF, size, guid.NIL, before, False, at + 8)


_FAR_TIME = frozenset(
    {record.SYSTEM32, record.SYSTEM64, record.COMPACT32, record.COMPACT64, record.FULL32, record.FULL64}
    | {record.INSTANCE32, record.INSTANCE64, record.EVENT32, record.EVENT64}
)
_NEAR_TIME = frozenset({record.PERFINFO32, record.PERFINFO64, record.TIMED})


def peek_time(raw: bytes) -> int | None:
    """Return the time in a record's first 24 bytes, or None when its header has no time there."""
    if len(raw) < 24:
        return None
    upper = int.from_bytes(raw[2:4], "little")
    if upper & 0xC000 != 0xC000:
        return None
    if upper & 0xFF in _FAR_TIME:
        return int.from_bytes(raw[16:24], "little", signed=True)
    return int.from_bytes(raw[8:16], "little", signed=True) if upper & 0xFF in _NEAR_TIME else None


def decode(
    data: bytes, processor: int, at: int, end: int, most: int, before: int = 0
) -> tuple[list[AnyLogRecord], int, str]:
    """Decode up to ``most`` records between two offsets of a buffer.

    Returns the records in their order, the offset where decoding continues (``end`` when the buffer is done)
    and, when the walk met data that cannot be a record, the reason. ``before`` is the time of the previous record.
    """
    found: list[AnyLogRecord] = []
    add = found.append
    table = _TABLE
    words = _words(data)
    end = min(end, len(data))
    last = end - 8
    room = most
    while at <= last:
        if not room:
            return found, at, ""
        room -= 1
        marker = words[at >> 2]
        try:
            make, unpack, least, wide = table[marker >> 16]
        except KeyError:
            if marker == FILLER:
                return found, end, ""
            if marker & 0x80000000 or not marker:
                return found, end, f"no record begins with 0x{marker:08x}"
            make, unpack, least, wide = None, None, 48, False
            size = marker
        else:
            size = words[(at >> 2) + 1] & 0xFFFF if wide else marker & 0xFFFF
        if size < least:
            return found, end, f"a record of {size} bytes is shorter than its header of {least}"
        if at + size > end:
            return found, end, f"a record of {size} bytes runs past the {end - at} left in the buffer"
        if make is not None:
            add(make(processor, data, at, *unpack(data, at)))  # type: ignore[misc]
        else:
            made = _rare(data, at, processor, marker, size, found[-1].time if found else before)
            if isinstance(made, str):
                return found, end, made
            add(made)
        at += (size + 7) & ~7
    return found, end, ""
