# SPDX-License-Identifier: MIT
"""Classic events of the kernel logger, which carry neither provider nor description: the few we understand.

The group, the upper byte of the hook id, stands for the provider. Decoded are the log header, image load and unload
(which module an address belongs to) and DbgPrint (with EVENT_TRACE_FLAG_DBGPRINT the kernel copies every message
into the log: the third capture channel without a debugger). All else is named by group and type and stays raw.

Layouts: W32:ETW/image-load.md (Image_V2, V3; WMI_IMAGELOAD_INFORMATION in the kernel's own type information), W32:ETW/
eventtrace-header.md; ETW_DEBUG_PRINT_EVENT in the kernel's type information: component, level, then an ANSI string.
"""

from __future__ import annotations

from harness.capture.etl import guid, session
from harness.capture.etl.field import Field, InType, OutType
from harness.capture.etl.layout import Layout
from harness.capture.etl.record import (
    AnyLogRecord,
    ClassicRecord,
    CompactRecord,
    InstanceRecord,
    PerfRecord,
    SystemRecord,
)

HEADER, PROCESS, DBGPRINT, IMAGE = 0x00, 0x03, 0x0A, 0x14

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

CLASSES = {
    session.EVENT_TRACE: HEADER,
    guid.parse("13976d09-a327-438c-950b-7f03192815c7"): DBGPRINT,
    guid.parse("2cb15d1d-5fc1-11d2-abe1-00a0c911f518"): IMAGE,
    guid.parse("3d6fa8d0-fe05-11d0-9dda-00c04fd7ba7c"): PROCESS,
}
"""Event class GUIDs of the same groups, as a classic header or a consumer names them (W32:ETW/nt-kernel-logger-constants.md)."""

LOST_EVENT = guid.parse("6a399ae0-4bc6-4de9-870b-3657f8947e7e")
"""RT_LostEvent: a real-time session says that it lost events (32), a buffer (33) or its backup file (34)."""

_HEADER_NAMES = {
    0x00: "Header",
    0x05: "Extension",
    0x08: "RundownComplete",
    0x20: "GroupMasksEnd",
    0x30: "RundownBegin",
    0x31: "RundownEnd",
    0x40: "DbgIdRsds",
    0x41: "DbgIdNb10",
    0x42: "BuildLab",
    0x43: "BinaryPath",
}
_IMAGE_NAMES = {0x02: "Unload", 0x03: "DCStart", 0x04: "DCEnd", 0x0A: "Load"}
_LOST_NAMES = {32: "EventsLost", 33: "BufferLost", 34: "BackupLost"}

_IMAGE_FIELDS = (
    Field(name="ImageBase", in_type=InType.POINTER, out_type=OutType.HEX),
    Field(name="ImageSize", in_type=InType.POINTER, out_type=OutType.HEX),
    Field(name="ProcessId", in_type=InType.UINT32, out_type=OutType.PID),
    Field(name="ImageCheckSum", in_type=InType.UINT32, out_type=OutType.HEX),
    Field(name="TimeDateStamp", in_type=InType.UINT32, out_type=OutType.HEX),
)
_IMAGE_REST = (
    Field(name="DefaultBase", in_type=InType.POINTER, out_type=OutType.HEX),
    Field(name="Reserved", in_type=InType.UINT32, count=4),
    Field(name="FileName", in_type=InType.UTF16),
)
_IMAGE_V3 = Layout(
    (
        *_IMAGE_FIELDS,
        Field(name="SignatureLevel", in_type=InType.UINT8),
        Field(name="SignatureType", in_type=InType.UINT8),
        Field(name="Reserved0", in_type=InType.UINT16),
        *_IMAGE_REST,
    )
)
_IMAGE_V2 = Layout((*_IMAGE_FIELDS, Field(name="Reserved0", in_type=InType.UINT32), *_IMAGE_REST))
_DBGPRINT = Layout(
    (
        Field(name="Component", in_type=InType.UINT32),
        Field(name="Level", in_type=InType.UINT32),
        Field(name="Message", in_type=InType.ANSI),
    )
)

KernelRecord = SystemRecord | CompactRecord | PerfRecord


def group_of(record: AnyLogRecord) -> int | None:
    """Return the kernel event group of a record, None when it belongs to none that is known here."""
    if isinstance(record, KernelRecord):
        return record.group
    if isinstance(record, ClassicRecord | InstanceRecord):
        return CLASSES.get(record.provider)
    return None


def name(group: int, opcode: int) -> str:
    """Return what a kernel event is called within its group; its number in hexadecimal when nothing is known."""
    if group == HEADER:
        return _HEADER_NAMES.get(opcode, f"0x{opcode:02x}")
    if group == IMAGE or (group == PROCESS and opcode == 0x0A):
        return _IMAGE_NAMES.get(opcode, f"0x{opcode:02x}")
    if group == DBGPRINT:
        return "Message"
    return f"0x{opcode:02x}"


def group_name(group: int, opcode: int) -> str:
    """Return the group's name. A loaded image is logged under Process by the kernel and belongs to Image."""
    if group == PROCESS and opcode == 0x0A:
        return "Image"
    return GROUPS.get(group, f"group 0x{group:02x}")


def layout(group: int, opcode: int, version: int) -> Layout | None:
    """Return the layout of a kernel event's payload, None for the many that stay raw. ``version`` without its flags."""
    if (group == IMAGE and opcode in _IMAGE_NAMES) or (group == PROCESS and opcode == 0x0A):
        return _IMAGE_V3 if version >= 3 else _IMAGE_V2 if version == 2 else None
    if group == DBGPRINT:
        return _DBGPRINT
    return None


def lost_name(opcode: int) -> str:
    """Return what a record of the LOST_EVENT class says."""
    return _LOST_NAMES.get(opcode, f"0x{opcode:02x}")
