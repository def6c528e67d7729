# SPDX-License-Identifier: MIT
"""A disk as Windows leaves it, made with mkntfs and ntfs-3g: GPT, a small EFI partition, and NTFS in the largest one."""

from __future__ import annotations

import struct
import subprocess
import uuid
import zlib
from pathlib import Path

BLOCK = 512
EFI = uuid.UUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
BASIC_DATA = uuid.UUID("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7")
MIB = 1 << 20
VOLUME = 8 * MIB
"""Where the volume begins."""


def table(size: int, partitions: list[tuple[uuid.UUID, int, int]]) -> tuple[bytes, bytes]:
    """Return a GPT header and its entries: type, first and last block of each partition."""
    entries = b"".join(
        kind.bytes_le + uuid.uuid4().bytes_le + struct.pack("<QQQ72s", first, last, 0, b"")
        for kind, first, last in partitions
    ).ljust(128 * 128, b"\0")
    header = struct.pack(
        "<8sIIIIQQQQ16sQIII",
        b"EFI PART", 0x10000, 92, 0, 0, 1, size // BLOCK - 1, 34, size // BLOCK - 34, bytes(16), 2, 128, 128,
        zlib.crc32(entries),
    )  # fmt: skip
    return header[:16] + struct.pack("<I", zlib.crc32(header)) + header[20:], entries


def make_disk(folder: Path, files: dict[str, bytes], *, size: int = 48 * MIB) -> Path:
    """Make a qcow2 image with these files in its volume of Windows."""
    volume = folder / "volume.ntfs"
    with volume.open("wb") as file:
        file.truncate(size - VOLUME - MIB)
    run("mkntfs", "--force", "--quiet", "--fast", str(volume))
    place = folder / "mounted"
    place.mkdir()
    run("ntfs-3g", "-o", "streams_interface=none", str(volume), str(place))
    try:
        for path, content in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(content)
    finally:
        run("fusermount3", "-u", str(place))
    disk = folder / "disk.raw"
    header, entries = table(
        size,
        [
            (EFI, 2048, 4095),
            (BASIC_DATA, 4096, 4100),
            (BASIC_DATA, VOLUME // BLOCK, (size - MIB) // BLOCK - 1),
        ],
    )
    with disk.open("wb") as file:
        file.truncate(size)
        file.seek(BLOCK)
        file.write(header.ljust(BLOCK, b"\0") + entries)
        file.seek(VOLUME)
        file.write(volume.read_bytes())
    image = folder / "disk.qcow2"
    run("qemu-img", "convert", "-O", "qcow2", str(disk), str(image))
    disk.unlink()
    volume.unlink()
    return image


def run(*command: str) -> None:
    """Run a tool to its end."""
    subprocess.run(command, check=True, capture_output=True, timeout=60)
