# SPDX-License-Identifier: MIT
"""The GPT partition table of a disk with Windows, as far as needed to find the volume with Windows.

UEFI 2.10, 5.3: a header in block 1, and an array of entries at the place that it names.
"""

from __future__ import annotations

import struct
import uuid
from typing import BinaryIO

import msgspec

from harness.errors import GuestRefused

BLOCK = 512
SIGNATURE = b"EFI PART"
MOST_ENTRIES = 1024
ENTRY_SIZES = (128, 256, 512)
BASIC_DATA = uuid.UUID("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7").bytes_le
"""The type of a partition with a volume of Windows (UEFI 2.10, table 5.7 and Microsoft Learn: PARTITION_INFORMATION_GPT)."""

EFI_SYSTEM = uuid.UUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B").bytes_le
"""The type of the EFI system partition (UEFI 2.10, table 5.7)."""

_HEADER = struct.Struct("<8sIIIIQQQQ16sQII")


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes ``offset`` to ``offset + size`` of the disk."""

    offset: int
    size: int


def windows_partition(disk: BinaryIO, size: int) -> Partition:
    """Return the largest partition of basic data on a disk of ``size`` bytes. Raises GuestRefused if there is none."""
    found = [each for kind, each in _partitions(disk, size) if kind == BASIC_DATA]
    if not found:
        raise GuestRefused("the guest's disk has no partition with a volume of Windows")
    return max(found, key=lambda one: one.size)


def check_efi_partition(disk: BinaryIO, size: int) -> None:
    """Raise GuestRefused if a disk of ``size`` bytes has no EFI system partition, from which UEFI firmware starts."""
    if not any(kind == EFI_SYSTEM for kind, _ in _partitions(disk, size)):
        raise GuestRefused("the guest's disk has no EFI system partition")


def _partitions(disk: BinaryIO, size: int) -> list[tuple[bytes, Partition]]:
    """Return the partitions on the disk, each with the GUID of its type. Raises GuestRefused without a table."""
    disk.seek(BLOCK)
    head = disk.read(_HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(SIGNATURE):
        raise GuestRefused("the guest's disk has no partition table (GPT)")
    fields = _HEADER.unpack(head)
    array, count, length = fields[10:13]
    if count > MOST_ENTRIES or length not in ENTRY_SIZES or array * BLOCK + count * length > size:
        raise GuestRefused("the partition table of the guest's disk is invalid")
    disk.seek(array * BLOCK)
    entries = disk.read(count * length)
    found = []
    for at in range(0, len(entries) - length + 1, length):
        kind, first, last = struct.unpack_from("<16s16xQQ", entries, at)
        if first <= last and (last + 1) * BLOCK <= size:
            found.append((kind, Partition(offset=first * BLOCK, size=(last - first + 1) * BLOCK)))
    return found
