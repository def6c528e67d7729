# SPDX-License-Identifier: MIT
"""Disks that the lab already has: a disk with Windows is told from all else before it boots, and stays as it is."""

from __future__ import annotations

import contextlib
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ntfs import BASIC_DATA, BLOCK, EFI, MIB, VOLUME, make_disk, table
from part_markers import needs

from harness.errors import InfrastructureError, UsageError
from harness.template.adopted_disk import AdoptedDisk, look_at


def kernel(machine: int) -> bytes:
    """The beginning of a PE file for a machine type (Microsoft Learn: "PE Format")."""
    return b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H", machine) + bytes(4096)


def windows(folder: Path, machine: int = 0x8664) -> Path:
    """A disk as one with Windows looks."""
    folder.mkdir()
    return make_disk(folder, {"Windows/System32/ntoskrnl.exe": kernel(machine)})


@pytest.fixture(scope="module")
@needs("ntfs")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk in qcow2, made once."""
    return windows(tmp_path_factory.mktemp("adopted") / "disk")


def converted(disk: Path, into: Path, kind: str) -> Path:
    """The disk in another format."""
    subprocess.run(["qemu-img", "convert", "-O", kind, disk, into], check=True)
    return into


def bare(path: Path, *, start: bytes = b"", kinds: tuple[object, ...] = (EFI, BASIC_DATA)) -> Path:
    """A raw disk with a partition table, and ``start`` at the beginning of its large volume."""
    size = 16 * MIB
    rows = [(kind, 2048, 4095) if kind is EFI else (kind, VOLUME // BLOCK, 30000) for kind in kinds]
    header, entries = table(size, rows)  # type: ignore[arg-type]
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(BLOCK)
        file.write(header.ljust(BLOCK, b"\0") + entries)
        file.seek(VOLUME)
        file.write(start)
    return path


@pytest.mark.ntfs
@pytest.mark.parametrize("kind", ["qcow2", "raw", "vhdx", "vmdk"])
def test_a_disk_with_windows_is_taken_in_any_format(disk: Path, tmp_path: Path, kind: str) -> None:
    """Its format is found, and its bytes do not change by being looked at."""
    file = converted(disk, tmp_path / f"windows.{kind}", kind)
    before = file.read_bytes()
    found = look_at(file)
    assert (file, kind) == (found.file, found.format)
    assert 48 * MIB <= found.size < 49 * MIB
    assert before == file.read_bytes()


@pytest.mark.ntfs
def test_a_windows_for_another_processor_is_refused(tmp_path: Path) -> None:
    """By its kernel's file; so is a volume without one."""
    with pytest.raises(UsageError, match="its Windows is for ARM64"):
        look_at(windows(tmp_path / "arm", 0xAA64))
    (tmp_path / "data").mkdir()
    with pytest.raises(UsageError, match="there is no Windows on it"):
        look_at(make_disk(tmp_path / "data", {"data.txt": b"x"}))


@contextlib.contextmanager
def opened(disk: Path) -> Iterator[None]:
    """Have QEMU's own tool hold the disk for writing."""
    with subprocess.Popen(
        ["qemu-io", "-f", "qcow2", str(disk)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as tool:
        assert tool.stdin is not None
        assert tool.stdout is not None
        tool.stdin.write(b"length\n")
        tool.stdin.flush()
        # It has answered, so it has opened the disk.
        tool.stdout.readline()
        yield
        tool.stdin.write(b"quit\n")


@pytest.mark.ntfs
def test_a_disk_in_use_is_refused(disk: Path) -> None:
    """A machine may be writing to it; afterwards it is taken."""
    with opened(disk), pytest.raises(InfrastructureError, match="is in use"):
        look_at(disk)
    assert isinstance(look_at(disk), AdoptedDisk)


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("start", "kinds", "says"),
    [
        (b"\xeb\x58\x90-FVE-FS-", (EFI, BASIC_DATA), "encrypted with BitLocker"),
        (b"\xeb\x58\x90mkfs.fat", (EFI, BASIC_DATA), "the largest volume is not NTFS"),
        (b"\xeb\x52\x90NTFS    ", (BASIC_DATA,), "no EFI system partition"),
        (b"", (EFI,), "no partition with a volume of Windows"),
    ],
)
def test_a_disk_that_cannot_start_windows_is_refused(
    tmp_path: Path, start: bytes, kinds: tuple[object, ...], says: str
) -> None:
    """Each with what it is."""
    with pytest.raises(UsageError, match=says) as caught:
        look_at(bare(tmp_path / "disk.raw", start=start, kinds=kinds))
    assert caught.value.hint


@pytest.mark.qemu
def test_what_is_no_disk_is_refused(tmp_path: Path) -> None:
    """No file, a folder, a BIOS disk, an empty file, text, and a format that is not one of QEMU's for machines."""
    mbr = tmp_path / "mbr.raw"
    mbr.write_bytes(bytes(510) + b"\x55\xaa" + bytes(MIB))
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("not a disk\n" * 100)
    other = tmp_path / "other.img"
    subprocess.run(["qemu-img", "create", "-q", "-f", "parallels", other, "1M"], check=True)
    for file, says in (
        (tmp_path / "nosuch", "no such file"),
        (tmp_path, "not a file"),
        (mbr, "MBR partition table"),
        (tmp_path / "empty", "no partition table"),
        (tmp_path / "text", "no partition table"),
        (other, "format parallels"),
    ):
        with pytest.raises(UsageError, match=says):
            look_at(file)


@pytest.mark.ntfs
def test_a_look_at_a_disk_leaves_nothing_behind(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a mount nor a file."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    look_at(disk)
    assert [] == list(tmp_path.iterdir())
