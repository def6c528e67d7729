# SPDX-License-Identifier: MIT
"""A log's description of its session: the TRACE_LOGFILE_HEADER in the payload of its first record.

Layout: W32:ETW, evntrace.h TRACE_LOGFILE_HEADER. Its two pointers have the size of the logging system's, which
``PointerSize`` in the same structure gives.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from harness.capture.etl import clock
from harness.capture.etl.clock import LogClock
from harness.capture.etl.field import Field, InType, OutType
from harness.capture.etl.record import AnyLogRecord, ClassicRecord, SystemRecord

EVENT_TRACE = bytes.fromhex("00d9fd683e4ad11184f40000f80464e3")
"""GUID of the log header's own event class, 68fdd900-4a3e-11d1-84f4-0000f80464e3."""

SEQUENTIAL, CIRCULAR, APPEND, PREALLOCATE, REAL_TIME, BUFFERING = 0x1, 0x2, 0x4, 0x20, 0x100, 0x400
NO_PER_PROCESSOR, COMPRESSED_MODE, RELOGGED = 0x10000000, 0x04000000, 0x10000
"""Bits of LogFileMode (W32:ETW/logging-mode-constants.md; the last one ntwmi.h)."""

_MODES = {
    SEQUENTIAL: "sequential",
    CIRCULAR: "circular",
    APPEND: "append",
    0x8: "new file",
    RELOGGED: "relogged",
    0x80: "secure",
    PREALLOCATE: "preallocated",
    REAL_TIME: "real time",
    BUFFERING: "buffering",
    0x800: "private",
    0x20000: "private in process",
    COMPRESSED_MODE: "compressed",
    0x02000000: "system logger",
    0x08000000: "independent session",
    NO_PER_PROCESSOR: "no per-processor buffering",
}

_HEAD = struct.Struct("<IIIIqIIIIIIII")
_TAIL = struct.Struct("<qqqII")


class TraceSession(msgspec.Struct, frozen=True, kw_only=True):
    """The session behind a log. Times are FILETIMEs, 100 ns units since 1601; 0 where the log does not say.

    ``events_lost`` and ``buffers_lost`` must be 0 before any order or absence may be judged (contract CAP-NO-LOSS).
    ``end`` is 0 in a log that was never closed: the session was still running, or the machine stopped.
    """

    name: str = ""
    file_name: str = ""
    build: int = 0
    version: str = ""
    processors: int = 0
    buffer_size: int = 0
    buffers_written: int = 0
    start_buffers: int = 0
    events_lost: int = 0
    buffers_lost: int = 0
    maximum_megabytes: int = 0
    mode: int = 0
    pointer_size: int = 8
    timer_resolution: int = 0
    cpu_mhz: int = 0
    boot: int = 0
    start: int = 0
    end: int = 0
    clock: LogClock = LogClock()

    @property
    def modes(self) -> list[str]:
        """The names of the set bits of LogFileMode, unknown ones in hexadecimal."""
        words = [word for bit, word in _MODES.items() if self.mode & bit]
        rest = self.mode & ~sum(_MODES)
        return [*words, f"0x{rest:x}"] if rest else words


def is_header(record: AnyLogRecord) -> bool:
    """Return whether the record describes the session."""
    if isinstance(record, SystemRecord):
        return record.hook == 0
    return isinstance(record, ClassicRecord) and record.provider == EVENT_TRACE and record.opcode == 0


_HEAD_NAMES = (
    "BufferSize",
    "Version",
    "ProviderVersion",
    "NumberOfProcessors",
    "EndTime",
    "TimerResolution",
    "MaxFileSize",
    "LogFileMode",
    "BuffersWritten",
    "StartBuffers",
    "PointerSize",
    "EventsLost",
    "CPUSpeed",
)
_TAIL_NAMES = (
    "BootTime",
    "PerfFreq",
    "StartTime",
    "ReservedFlags",
    "BuffersLost",
    "SessionName",
    "LogFileName",
)
_TIMES = frozenset({"EndTime", "BootTime", "StartTime"})
_HEX = frozenset({"Version", "LogFileMode", "ReservedFlags"})

HEADER_FIELDS = tuple(
    Field(
        name=name,
        in_type=InType.FILETIME if name in _TIMES else InType.UINT32,
        out_type=OutType.HEX if name in _HEX else 0,
    )
    for name in (*_HEAD_NAMES, *_TAIL_NAMES)
)
"""The fields of the log header in their order, with the names of EventTrace_Header (W32:ETW/eventtrace-header.md)."""


def header_fields(record: AnyLogRecord) -> dict[str, Any] | None:
    """Return the log header's fields by the names of its MOF class, or None when the payload is too short."""
    raw = record.payload
    if len(raw) < _HEAD.size:
        return None
    values: dict[str, Any] = dict(zip(_HEAD_NAMES, _HEAD.unpack_from(raw), strict=True))
    # Two pointers, a TIME_ZONE_INFORMATION of 172 bytes, then 64-bit times at the next multiple of 8.
    tail = (56 + 2 * (4 if values["PointerSize"] == 4 else 8) + 172 + 7) & ~7
    if len(raw) >= tail + _TAIL.size:
        text = raw[tail + _TAIL.size :]
        names = text[: len(text) & ~1].decode("utf-16-le", "replace").split("\0")[:2]
        names += [""] * (2 - len(names))
        values |= zip(_TAIL_NAMES, (*_TAIL.unpack_from(raw, tail), *names), strict=True)
    return values


def decode(record: AnyLogRecord) -> TraceSession | None:
    """Decode the session from its header record, or return None when the payload is too short."""
    said = header_fields(record)
    if said is None:
        return None
    major, minor, sub, subminor = said["Version"].to_bytes(4, "little")
    start = said.get("StartTime", 0)
    return TraceSession(
        name=said.get("SessionName", ""),
        file_name=said.get("LogFileName", ""),
        build=said["ProviderVersion"],
        version=f"{major}.{minor} (log {sub}.{subminor})",
        processors=said["NumberOfProcessors"],
        buffer_size=said["BufferSize"],
        buffers_written=said["BuffersWritten"],
        start_buffers=said["StartBuffers"],
        events_lost=said["EventsLost"],
        buffers_lost=said.get("BuffersLost", 0),
        maximum_megabytes=said["MaxFileSize"],
        mode=said["LogFileMode"],
        pointer_size=4 if said["PointerSize"] == 4 else 8,
        timer_resolution=said["TimerResolution"],
        cpu_mhz=said["CPUSpeed"],
        boot=said.get("BootTime", 0),
        start=start,
        end=said["EndTime"],
        clock=clock.make(
            said.get("ReservedFlags", 0),
            start=record.time,
            start_filetime=start,
            frequency=said.get("PerfFreq", 0),
            mhz=said["CPUSpeed"],
        ),
    )
