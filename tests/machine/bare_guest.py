# SPDX-License-Identifier: MIT
"""A guest in a few bytes: 32-bit code behind a Multiboot header, which QEMU's ``-kernel`` starts in a tenth of a second.

It does what a test asks and nothing else, so that what is seen is QEMU's doing. No assembler is needed; each
function gives the machine code of one act (Intel SDM volume 2).
"""

from __future__ import annotations

import struct
from pathlib import Path

BASE = 0x100000
"""Where the code is loaded and entered (Multiboot 0.6.96, section 3.1)."""

COM1, COM2 = 0x3F8, 0x2F8
DEBUG_PORT = 0x504
HEADER = struct.Struct("<8I")


def write_byte(port: int, value: int) -> bytes:
    """Mov dx, port; mov al, value; out dx, al."""
    return b"\x66\xba" + struct.pack("<H", port) + b"\xb0" + bytes([value]) + b"\xee"


def write(port: int, text: bytes) -> bytes:
    """Write every byte of ``text`` to ``port``."""
    return b"".join(write_byte(port, value) for value in text)


def halt() -> bytes:
    """Cli; hlt, for ever."""
    return b"\xfa\xf4\xeb\xfd"


def spin() -> bytes:
    """Jmp to itself."""
    return b"\xeb\xfe"


def again(length: int) -> bytes:
    """Jump back over the ``length`` bytes of code before this act."""
    return b"\xe9" + struct.pack("<i", -length - 5)


def reset() -> bytes:
    """Reset the machine through the chipset's reset control register (ICH9: port 0xcf9)."""
    return write_byte(0xCF9, 0x02) + write_byte(0xCF9, 0x06)


def write_long(port: int, value: int) -> bytes:
    """Mov dx, port; mov eax, value; out dx, eax."""
    return b"\x66\xba" + struct.pack("<H", port) + b"\xb8" + struct.pack("<I", value) + b"\xef"


def dimm_ost(slot: int, source: int, status: int) -> bytes:
    """Do what the firmware's _OST method of a DIMM does (QEMU: docs/specs/acpi_mem_hotplug.rst; port 0xa00)."""
    return write_long(0xA00, slot) + write_long(0xA04, source) + write_long(0xA08, status)


def panic() -> bytes:
    """Tell pvpanic (port 0x505) that the guest panicked."""
    return write_byte(0x505, 0x01)


def bug_check(*words: int) -> bytes:
    """Tell Hyper-V's crash registers a code and four parameters, as Windows does (TLFS: HV_X64_MSR_CRASH_P0 to _CTL)."""
    return b"".join(
        # mov ecx, register; mov eax, low; mov edx, high; wrmsr
        b"\xb9" + struct.pack("<I", 0x40000100 + place) + b"\xb8" + struct.pack("<I", word & 0xFFFFFFFF)
        + b"\xba" + struct.pack("<I", word >> 32) + b"\x0f\x30"
        for place, word in enumerate((*words, 1 << 63))
    )  # fmt: skip


def power_off() -> bytes:
    """Enter S5 through the ICH9's PM1a control register, where QEMU's firmware put it (0x604)."""
    return b"\x66\xba\x04\x06" + b"\x66\xb8" + struct.pack("<H", 0x2000) + b"\x66\xef"


def wait_for_byte(port: int) -> bytes:
    """Poll a 16550 UART until a byte came, and read it away."""
    return (
        b"\x66\xba" + struct.pack("<H", port + 5)  # mov dx, line status
        + b"\xec\xa8\x01\x74\xfb"  # in al, dx; test al, 1; jz back
        + b"\x66\xba" + struct.pack("<H", port) + b"\xec"  # mov dx, data; in al, dx
    )  # fmt: skip


def build(path: Path, *acts: bytes) -> Path:
    """Write a kernel that does ``acts`` one after another and then halts; return its path."""
    code = b"".join(acts) + halt()
    magic, flags = 0x1BADB002, 0x10000
    entry = BASE + HEADER.size
    end = entry + len(code)
    header = HEADER.pack(magic, flags, -(magic + flags) & 0xFFFFFFFF, BASE, BASE, end, end, entry)
    path.write_bytes(header + code)
    return path
