# SPDX-License-Identifier: MIT
"""The kernel's classic events: names, and fields by group, type and version, built from the pages of their MOF classes."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path
from typing import Any

import pytest

from harness.capture.etl import classic, guid, kernel_events, kernel_names
from harness.capture.etl.decoder import Decoded, Decoder
from harness.capture.etl.display import show
from harness.capture.etl.tracelog import TraceLog
from tests.capture.etl import encoder

T = encoder.START
SID = b"\1\1" + bytes(5) + b"\5" + struct.pack("<I", 18)
TOKEN64 = struct.pack("<QQ", 0xFFFFF8A000001000, 0)


def wide(text: str, size: int | None = None) -> bytes:
    """UTF-16 with a terminator, or filled to ``size`` characters."""
    raw = f"{text}\0".encode("utf-16-le")
    return raw if size is None else raw[: 2 * size].ljust(2 * size, b"\0")


def decode(tmp_path: Path, record: bytes) -> Decoded:
    """Write one record into a log and decode it."""
    path = tmp_path / "kernel.etl"
    path.write_bytes(encoder.header_buffer() + encoder.buffer(record, size=8192))
    decoder = Decoder()
    with TraceLog(path) as log:
        decoder.learn(log)
        return decoder.decode(list(log)[1])


CASES: list[tuple[str, int, int, bytes, str, dict[str, Any]]] = [
    (
        "a process before Windows XP",
        0x0301, 0,
        struct.pack("<QQ", 4, 0) + bytes(4) + b"System\0",
        "Process/Start",
        {"ProcessId": 4, "ParentId": 0, "UserSID": None, "ImageFileName": "System"},
    ),
    (
        "a process of Windows Vista",
        0x0302, 2,
        struct.pack("<QIIIi", 0x10, 8, 4, 1, 259) + TOKEN64 + SID + b"a.exe\0" + wide("a.exe -x"),
        "Process/End",
        {"UniqueProcessKey": 0x10, "ProcessId": 8, "ParentId": 4, "SessionId": 1, "ExitStatus": 259,
         "UserSID": "S-1-5-18", "ImageFileName": "a.exe", "CommandLine": "a.exe -x"},
    ),
    (
        "a process of Windows 10",
        0x0303, 4,
        struct.pack("<QIIIiQI", 0x10, 8, 4, 1, 0, 0x1000, 4) + TOKEN64 + SID + b"a.exe\0"
        + wide("") + wide("Package") + wide("App"),
        "Process/DCStart",
        {"UniqueProcessKey": 0x10, "ProcessId": 8, "ParentId": 4, "SessionId": 1, "ExitStatus": 0,
         "DirectoryTableBase": 0x1000, "Flags": 4, "UserSID": "S-1-5-18", "ImageFileName": "a.exe",
         "CommandLine": "", "PackageFullName": "Package", "ApplicationId": "App"},
    ),
    (
        "a thread with its name",
        0x0501, 3,
        struct.pack("<II7QI4B", 8, 12, 1, 2, 3, 4, 0xFF, 6, 7, 9, 8, 5, 2, 0) + wide("worker"),
        "Thread/Start",
        {"ProcessId": 8, "TThreadId": 12, "StackBase": 1, "StackLimit": 2, "UserStackBase": 3,
         "UserStackLimit": 4, "Affinity": 0xFF, "Win32StartAddr": 6, "TebBase": 7, "SubProcessTag": 9,
         "BasePriority": 8, "PagePriority": 5, "IoPriority": 2, "ThreadFlags": 0, "ThreadName": "worker"},
    ),
    (
        "a thread without a name",
        0x0504, 3,
        struct.pack("<II7QI4B", 8, 12, 1, 2, 3, 4, 0xFF, 6, 7, 9, 8, 5, 2, 0),
        "Thread/DCEnd",
        {"ThreadFlags": 0, "TebBase": 7},
    ),
    (
        "a context switch",
        0x0524, 4,
        struct.pack("<IIbbBbbbbbII", 12, 0, 8, 0, 1, 0, 15, 0, 2, 3, 7, 0),
        "Thread/CSwitch",
        {"NewThreadId": 12, "OldThreadId": 0, "NewThreadPriority": 8, "OldThreadPriority": 0,
         "PreviousCState": 1, "SpareByte": 0, "OldThreadWaitReason": 15, "OldThreadWaitMode": 0,
         "OldThreadState": 2, "OldThreadWaitIdealProcessor": 3, "NewThreadWaitTime": 7, "Reserved": 0},
    ),
    ("a ready thread", 0x0532, 2, struct.pack("<Ibbbb", 12, 1, 2, 3, 0), "Thread/ReadyThread",
     {"TThreadId": 12, "AdjustReason": 1, "AdjustIncrement": 2, "Flag": 3, "Reserved": 0}),
    ("a DPC", 0x0F44, 2, struct.pack("<QQ", T - 5, 0xFFFFF80000001000), "PerfInfo/DPC",
     {"InitialTime": T - 5, "Routine": 0xFFFFF80000001000}),
    ("a timer DPC", 0x0F45, 2, struct.pack("<QQ", T - 5, 1), "PerfInfo/TimerDPC",
     {"InitialTime": T - 5, "Routine": 1}),
    ("an interrupt", 0x0F43, 2, struct.pack("<QQBHB", T - 5, 1, 1, 0x91, 0), "PerfInfo/ISR",
     {"InitialTime": T - 5, "Routine": 1, "ReturnValue": 1, "Vector": 0x91, "Reserved": 0}),
    ("a message-signalled interrupt", 0x0F32, 2, struct.pack("<QQBHBI", T - 5, 1, 1, 0x91, 0, 3),
     "PerfInfo/ISR-MSI", {"Vector": 0x91, "Message": 3}),
    (
        "the processors of Windows 8",
        0x0B0A, 3,
        struct.pack("<5I", 2400, 4, 2048, 4096, 65536) + wide("LAB", 256) + wide("lab.example", 134)
        + struct.pack("<QQHHHBBI", 0, 0x7FFFFFEFFFF, 9, 6, 0x3A09, 1, 1, 0),
        "SystemConfig/CPU",
        {"MHz": 2400, "NumberOfProcessors": 4, "ComputerName": "LAB", "DomainName": "lab.example",
         "HyperThreadingFlag": 0, "ProcessorRevision": 0x3A09, "NxEnabled": 1},
    ),
    (
        "a device with a filter below it",
        0x0B16, 5,
        uuid.UUID(int=7).bytes_le + struct.pack("<IIII", 0, 1, 0x0180200A, 0)
        + wide("ACPI\\ACPI0007\\2") + wide("CPU") + wide("") + wide("\\Device\\0000002a") + wide("intelppm")
        + wide("lower"),
        "SystemConfig/PnP",
        {"ClassGuid": str(uuid.UUID(int=7)), "UpperFilterCount": 0, "LowerFilterCount": 1,
         "DevStatus": 0x0180200A, "DevProblem": 0, "DeviceID": "ACPI\\ACPI0007\\2", "DeviceDescription": "CPU",
         "FriendlyName": "", "PdoName": "\\Device\\0000002a", "ServiceName": "intelppm", "UpperFilters": [],
         "LowerFilters": ["lower"]},
    ),
    ("the platform", 0x0B19, 2, wide("QEMU") + wide("Q35") + wide("04/01/2014") + wide("1.16"),
     "SystemConfig/Platform",
     {"SystemManufacturer": "QEMU", "SystemProductName": "Q35", "BiosDate": "04/01/2014", "BiosVersion": "1.16"}),
    ("an idle state", 0x1239, 2, struct.pack("<IHBBQ", 1, 4, 2, 0, 99), "Power/IdleStateEnter",
     {"State": 1, "Properties": 4, "ExpectedWakeReason": 2, "Reserved": 0, "ExpectedDuration": 99}),
    ("a disk read", 0x010A, 3, struct.pack("<IIIIQQQQI", 0, 0x43, 512, 0, 1 << 33, 5, 6, 7, 12), "DiskIo/Read",
     {"DiskNumber": 0, "IrpFlags": 0x43, "TransferSize": 512, "Reserved": 0, "ByteOffset": 1 << 33,
      "FileObject": 5, "Irp": 6, "HighResResponseTime": 7, "IssuingThreadId": 12}),
    ("a file that is opened", 0x0440, 3, struct.pack("<QQIIII", 1, 2, 12, 0x1000020, 0x80, 7) + wide("\\x"),
     "FileIo/Create",
     {"IrpPtr": 1, "FileObject": 2, "TTID": 12, "CreateOptions": 0x1000020, "FileAttributes": 0x80,
      "ShareAccess": 7, "OpenPath": "\\x"}),
    ("a sent TCP segment", 0x060A, 2,
     struct.pack("<II", 8, 100) + bytes([10, 0, 0, 2, 10, 0, 0, 1]) + struct.pack(">HH", 443, 50000)
     + struct.pack("<IIIQ", 1, 2, 3, 4), "TcpIp/Send",
     {"PID": 8, "size": 100, "daddr": "10.0.0.2", "saddr": "10.0.0.1", "dport": 443, "sport": 50000,
      "startime": 1, "endtime": 2, "seqnum": 3, "connid": 4}),
    ("a received IPv6 datagram", 0x081B, 2,
     struct.pack("<II", 8, 9) + bytes(15) + b"\1" + bytes(15) + b"\2" + struct.pack(">HH", 1, 2)
     + struct.pack("<IQ", 3, 4), "UdpIp/RecvIPV6",
     {"PID": 8, "size": 9, "daddr": "::1", "saddr": "::2", "dport": 1, "sport": 2, "seqnum": 3, "connid": 4}),
    ("a stack", 0x1820, 2, struct.pack("<QII3Q", T, 8, 12, 1, 2, 3), "StackWalk/Stack",
     {"EventTimeStamp": T, "StackProcess": 8, "StackThread": 12, "Stack": [1, 2, 3]}),
    ("a kernel message", 0x0A20, 0, struct.pack("<II", 77, 3) + b"hello\n\0", "DbgPrint/Message",
     {"Component": 77, "Level": 3, "Message": "hello\n"}),
    ("the group masks", 0x0020, 2, struct.pack("<9I", 1, 2, 3, 4, 5, 6, 7, 8, 42), "EventTrace/GroupMasksEnd",
     {"GroupMask1": 1, "GroupMask8": 8, "KernelEventVersion": 42}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "hook", "version", "payload", "name", "values"), CASES, ids=[one[0] for one in CASES]
)
def test_a_kernel_event_is_decoded_to_its_last_byte(
    tmp_path: Path, what: str, hook: int, version: int, payload: bytes, name: str, values: dict[str, Any]
) -> None:
    """Each field at its place, by the page of its class; nothing left over."""
    found = decode(tmp_path, encoder.system(T + 1, hook, payload, version=version))
    assert (found.how, f"{found.provider}/{found.event}", found.problem) == ("kernel", name, ""), what
    assert {key: found.values[key] for key in values} == values


def test_pointers_of_a_32_bit_kernel_are_four_bytes(tmp_path: Path) -> None:
    """A DPC of a 32-bit system."""
    payload = struct.pack("<QI", T, 0x80001000)
    found = decode(tmp_path, encoder.perf(T + 1, 0x0F44, payload, header_type=16))
    assert found.values == {"InitialTime": T, "Routine": 0x80001000}
    assert [show(value, field) for value, field in zip(found.values.values(), found.fields, strict=True)] == [
        str(T),
        "0x80001000",
    ]


def test_a_classic_header_may_be_narrower_than_its_payload(tmp_path: Path) -> None:
    """A 32-bit program writes of a 64-bit system: the header says four bytes, the fields have eight."""
    process = uuid.UUID("3d6fa8d0-fe05-11d0-9dda-00c04fd7ba7c")
    payload = struct.pack("<QIIIi", 0, 8, 4, 1, 259) + bytes(16) + SID + b"a.exe\0" + wide("a.exe")
    found = decode(tmp_path, encoder.classic(T + 1, process, 1, payload, header_type=10))
    assert (found.problem, found.values["UserSID"]) == ("", "S-1-5-18")
    assert (found.values["ImageFileName"], found.values["CommandLine"]) == ("a.exe", "a.exe")


def test_what_a_merge_says_of_an_image_is_decoded(tmp_path: Path) -> None:
    """Class ImageID: base, size, process, time stamp, name."""
    image = uuid.UUID("b3e675d7-2554-4f18-830b-2762732560de")
    payload = struct.pack("<QQII", 0x1000, 0x2000, 4, 0x5010ACD2) + wide("hpnotify.sys")
    found = decode(tmp_path, encoder.classic(T + 1, image, 0, payload))
    assert (found.provider, found.event, found.problem) == ("ImageID", "Image", "")
    assert (found.values["OriginalFileName"], found.values["TimeDateStamp"]) == ("hpnotify.sys", 0x5010ACD2)


def test_an_event_without_a_layout_has_a_name_and_says_why_it_is_raw(tmp_path: Path) -> None:
    """A clock event that is only named, a version older than any page, a type that nobody names."""
    wanted = {
        (0x0F57, 2): ("ClockModeSwitch", "no layout for this kernel event"),
        (0x0532, 0): ("ReadyThread", "no layout for this version of the kernel event"),
        (0x05FE, 2): ("0xfe", "no layout for this kernel event"),
    }
    for (hook, version), (name, reason) in wanted.items():
        found = decode(tmp_path, encoder.perf(T + 1, hook, b"....", version=version))
        assert (found.how, found.event, found.reason) == ("raw", name, reason)


def test_every_layout_can_be_made_and_every_row_has_its_own_types() -> None:
    """A mistake in one of the rows must not wait for a log that holds such an event."""
    seen = set()
    for group, types, versions in kernel_events.ROWS:
        for number in types.split()[::2]:
            assert (group, number) not in seen
            seen.add((group, number))
        for written in versions.values():
            made = kernel_events.layout(written)
            assert made.needed + written.count("?") <= len(made.fields) or "?" not in written
            assert len(made.names) == len(set(made.names))
    for _name, events in kernel_events.MERGE_ROWS.values():
        assert all(kernel_events.layout(written).fields for _event, written in events.values())
    assert not kernel_names._names().keys() & kernel_events.NAMES.keys(), "an event has one name"
    assert {guid.text(one) for one, group in classic.CLASSES.items() if group == 5} == {
        "3d6fa8d1-fe05-11d0-9dda-00c04fd7ba7c"
    }
