# SPDX-License-Identifier: MIT
"""Classic events of the kernel logger, which have neither provider nor description.

The group, the upper byte of the hook id, replaces the provider. A merge or another consumer may write the same
events with the GUID of their class instead. All are named. The fields of those in kernel_events are decoded.

Source: W32:ETW/nt-kernel-logger-constants.md, W32:ETW/msnt-systemtrace.md and the pages of the MOF classes.
"""

from __future__ import annotations

from harness.capture.etl import guid, kernel_events, kernel_names, session
from harness.capture.etl.layout import Layout
from harness.capture.etl.record import (
    AnyLogRecord,
    ClassicRecord,
    CompactRecord,
    InstanceRecord,
    PerfRecord,
    SystemRecord,
)

HEADER, PROCESS = 0x00, 0x03
"""Groups that hold events of another group: the log header, and loaded images (LOAD)."""

LOAD = 0x0A

DBGID = 0x40
"""Type within HEADER: the identity of a program's symbols."""

GROUPS = {
    0x00: "EventTrace",
    0x01: "DiskIo",
    0x02: "PageFault",
    0x03: "Process",
    0x04: "FileIo",
    0x05: "Thread",
    0x06: "TcpIp",
    0x07: "Job",
    0x08: "UdpIp",
    0x09: "Registry",
    0x0A: "DbgPrint",
    0x0B: "SystemConfig",
    0x0D: "Wnf",
    0x0E: "Pool",
    0x0F: "PerfInfo",
    0x10: "Heap",
    0x11: "Object",
    0x12: "Power",
    0x13: "ModBound",
    0x14: "Image",
    0x15: "Dpc",
    0x16: "CacheManager",
    0x17: "CritSec",
    0x18: "StackWalk",
    0x19: "Ums",
    0x1A: "Alpc",
    0x1B: "SplitIo",
    0x1C: "ThreadPool",
    0x1D: "Hypervisor",
    0x1E: "HypervisorX",
}
"""The kernel's event groups (EVENT_TRACE_GROUP_* of ntwmi.h)."""

_CLASSES = {
    0x01: "3d6fa8d4-fe05-11d0-9dda-00c04fd7ba7c",
    0x02: "3d6fa8d3-fe05-11d0-9dda-00c04fd7ba7c",
    0x03: "3d6fa8d0-fe05-11d0-9dda-00c04fd7ba7c",
    0x04: "90cbdc39-4a3e-11d1-84f4-0000f80464e3",
    0x05: "3d6fa8d1-fe05-11d0-9dda-00c04fd7ba7c",
    0x06: "9a280ac0-c8e0-11d1-84e2-00c04fb998a2",
    0x08: "bf3a50c5-a9c9-4988-a005-2df0b7c80f80",
    0x09: "ae53722e-c863-11d2-8659-00c04fa321a1",
    0x0A: "13976d09-a327-438c-950b-7f03192815c7",
    0x0B: "01853a65-418f-4f36-aefc-dc0f1d2fd235",
    0x0E: "0268a8b6-74fd-4302-9dd0-6e8f1795c0cf",
    0x0F: "ce1dbfb4-137e-4da6-87b0-3f59aa102cbc",
    0x10: "222962ab-6180-4b88-a825-346b75f2a24a",
    0x11: "89497f50-effe-4440-8cf2-ce6b1cdcaca7",
    0x12: "e43445e0-0903-48c3-b878-ff0fccebdd04",
    0x14: "2cb15d1d-5fc1-11d2-abe1-00a0c911f518",
    0x17: "3ac66736-cc59-4cff-8115-8df50e39816b",
    0x18: "def2fe46-7bd6-4b80-bd94-f57fe20d0ce3",
    0x1A: "45d8cccd-539f-4b72-a8b7-5c683142609a",
    0x1B: "d837ca92-12b9-44a5-ad6a-3a65b3578aa8",
    0x1C: "c861d0e2-a2c1-4d36-9f9c-970bab943a12",
}
CLASSES = {session.EVENT_TRACE: HEADER} | {guid.parse(one): group for group, one in _CLASSES.items()}
"""Event class GUIDs of the same groups, as a classic header or a consumer names them."""

LOST_EVENT = guid.parse("6a399ae0-4bc6-4de9-870b-3657f8947e7e")
"""RT_LostEvent: a real-time session reports that it lost events (32), a buffer (33) or its backup file (34)."""

_LOST_NAMES = {32: "EventsLost", 33: "BufferLost", 34: "BackupLost"}

KernelRecord = SystemRecord | CompactRecord | PerfRecord

_KERNEL_TYPES = frozenset({SystemRecord, CompactRecord, PerfRecord})
_CLASSIC_TYPES = frozenset({ClassicRecord, InstanceRecord})


def group_of(record: AnyLogRecord) -> int | None:
    """Return the kernel event group of a record, or None when it belongs to no known group."""
    # Looked up by type, which is several times faster than asking isinstance about a union.
    kind = type(record)
    if kind in _KERNEL_TYPES:
        return record.group  # type: ignore[union-attr]
    return CLASSES.get(record.provider) if kind in _CLASSIC_TYPES else None


def name(group: int, opcode: int) -> str:
    """Return the name of a kernel event within its group, or its number in hexadecimal."""
    return kernel_names.NAMES.get(group << 8 | opcode) or f"0x{opcode:02x}"


def group_name(group: int, opcode: int) -> str:
    """Return the group's name. The kernel logs a loaded image under Process, and it belongs to Image."""
    if group == PROCESS and opcode == LOAD:
        return "Image"
    return GROUPS.get(group) or f"group 0x{group:02x}"


def layout(group: int, opcode: int, version: int) -> Layout | None:
    """Return the layout of a kernel event's payload, or None for an undecoded one. ``version`` has no flags."""
    return kernel_events.find(group << 8 | opcode, version)


def merge_event(record: AnyLogRecord) -> tuple[str, str, Layout | None] | None:
    """Return class, name and layout of an event that a merge added about the machine, or None for another event."""
    if not isinstance(record, ClassicRecord):
        return None
    found = kernel_events.MERGE_ROWS.get(record.provider)
    if found is None:
        return None
    event, written = found[1].get(record.opcode, (f"0x{record.opcode:02x}", ""))
    return found[0], event, kernel_events.layout(written) if written else None


def lost_name(opcode: int) -> str:
    """Return the meaning of a record of the LOST_EVENT class."""
    return _LOST_NAMES.get(opcode, f"0x{opcode:02x}")
