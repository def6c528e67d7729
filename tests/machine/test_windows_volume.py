# SPDX-License-Identifier: MIT
"""A guest's disk read from outside: a real NTFS volume in a real qcow2 image, and tables that lie."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from ntfs import BASIC_DATA, BLOCK, EFI, make_disk, table
from part_markers import needs

from harness.deadline import Deadline
from harness.errors import GuestRefused, InfrastructureError
from harness.machine.gpt import Partition, windows_partition
from harness.machine.windows_volume import open_volume

CONTENT = {
    "Windows/INF/setupapi.dev.log": b"[Device Install Log]\r\n" * 1000,
    "Windows/System32/winevt/Logs/System.evtx": b"ElfFile\0" + bytes(range(256)) * 4096,
    "Windows/Minidump/112126-1.dmp": b"PAGEDU64",
    "Windows/Minidump/a$(id)'b.dmp": b"PAGEDU64",
}


@pytest.fixture(scope="module")
@needs("ntfs")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image, made once."""
    return make_disk(tmp_path_factory.mktemp("ntfs"), CONTENT)


@pytest.mark.ntfs
def test_files_come_off_the_disk_whole(disk: Path, tmp_path: Path) -> None:
    """However their paths are spelled; and what was made for that is gone afterwards."""
    with open_volume(disk, tmp_path, Deadline(30, "read the disk")) as volume:
        for number, (path, content) in enumerate(CONTENT.items()):
            target = tmp_path / f"{number}"
            size = volume.read(path.upper(), target, Deadline(30, "read"), limit=1 << 24)
            assert (len(content), content) == (size, target.read_bytes())
        assert {"112126-1.dmp", "a$(id)'b.dmp"} == set(volume.names("windows/minidump", Deadline(30, "list")))
    assert {"0", "1", "2", "3"} == {each.name for each in tmp_path.iterdir()}


@pytest.mark.ntfs
def test_what_is_not_there_or_too_large_is_refused(disk: Path, tmp_path: Path) -> None:
    """And leaves no half a file."""
    with open_volume(disk, tmp_path, Deadline(30, "read the disk")) as volume:
        with pytest.raises(GuestRefused, match=r"the guest's disk has no Windows/MEMORY.DMP"):
            volume.read("Windows/MEMORY.DMP", tmp_path / "a", Deadline(30, "read"), limit=1)
        with pytest.raises(GuestRefused, match="more than 1000 bytes"):
            volume.read("Windows/INF/setupapi.dev.log", tmp_path / "a", Deadline(30, "read"), limit=1000)
        with pytest.raises(GuestRefused):
            volume.read("Windows/INF", tmp_path / "a", Deadline(30, "read"), limit=1000)
    assert not (tmp_path / "a").exists()


@pytest.mark.ntfs
def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    """In the words of the one who looked at it."""
    image = tmp_path / "image.qcow2"
    image.write_bytes(b"not a disk")
    (tmp_path / "work").mkdir()
    with (
        pytest.raises(InfrastructureError, match="cannot be shown"),
        open_volume(image, tmp_path / "work", Deadline(30, "read the disk")),
    ):
        pass


def partition_of(disk: bytes) -> Partition:
    """The partition in the bytes of a disk."""
    return windows_partition(io.BytesIO(disk), len(disk))


def with_table(size: int, *partitions: tuple[int, int], kind: object = BASIC_DATA) -> bytes:
    """A disk with these partitions."""
    header, entries = table(size, [(kind, first, last) for first, last in partitions])  # type: ignore[misc]
    return (bytes(BLOCK) + header.ljust(BLOCK, b"\0") + entries).ljust(size, b"\0")


def test_the_largest_volume_is_that_of_windows() -> None:
    """A recovery partition is smaller; the EFI partition is of another type."""
    assert Partition(offset=200 * BLOCK, size=100 * BLOCK) == partition_of(
        with_table(1 << 18, (100, 150), (200, 299))
    )
    with pytest.raises(GuestRefused, match="no partition with a volume"):
        partition_of(with_table(1 << 18, (100, 150), kind=EFI))


@pytest.mark.parametrize("span", [(300, 200), (100, 1 << 40), (0, 2**64 - 1)])
def test_a_partition_beyond_the_disk_is_none(span: tuple[int, int]) -> None:
    """The table is a guest's."""
    with pytest.raises(GuestRefused, match="no partition with a volume"):
        partition_of(with_table(1 << 18, span))


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 91), st.binary(min_size=1, max_size=8))
def test_a_damaged_table_is_refused_or_read(at: int, damage: bytes) -> None:
    """Nothing else comes of one, and nothing outside the disk."""
    disk = bytearray(with_table(1 << 17, (100, 150)))
    disk[BLOCK + at : BLOCK + at + len(damage)] = damage
    try:
        found = partition_of(bytes(disk))
    except GuestRefused:
        found = Partition(offset=0, size=1)
    assert 0 <= found.offset < found.offset + found.size <= len(disk)


@settings(max_examples=examples(20), deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_are_no_table(disk: bytes) -> None:
    """Without the signature there is none."""
    with pytest.raises(GuestRefused):
        partition_of(disk)


def test_a_table_of_endless_length_is_refused() -> None:
    """The number of entries is the guest's word, too."""
    disk = bytearray(with_table(1 << 17, (100, 150)))
    struct.pack_into("<I", disk, BLOCK + 80, 0xFFFFFFFF)
    with pytest.raises(GuestRefused, match="is invalid"):
        partition_of(bytes(disk))
