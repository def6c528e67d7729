# SPDX-License-Identifier: MIT
"""The look at a built driver file, on the cross-built driver where its compiler is installed, and on damaged ones."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.guest.driver_image import check_bytes, check_driver

CROSS = Path(__file__).parents[2] / "guest_drivers" / "hpnotify" / "cross"
needs_compiler = pytest.mark.skipif(
    shutil.which("x86_64-w64-mingw32-gcc") is None, reason="needs gcc-mingw-w64-x86-64"
)
"""Goes with the marker wine: what is built is there to be loaded by Wine, and building takes its time."""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hpnotify.sys, built without the WDK."""
    folder = tmp_path_factory.mktemp("cross")
    subprocess.run(["make", "-s", "-j2", "-C", str(CROSS), f"OUT={folder}"], check=True)
    return folder / "hpnotify.sys"


def small(
    *, subsystem: int = 1, flags: int = 0x60000020, characteristics: int = 0x160, machine: int = 0x8664
) -> bytes:
    """A driver in miniature: one section that holds its imports, relocations and unwind information."""
    imports = bytearray(0x200)
    struct.pack_into("<IIIII", imports, 0, 0x1100, 0, 0, 0x1140, 0x1100)
    struct.pack_into("<Q", imports, 0x100, 0x1160)
    imports[0x140:0x14D] = b"ntoskrnl.exe\0"
    imports[0x162:0x169] = b"ZwClose"
    directories = [(0, 0), (0x1000, 40), (0, 0), (0x1000, 12), (0, 0), (0x1000, 8), *[(0, 0)] * 10]
    optional = bytearray(112) + b"".join(struct.pack("<II", *pair) for pair in directories)
    struct.pack_into("<H", optional, 0, 0x20B)
    struct.pack_into("<HH", optional, 68, subsystem, characteristics)
    struct.pack_into("<I", optional, 108, 16)
    header = struct.pack("<IHHIIIHH", 0x4550, machine, 1, 0, 0, 0, len(optional), 0x22)
    section = struct.pack("<8sIIIIIIHHI", b".text", 0x200, 0x1000, 0x200, 0x200, 0, 0, 0, 0, flags)
    image = bytearray(b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + header + optional + section)
    image = image.ljust(0x200, b"\0") + imports
    total = sum(struct.unpack(f"<{len(image) // 2}H", image))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("<I", image, 0x40 + 24 + 64, total + len(image))
    return bytes(image)


def test_nothing_is_wrong_with_the_miniature() -> None:
    """The miniature that the other tests damage has no finding of its own."""
    seen = check_bytes(small())
    assert ([], {"ntoskrnl.exe": ["ZwClose"]}, False) == (seen.findings, seen.imports, seen.signed)


@pytest.mark.parametrize(
    ("image", "finding"),
    [
        (small(subsystem=3), "its subsystem is 3"),
        (small(flags=0xE0000020), "section .text can be written and executed"),
        (small(characteristics=0x100), "no DYNAMIC_BASE"),
        (small(characteristics=0x40), "not marked NX compatible"),
        (small(machine=0x14C), "not for x64"),
        (small()[:-1], "checksum"),
        (small().replace(b"ntoskrnl.exe", b"evilkrnl.exe"), "it imports from 'evilkrnl.exe'"),
        (b"", "does not begin with MZ"),
        (b"MZ", "the file ends"),
    ],
    ids=["subsystem", "writable code", "fixed", "nx", "machine", "cut", "library", "empty", "stub"],
)
def test_findings(image: bytes, finding: str) -> None:
    """Each defect is named."""
    assert any(finding in said for said in check_bytes(image).findings)


@pytest.mark.parametrize(("directory", "finding"), [(3, ".pdata"), (5, ".reloc")])
def test_missing_tables(directory: int, finding: str) -> None:
    """A driver without unwind information or relocations looks fine otherwise, and is told apart."""
    image = bytearray(small())
    struct.pack_into("<II", image, 0x40 + 24 + 112 + 8 * directory, 0, 0)
    assert any(finding in said for said in check_bytes(bytes(image)).findings)


@given(st.binary(max_size=600))
def test_any_bytes(data: bytes) -> None:
    """Arbitrary bytes are never taken for a driver and never do harm."""
    assert check_bytes(data).findings


@settings(max_examples=300)
@given(st.integers(0, len(small()) - 1), st.integers(0, 0xFFFFFFFF))
def test_any_damage(at: int, value: int) -> None:
    """Four changed bytes anywhere are found by the checksum at the latest, and do no harm."""
    image = bytearray(small())
    before = bytes(image)
    image[at : at + 4] = struct.pack("<I", value)[: len(image) - at]
    if bytes(image) != before:
        words = struct.unpack(f"<{len(before) // 2}H", before)
        changed = struct.unpack(f"<{len(image) // 2}H", bytes(image))
        same_sum = sum(words) % 0xFFFF == sum(changed) % 0xFFFF
        assert same_sum or check_bytes(bytes(image)).findings


def test_no_file(tmp_path: Path) -> None:
    """What is not there, or is a directory, is a usage error."""
    for path in (tmp_path, tmp_path / "none.sys"):
        with pytest.raises(UsageError):
            check_driver(path)


@pytest.mark.wine
@needs_compiler
def test_cross_built_driver(built: Path) -> None:
    """The driver built here has no finding but its missing signature, and imports what it should."""
    seen = check_driver(built)
    assert [] == seen.findings
    assert ["it carries no signature"] == check_driver(built, signature=True).findings
    assert {
        "wdfldr.sys": ["WdfVersionBind", "WdfVersionUnbind"],
        "hal.dll": ["KeQueryPerformanceCounter"],
    } == {library: names for library, names in seen.imports.items() if library != "ntoskrnl.exe"}
    assert {"KeRegisterProcessorChangeCallback", "IoUnregisterPlugPlayNotificationEx", "EtwWrite"} <= set(
        seen.imports["ntoskrnl.exe"]
    )


@pytest.mark.wine
@needs_compiler
def test_cross_build_is_reproducible(built: Path, tmp_path: Path) -> None:
    """Built again elsewhere, from a copy of the sources, the file has the same bytes."""
    shutil.copytree(CROSS.parent, tmp_path / "copy")
    subprocess.run(
        ["make", "-s", "-j2", "-C", str(tmp_path / "copy" / "cross"), f"OUT={tmp_path / 'out'}"], check=True
    )
    assert built.read_bytes() == (tmp_path / "out" / "hpnotify.sys").read_bytes()
