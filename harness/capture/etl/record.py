# SPDX-License-Identifier: MIT
"""The records of a log: one type per event header that ETW writes into its buffers.

Every record has its ``processor`` and its ``time`` in ticks of the session's clock, an integer that is never
rounded; :class:`harness.capture.etl.clock.LogClock` converts it. Headers are decoded at once, payloads on demand.
``data`` is the filled part of the record's buffer, shared by all its records. So a consumer that
keeps records for long should keep ``payload`` and drop the record.

Two records with the same time on different processors are **concurrent**: ETW promises no order between them.
They are returned in processor order, which means nothing.

Layouts: ntwmi.h of the WDK (SYSTEM_TRACE_HEADER, PERFINFO_TRACE_HEADER, EVENT_INSTANCE_GUID_HEADER,
MESSAGE_TRACE_HEADER) and W32:ETW, evntcons.h and evntrace.h (EVENT_HEADER, EVENT_TRACE_HEADER).
"""

from __future__ import annotations

import struct
from typing import ClassVar

import msgspec

from harness.capture.etl import guid

SYSTEM32, SYSTEM64, COMPACT32, COMPACT64 = 1, 2, 3, 4
FULL32, INSTANCE32, TIMED, ERROR, WNODE, MESSAGE = 10, 11, 12, 13, 14, 15
PERFINFO32, PERFINFO64, EVENT32, EVENT64, FULL64, INSTANCE64 = 16, 17, 18, 19, 20, 21

EXTENDED_INFO, STRING_ONLY, NO_CPU_TIME, HEADER_32, HEADER_64, CLASSIC = 1, 4, 0x10, 0x20, 0x40, 0x100
"""Flags of EVENT_HEADER."""

EXT_SCHEMA, EXT_TRAITS = 11, 12
"""Types of extended data items (evntcons.h); EXT_SCHEMA is TraceLogging's description of the event."""

_EXTENDED = struct.Struct("<HHHH")
_U16 = struct.Struct("<H")

PMC_COUNTERS = 0x0700
"""Bits of a system header's version: the number of 8-byte performance counters between header and payload."""

PEBS_INDEX = 0x8000
"""Bit of a system header's version: one more 8-byte item is there."""


class ExtendedItem(msgspec.Struct, frozen=True, gc=False):
    """An extended data item of an event: its type (EVENT_HEADER_EXT_TYPE_*) and its bytes."""

    type: int
    data: bytes


class BufferPosition(msgspec.Struct, frozen=True, gc=False):
    """The place of a record: the processor that filled its buffer, that buffer's bytes, its first byte in them."""

    processor: int
    data: bytes
    start: int


class EventRecord(BufferPosition, frozen=True, gc=False):
    """EVENT_HEADER: manifest-based and TraceLogging events. ``provider`` and ``activity`` are 16 raw bytes."""

    kind: ClassVar[str] = "event"
    header: ClassVar[struct.Struct] = struct.Struct("<HBxHHIIq16sHBBBBHQQ16s")

    size: int
    header_type: int
    flags: int
    properties: int
    thread: int
    process: int
    time: int
    provider: bytes
    id: int
    version: int
    channel: int
    level: int
    opcode: int
    task: int
    keyword: int
    processor_time: int
    activity: bytes

    @property
    def pointer_size(self) -> int:
        """Size in bytes of the pointers in the payload. A merge clears the flags and keeps the header's type."""
        if self.flags & (HEADER_32 | HEADER_64):
            return 4 if self.flags & HEADER_32 else 8
        return 4 if self.header_type == EVENT32 else 8

    def _items(self) -> tuple[list[tuple[int, int, int]], int]:
        # Each item: its whole size with padding, type, linkage (bit 0: another follows), size of its data.
        found: list[tuple[int, int, int]] = []
        at = self.start + 80
        end = self.start + self.size
        more = self.flags & EXTENDED_INFO
        while more and at + 8 <= end:
            whole, kind, more, size = _EXTENDED.unpack_from(self.data, at)
            more &= 1
            step = whole if whole >= 8 + size else (8 + size + 7) & ~7
            if at + 8 + size > end:
                return found, end
            found.append((kind, at + 8, size))
            at += step
        return found, min(at, end)

    @property
    def extended(self) -> list[ExtendedItem]:
        """The extended data items, in file order, without one that is cut off by the record's end."""
        return [ExtendedItem(kind, self.data[at : at + size]) for kind, at, size in self._items()[0]]

    def item(self, wanted: int) -> bytes | None:
        """Return the bytes of the first extended item of one type, or None."""
        for kind, at, size in self._items()[0]:
            if kind == wanted:
                return self.data[at : at + size]
        return None

    @property
    def payload(self) -> bytes:
        """The event's own data, after the header and the extended items."""
        first = self._items()[1] if self.flags & EXTENDED_INFO else self.start + 80
        return self.data[first : self.start + self.size]


class _Kernel(BufferPosition, frozen=True, gc=False):
    """The beginning of the three kernel headers: a hook id made of a group and a type, among others."""

    header: ClassVar[struct.Struct]

    version: int
    header_type: int
    size: int
    opcode: int
    group: int

    @property
    def hook(self) -> int:
        """The kernel's number for the event: group * 256 + type."""
        return self.group << 8 | self.opcode

    @property
    def provider(self) -> bytes:
        """The provider. A kernel event names none; its group replaces it (harness.capture.etl.classic)."""
        return guid.NIL

    @property
    def extra(self) -> int:
        """Bytes of performance counters between the header and the payload."""
        return 8 * ((self.version & PMC_COUNTERS) >> 8) + (8 if self.version & PEBS_INDEX else 0)

    @property
    def payload(self) -> bytes:
        """The event's own data."""
        return self.data[self.start + self.header.size + self.extra : self.start + self.size]

    @property
    def pointer_size(self) -> int:
        """Size in bytes of the pointers in the payload; the odd header types are the 32-bit ones."""
        return 4 if self.header_type in (SYSTEM32, COMPACT32, PERFINFO32) else 8


class SystemRecord(_Kernel, frozen=True, gc=False):
    """SYSTEM_TRACE_HEADER: kernel events with thread, process and processor times."""

    kind: ClassVar[str] = "system"
    header: ClassVar[struct.Struct] = struct.Struct("<HBxHBBIIqQ")

    thread: int
    process: int
    time: int
    processor_time: int


class CompactRecord(_Kernel, frozen=True, gc=False):
    """SYSTEM_TRACE_HEADER without the processor times."""

    kind: ClassVar[str] = "compact"
    header: ClassVar[struct.Struct] = struct.Struct("<HBxHBBIIq")

    thread: int
    process: int
    time: int


class PerfRecord(_Kernel, frozen=True, gc=False):
    """PERFINFO_TRACE_HEADER: kernel events that have only a time."""

    kind: ClassVar[str] = "perf"
    header: ClassVar[struct.Struct] = struct.Struct("<HBxHBBq")

    time: int


class _Classic(BufferPosition, frozen=True, gc=False):
    """The beginning of the two headers of classic events."""

    header: ClassVar[struct.Struct]

    size: int
    header_type: int
    opcode: int
    level: int
    version: int
    thread: int
    process: int
    time: int
    provider: bytes
    processor_time: int

    @property
    def pointer_size(self) -> int:
        """Size in bytes of the pointers in the payload."""
        return 4 if self.header_type in (FULL32, INSTANCE32) else 8

    @property
    def payload(self) -> bytes:
        """The event's own data."""
        return self.data[self.start + self.header.size : self.start + self.size]


class ClassicRecord(_Classic, frozen=True, gc=False):
    """EVENT_TRACE_HEADER: classic (MOF) events of TraceEvent(). ``provider`` is the event class's GUID."""

    kind: ClassVar[str] = "classic"
    header: ClassVar[struct.Struct] = struct.Struct("<HBxBBHIIq16sQ")


class InstanceRecord(_Classic, frozen=True, gc=False):
    """EVENT_INSTANCE_GUID_HEADER: classic events of TraceEventInstance()."""

    kind: ClassVar[str] = "instance"
    header: ClassVar[struct.Struct] = struct.Struct("<HBxBBHIIq16sQII16s")

    instance: int
    parent_instance: int
    parent: bytes


class MessageRecord(BufferPosition, frozen=True, gc=False):
    """MESSAGE_TRACE_HEADER: WPP and TraceMessage(). Its fields depend on ``options`` (TRACE_MESSAGE_* of evntrace.h).

    ``timed`` is false when the message carries no time: then ``time`` is that of the previous record in its buffer.
    ``provider`` is the message GUID, all zeros if there is none. ``body`` is the offset of the payload.
    """

    kind: ClassVar[str] = "message"

    size: int
    number: int
    options: int
    sequence: int
    provider: bytes
    time: int
    timed: bool
    thread: int
    process: int
    body: int

    @property
    def payload(self) -> bytes:
        """The message's arguments."""
        return self.data[self.body : self.start + self.size]


class OtherRecord(BufferPosition, frozen=True, gc=False):
    """Headers that only old systems or failures write: TIMED, ERROR and WNODE_HEADER.

    ``timed`` is false when the header carries no time: then ``time`` is that of the previous record in its buffer.
    """

    kind: ClassVar[str] = "other"

    header_type: int
    size: int
    provider: bytes
    time: int
    timed: bool
    body: int

    @property
    def payload(self) -> bytes:
        """The bytes after the header."""
        return self.data[self.body : self.start + self.size]


AnyLogRecord = (
    EventRecord
    | SystemRecord
    | CompactRecord
    | PerfRecord
    | ClassicRecord
    | InstanceRecord
    | MessageRecord
    | OtherRecord
)
