# SPDX-License-Identifier: MIT
"""Makes the scripted installer's medium: an ISO that UEFI firmware or SeaBIOS boots, and the one with the script.

``setup.c`` is compiled for no system at all; the file around its code, the FAT file system around that file and the
El Torito entry around that are as small as the specifications allow. ``bios.c`` is the same installer for SeaBIOS, and
``script.h`` has what both do alike.
"""

from __future__ import annotations

import io
import struct
import subprocess
from pathlib import Path

import pycdlib

SOURCE = Path(__file__).parent / "installer"
PAGE = 0x1000
SECTOR = 512
CLUSTER = 4
"""Sectors of a cluster."""
FAT_SECTORS = 2880
BSS = 1 << 20
PROGRAM_SECTORS = 32
"""Sectors of the installer for SeaBIOS, as in ``bios.c``."""

FREESTANDING = (
    "gcc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-stack-protector", "-fcf-protection=none",
    "-fno-asynchronous-unwind-tables", "-mgeneral-regs-only", "-nostdlib", "-static", "-Wl,-N", "-Wl,--build-id=none",
    "-Wl,--no-warn-rwx-segments",
)  # fmt: skip


def compile_setup(folder: Path) -> bytes:
    """Return the installer as a UEFI program (Microsoft PE and COFF specification; UEFI 2.10, section 2.1.1)."""
    linked, flat = folder / "setup.elf", folder / "setup.bin"
    subprocess.run(
        [*FREESTANDING, "-O2", "-fPIE", "-fvisibility=hidden", "-mno-red-zone", f"-Wl,-Ttext={PAGE:#x}", "-Wl,-e,efi_main",
         "-o", str(linked), str(SOURCE / "setup.c")],
        check=True,
    )  # fmt: skip
    subprocess.run(["objcopy", "-O", "binary", str(linked), str(flat)], check=True)
    entry = struct.unpack_from("<Q", linked.read_bytes(), 24)[0]
    code = flat.read_bytes()
    code += bytes(-len(code) % PAGE)
    span = len(code) + BSS
    optional = struct.pack(
        "<HBBIIIIIQIIHHHHHHIIIIHHQQQQII",
        0x20B, 0, 0, len(code), 0, 0, entry, PAGE, 0, PAGE, PAGE, 0, 0, 0, 0, 0, 0, 0, PAGE + span, PAGE, 0,
        10, 0, 0, 0, 0, 0, 0, 6,
    ) + bytes(6 * 8)  # fmt: skip
    coff = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, len(optional), 0x0022)
    section = struct.pack("<8sIIIIIIHHI", b".text", span, PAGE, len(code), PAGE, 0, 0, 0, 0, 0xE0000060)
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    return (dos + b"PE\0\0" + coff + optional + section).ljust(PAGE, b"\0") + code


def compile_bios_setup(folder: Path) -> bytes:
    """Return the installer for SeaBIOS: a boot sector and the sectors that it loads."""
    linked, flat = folder / "bios.elf", folder / "bios.bin"
    subprocess.run(
        [*FREESTANDING, "-m16", "-Os", "-fno-pie", "-no-pie", "-mregparm=3", "-Wl,-m,elf_i386", "-Wl,--section-start=.boot=0x7c00",
         "-Wl,-Ttext=0x7e00", "-Wl,-e,0x7c00", "-o", str(linked), str(SOURCE / "bios.c")],
        check=True,
    )  # fmt: skip
    subprocess.run(["objcopy", "-O", "binary", str(linked), str(flat)], check=True)
    code = flat.read_bytes()
    assert len(code) <= PROGRAM_SECTORS * SECTOR
    return code.ljust(PROGRAM_SECTORS * SECTOR, b"\0")


def fat(program: bytes, *, sectors: int = FAT_SECTORS) -> bytes:
    """Return a FAT12 file system with ``program`` as \\EFI\\BOOT\\BOOTX64.EFI (Microsoft: FAT specification 1.03)."""
    fat_sectors, root_entries = 9, 16
    boot = struct.pack(
        "<3s8sHBHBHHBHHHIIBBBI11s8s",
        b"\xeb\x3c\x90", b"HARNESS ", SECTOR, CLUSTER, 1, 1, root_entries, sectors, 0xF8, fat_sectors, 32, 2, 0, 0,
        0x80, 0, 0x29, 1, b"INSTALLER  ", b"FAT12   ",
    ).ljust(510, b"\0") + b"\x55\xaa"  # fmt: skip
    count = -(-len(program) // (SECTOR * CLUSTER))
    # Clusters 2 and 3 are the directories \EFI and \EFI\BOOT, the program begins at 4.
    chain = [0xFF8, 0xFFF, 0xFFF, 0xFFF, *range(5, 4 + count), 0xFFF]
    chain += [0] * (len(chain) % 2)
    table = b"".join(
        (a | b << 12).to_bytes(3, "little") for a, b in zip(chain[::2], chain[1::2], strict=True)
    )

    def entry(name: bytes, attributes: int, cluster: int, size: int) -> bytes:
        return struct.pack("<11sB8xHHHHI", name, attributes, 0, 0, 0x5800, cluster, size)

    def folder(own: int, parent: int, child: bytes) -> bytes:
        here, up = entry(b".          ", 0x10, own, 0), entry(b"..         ", 0x10, parent, 0)
        return (here + up + child).ljust(SECTOR * CLUSTER, b"\0")

    return b"".join(
        [
            boot,
            table.ljust(fat_sectors * SECTOR, b"\0"),
            entry(b"EFI        ", 0x10, 2, 0).ljust(root_entries * 32, b"\0"),
            folder(2, 0, entry(b"BOOT       ", 0x10, 3, 0)),
            folder(3, 2, entry(b"BOOTX64 EFI", 0x20, 4, len(program))),
            program,
        ]
    ).ljust(sectors * SECTOR, b"\0")


def boot_medium(path: Path, program: bytes) -> Path:
    """Write the ISO from which UEFI firmware starts the installer (El Torito 1.0; UEFI 2.10, section 13.3.2.1)."""
    return _bootable(path, fat(program), efi=True, platform_id=0xEF)


def bios_medium(path: Path, program: bytes) -> Path:
    """Write the ISO from which SeaBIOS starts the installer (El Torito 1.0)."""
    return _bootable(path, program, efi=False, platform_id=0)


def _bootable(path: Path, image: bytes, *, efi: bool, platform_id: int) -> Path:
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident="INSTALLER")
    iso.add_fp(io.BytesIO(image), len(image), "/BOOT.IMG;1")
    iso.add_eltorito(
        "/BOOT.IMG;1",
        bootcatfile="/BOOT.CAT;1",
        efi=efi,
        platform_id=platform_id,
        media_name="noemul",
        boot_load_size=len(image) // SECTOR,
    )
    iso.write(str(path))
    iso.close()
    return path


def script_medium(path: Path, lines: list[str]) -> Path:
    """Write the ISO with the script."""
    content = ("\n".join(lines) + "\n").encode()
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident="ANSWERS")
    iso.add_fp(io.BytesIO(content), len(content), "/SCRIPT.TXT;1")
    iso.write(str(path))
    iso.close()
    return path
