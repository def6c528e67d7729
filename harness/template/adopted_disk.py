# SPDX-License-Identifier: MIT
"""A disk with a Windows that the lab already has: the facts that can be read before it boots. Nothing is written to it.

qemu-img reads it in any format that QEMU supports. It takes the image's lock, so a disk that a machine writes to is refused.
The guest boots on an overlay, so the disk does not change.
"""

from __future__ import annotations

import io
import re
import struct
import tempfile
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.errors import GuestRefused, HarnessError, InfrastructureError, UsageError
from harness.machine.disk_image import qemu_img
from harness.machine.gpt import BLOCK, Partition, check_efi_partition, windows_partition
from harness.machine.windows_volume import missing, open_volume

FORMATS = ("qcow2", "raw", "vhdx", "vpc", "vmdk", "vdi")
"""The formats of QEMU that a disk may have (QEMU: docs/system/images)."""

READ = 120.0
"""Seconds for one read of the disk."""

HEAD = 64 << 10
"""Bytes at the start of the disk that hold both kinds of partition table."""

MBR_SIGNATURE = b"\x55\xaa"
BITLOCKER = b"-FVE-FS-"
"""The signature of an encrypted volume, at byte 3, where NTFS has its own name (libbde: "BitLocker Drive Encryption (BDE)
format specification", volume header)."""

NTFS = b"NTFS    "
KERNEL = "Windows/System32/ntoskrnl.exe"
AMD64 = 0x8664
MACHINES = {AMD64: "x64", 0xAA64: "ARM64", 0x014C: "x86"}
"""Machine types of a PE file (Microsoft Learn: "PE Format")."""

_FOUND = re.compile(r"[a-z0-9]{1,20}")


class AdoptedDisk(msgspec.Struct, frozen=True, kw_only=True):
    """The disk: its file, its format by QEMU's name, and its size in bytes as the guest sees it."""

    file: Path
    format: str
    size: int


class _Info(msgspec.Struct, frozen=True):
    """qemu-img's description of an image (QEMU: qapi/block-core.json, ImageInfo)."""

    format: str
    virtual_size: int = msgspec.field(name="virtual-size")
    encrypted: bool = False


def look_at(file: Path) -> AdoptedDisk:
    """Read a disk's properties. Raises UsageError for one that cannot become a template, with the reason and what to do.

    Raises InfrastructureError if it is in use or cannot be read, MissingPart without qemu-img.
    """
    disk = _describe(file)
    with tempfile.TemporaryDirectory(prefix="harness-adopt-") as folder:
        head = _read(disk, 0, HEAD, Path(folder))
        partition = _partition(disk, head)
        start = _read(disk, partition.offset, BLOCK, Path(folder))
        if start[3:11] == BITLOCKER:
            raise UsageError(
                f"{file}: the volume with Windows is encrypted with BitLocker",
                hint="Decrypt it in the guest (manage-bde -off C:), shut Windows down, and adopt the disk then.",
            )
        if start[3:11] != NTFS:
            raise UsageError(
                f"{file}: the largest volume is not NTFS, so this is not a disk with Windows",
                hint="Give the disk that Windows starts from.",
            )
        if not missing():
            _check_kernel(disk, Path(folder))
    return disk


def _describe(file: Path) -> AdoptedDisk:
    if not file.is_file():
        raise UsageError(
            f"{file}: {'not a file' if file.exists() else 'no such file'}",
            hint=f"Give the image of the disk that Windows starts from: {', '.join(FORMATS)}.",
        )
    file = file.absolute()
    try:
        said = qemu_img(
            ["info", "--output=json", str(file)], Deadline(READ, f"look at {file.name}"), folder=file.parent
        )
    except InfrastructureError as error:
        if "lock" in error.message:
            raise InfrastructureError(
                f"{file} is in use: {error.message.rpartition(': ')[2]}",
                hint="Shut down the machine that uses it, or give a copy.",
            ) from error
        raise UsageError(f"{file} cannot be read as a disk image: {error.message}") from error
    try:
        info = msgspec.json.decode(said, type=_Info)
    except msgspec.DecodeError as error:
        raise InfrastructureError(f"qemu-img's description of {file} is invalid: {error}") from error
    if info.format not in FORMATS:
        shown = info.format if _FOUND.fullmatch(info.format) else "unknown"
        raise UsageError(
            f"{file} is an image of the format {shown}, which is not one of {', '.join(FORMATS)}",
            hint=f"Convert it first: qemu-img convert -O qcow2 {file.name} windows.qcow2",
        )
    if info.encrypted:
        raise UsageError(f"{file} is an encrypted image", hint="Convert it to one that is not encrypted.")
    return AdoptedDisk(file=file, format=info.format, size=info.virtual_size)


def _read(disk: AdoptedDisk, offset: int, length: int, folder: Path) -> bytes:
    """Return bytes of the disk as the guest sees it, from ``offset``, a multiple of 512."""
    target = folder / "piece"
    qemu_img(
        [
            "dd", "-f", disk.format, "-O", "raw", f"bs={BLOCK}", f"skip={offset // BLOCK}", f"count={(offset + length) // BLOCK}",
            f"if={disk.file}", f"of={target}",
        ],
        Deadline(READ, f"read {disk.file.name}"),
        folder=folder,
    )  # fmt: skip
    return target.read_bytes()[:length]


def _partition(disk: AdoptedDisk, head: bytes) -> Partition:
    try:
        found = windows_partition(io.BytesIO(head), disk.size)
        check_efi_partition(io.BytesIO(head), disk.size)
    except GuestRefused as error:
        if head[510:512] == MBR_SIGNATURE and head[BLOCK : BLOCK + 8] != b"EFI PART":
            raise UsageError(
                f"{disk.file}: the disk has an MBR partition table, and the template's machine starts by UEFI from GPT",
                hint="Convert it in the guest (mbr2gpt.exe /convert /allowFullOS), shut Windows down, and adopt it then.",
            ) from error
        raise UsageError(
            f"{disk.file}: {error.message}", hint="Give the disk that Windows starts from."
        ) from error
    return found


def _check_kernel(disk: AdoptedDisk, folder: Path) -> None:
    """Check the kernel's file. Raises UsageError if there is no Windows, or one for another processor."""
    try:
        with open_volume(disk.file, folder, Deadline(READ, "look at Windows"), format=disk.format) as volume:
            head = volume.head(KERNEL, 4096, Deadline(READ, "look at Windows"))
    except GuestRefused as error:
        raise UsageError(
            f"{disk.file}: {error.message}, so there is no Windows on it",
            hint="Give the disk that Windows starts from.",
        ) from error
    except HarnessError:
        # FUSE may be missing or refused here; the boot will show what the disk is.
        return
    machine = _machine_of(head)
    if machine != AMD64:
        raise UsageError(
            f"{disk.file}: its Windows is for {MACHINES.get(machine, f'machine type {machine:#x}')}, and the templates' "
            "machines are x64"
        )


def _machine_of(head: bytes) -> int:
    """Return the machine type of a PE file, 0 for another file (Microsoft Learn: "PE Format": MS-DOS stub, COFF file header)."""
    if len(head) < 64 or not head.startswith(b"MZ"):
        return 0
    (place,) = struct.unpack_from("<I", head, 0x3C)
    if place + 6 > len(head) or head[place : place + 4] != b"PE\0\0":
        return 0
    return int(struct.unpack_from("<H", head, place + 4)[0])
