# SPDX-License-Identifier: MIT
"""What a Windows guest hands over: what it answers with, each thing for itself, and what is left when it does not."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import msgspec
import pytest
from guest.windows.conftest import MakeGuest, ScriptedWindows, panicked
from ntfs import make_disk

from harness.deadline import Deadline
from harness.guest.guest import CollectedFile
from harness.guest.windows import collection, crash_collection
from harness.guest.windows.guest import WindowsGuest
from harness.guest.windows.trace import AT_BOOT
from harness.machine.attachments import Disk
from harness.machine.qemu.machine import QemuMachine

pytestmark = [pytest.mark.remote, pytest.mark.qemu]

TRACE = b"a trace" * 1000


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """Where things are collected."""
    folder = tmp_path / "run" / "guest"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def traced(windows: ScriptedWindows) -> ScriptedWindows:
    """A Windows that has written a trace and crashed twice."""
    trace = windows.file(AT_BOOT)
    trace.parent.mkdir(parents=True)
    trace.write_bytes(TRACE)
    windows.change(
        minidumps={"112126-1.dmp": "one", "a b\n.dmp": "two"}, ring=['{"k":"hello"}', '{"k":"mark"}']
    )
    return windows


def by_name(found: list[CollectedFile]) -> dict[str, CollectedFile]:
    """By the harness's own words."""
    return {one.name: one for one in found}


def test_everything_is_fetched_and_checked(
    traced: ScriptedWindows, guest: WindowsGuest, into: Path, within: Deadline
) -> None:
    """Each into a file that the harness names, with its SHA-256; channels say that they are some."""
    guest.load_driver(within)
    found = guest.collect(into, within)
    named = by_name(found)
    assert {"trace": "etw", "ring": "ring", "events": "", "setup": "", "minidump": ""} == {
        name: one.channel for name, one in named.items()
    }
    for one in found:
        if one.file is not None:
            assert (one.size, one.sha256) == (
                one.file.stat().st_size,
                hashlib.sha256(one.file.read_bytes()).hexdigest(),
            )
    assert TRACE == (into / "hpnotify.etl").read_bytes()
    assert "0 events and 0 buffers lost" in named["trace"].note
    assert not traced.model["trace"]
    assert [None] == [one.file for one in found if one.refused]
    assert {"hpnotify.etl", "ring.jsonl", "System.evtx", "setupapi.dev.log", "minidumps"} == {
        each.name for each in into.iterdir()
    }
    assert ["0000"] == [each.name for each in (into / "minidumps").iterdir()]


def test_a_ring_is_read_before_its_driver_goes(
    traced: ScriptedWindows, guest: WindowsGuest, into: Path, within: Deadline
) -> None:
    """Its records are in the driver's memory: with the driver they would be gone."""
    guest.load_driver(within)
    guest.unload_driver(within)
    found = by_name(guest.collect(into, within))
    assert '{"k":"hello"}\n{"k":"mark"}\n' == (into / "ring.jsonl").read_text()
    assert "ring" == found["ring"].channel


def test_what_cannot_be_had_costs_nothing_else(
    traced: ScriptedWindows,
    guest: WindowsGuest,
    into: Path,
    within: Deadline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A trace that does not run, a log that is too large, a script that breaks off."""
    traced.change(
        trace=False,
        answers={"export": {"code": 5, "said": "Access is denied.", "minidumps": 0, "dump": 1 << 40}},
    )
    monkeypatch.setitem(collection.LIMITS, "trace", 10)
    found = by_name(guest.collect(into, within))
    assert "more than the 10 that may be copied" in found["trace"].refused
    assert "wevtutil: exit code 5: Access is denied." == found["events"].refused
    assert "more than 1073741824" in found["dump"].refused
    assert "setup" in found


def test_a_missing_log_and_a_ring_that_is_not_read_are_told(
    traced: ScriptedWindows, guest: WindowsGuest, into: Path, within: Deadline
) -> None:
    """In the guest's words, and the System event log comes all the same."""
    guest.load_driver(within)
    traced.change(
        answers={
            "export": {
                "code": 0,
                "said": "",
                "setup": "Could not find file 'setupapi.dev.log'.",
                "minidumps": 0,
                "dump": 0,
            },
            "ring": {"step": "events", "code": 69, "said": "hpnctl: cannot open the device"},
        }
    )
    windows = traced.file("C:\\ProgramData\\hotplug-harness\\collected\\System.evtx")
    windows.parent.mkdir(parents=True, exist_ok=True)
    windows.write_bytes(b"ElfFile")
    found = by_name(guest.collect(into, within))
    assert "Could not find file 'setupapi.dev.log'." == found["setup"].refused
    assert found["ring"].refused.endswith("hpnctl: exit code 69: hpnctl: cannot open the device")
    assert b"ElfFile" == (into / "System.evtx").read_bytes()


def test_a_guest_that_does_not_answer_is_looked_at_from_outside(
    make_guest: MakeGuest,
    windows: ScriptedWindows,
    machine: QemuMachine,
    into: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An NMI, a picture, and that there is no disk to read."""
    monkeypatch.setattr(crash_collection, "STILL", 0.3)
    guest = make_guest()
    windows.double.stop()
    found = by_name(guest.collect(into, Deadline(8, "collect")))
    assert "does not answer" in found["guest"].refused or "not done within" in found["guest"].refused
    assert b"\x89PNG" == (into / "screen-after-nmi.png").read_bytes()[:4]
    assert "the machine has no disk" in found["disk"].refused
    nmi = [line for line in (tmp_path / "history.jsonl").read_text().splitlines() if '"inject-nmi"' in line]
    assert 1 == len(nmi)


def test_a_guest_that_told_of_a_bug_check_gets_no_nmi(
    make_guest: MakeGuest,
    windows: ScriptedWindows,
    machine: QemuMachine,
    into: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It writes its dump already: it is left alone until its disk comes to rest."""
    monkeypatch.setattr(crash_collection, "STILL", 0.3)
    guest = make_guest()
    windows.double.stop()
    machine._log.passed("in", panicked(0xD1, 1, 2, 3, 4), 0)
    found = by_name(guest.collect(into, Deadline(8, "collect")))
    assert "nmi" not in found
    words = "bug check 0xd1 DRIVER_IRQL_NOT_LESS_OR_EQUAL (0x1, 0x2, 0x3, 0x4), and the disk came to rest"
    assert words == found["bug check"].note
    assert b"\x89PNG" == (into / "screen-after-bug-check.png").read_bytes()[:4]
    assert "inject-nmi" not in (tmp_path / "history.jsonl").read_text()


@pytest.mark.ntfs
def test_the_disk_of_a_guest_that_hangs_is_read(machine: QemuMachine, into: Path, tmp_path: Path) -> None:
    """While QEMU still holds it, stopped: the trace is a channel, the dumps have numbers for names."""
    image = make_disk(
        tmp_path,
        {
            "Windows/System32/LogFiles/WMI/HotplugHarness.etl": TRACE,
            "Windows/Minidump/x.dmp": b"PAGEDU64",
            "Windows/Minidump/notes.txt": b"no dump",
            "Windows/INF/setupapi.dev.log": b"log",
        },
    )
    machine.spec = msgspec.structs.replace(machine.spec, disks=(Disk(file=image),), screen=False)
    within = Deadline(30, "collect")
    machine.execute(
        "blockdev-add",
        within,
        **{"driver": "qcow2", "node-name": "held", "file": {"driver": "file", "filename": str(image)}},
    )
    found = by_name(crash_collection.CrashCollection(machine).take(into, Deadline(30, "collect")))
    assert ("etw", TRACE) == (found["trace"].channel, (into / "hpnotify.etl").read_bytes())
    assert b"PAGEDU64" == (into / "minidumps" / "0000").read_bytes()
    assert ["0000"] == [each.name for each in (into / "minidumps").iterdir()]
    assert (
        "the guest's disk has no hotplug-harness-dump.sys; the guest's disk has no Windows/MEMORY.DMP"
        == found["dump"].refused
    )


def dump(*, kind: int, size: int) -> bytes:
    """The header of a dump after bug check 0x80, as Microsoft's debuggers lay it out."""
    header = bytearray(b"PAGE" * 2048)
    header[:8] = b"PAGEDU64"
    struct.pack_into("<II", header, 8, 15, 20348)
    struct.pack_into("<II", header, 0x34, 2, 0x80)
    struct.pack_into("<4Q", header, 0x40, 0x4F4454, 0, 0, 0)
    struct.pack_into("<I4xQ", header, 0xF98, kind, size)
    return bytes(header)


@pytest.mark.ntfs
@pytest.mark.parametrize(
    ("files", "size", "note"),
    [
        (
            {"hotplug-harness-dump.sys": dump(kind=2, size=50_000) + bytes(100_000)},
            50_000,
            "bug check 0x80 NMI_HARDWARE_FAILURE (0x4f4454, 0x0, 0x0, 0x0), build 20348, kernel dump",
        ),
        (
            {
                "hotplug-harness-dump.sys": bytes(100_000),
                "Windows/MEMORY.DMP": dump(kind=5, size=20_000) + bytes(11_808),
            },
            20_000,
            "bug check 0x80 NMI_HARDWARE_FAILURE (0x4f4454, 0x0, 0x0, 0x0), build 20348, full, by a bitmap dump, of a crash before the last start",
        ),
        ({"hotplug-harness-dump.sys": bytes(100_000)}, 0, "no dump was written"),
        ({"hotplug-harness-dump.sys": dump(kind=2, size=0)[:5000]}, 0, "cut in its header: 5000 of 8192"),
        ({"hotplug-harness-dump.sys": dump(kind=2, size=1 << 40)}, 0, "1099511627776 bytes, more than"),
    ],
)
def test_the_dump_of_the_crash_comes_off_the_disk(
    files: dict[str, bytes], size: int, note: str, machine: QemuMachine, into: Path, tmp_path: Path
) -> None:
    """The file is as large as it was made; of it the dump is taken, with what its header tells."""
    machine.spec = msgspec.structs.replace(
        machine.spec, disks=(Disk(file=make_disk(tmp_path, files)),), screen=False
    )
    found = by_name(crash_collection.CrashCollection(machine).take(into, Deadline(30, "collect")))["dump"]
    if size:
        assert (size, note) == (found.size, found.note)
        whole = next(content for content in reversed(files.values()) if content.startswith(b"PAGEDU64"))
        assert whole[:size] == (into / "MEMORY.DMP").read_bytes()
    else:
        assert note in found.refused
        assert not (into / "MEMORY.DMP").exists()
