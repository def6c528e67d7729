# SPDX-License-Identifier: MIT
"""The header of a crash dump: the bug check, the Windows build and the bytes of the dump.

At the crash Windows writes a dump into the dedicated dump file. It would copy it to MEMORY.DMP at its next start, which a
run's guest never reaches. The file has the size with which it was made; its header says how much of it is the dump.
(Microsoft Learn archive, ntdebugging: "How to use the DedicatedDumpFile registry value"; layout: DUMP_HEADER64 of
Windows' debugger headers.)
"""

from __future__ import annotations

import struct

import msgspec

from harness.errors import GuestRefused
from harness.history.bug_check import BugCheck

SIZE = 0x2000
"""Bytes of the header."""

SIGNATURE = b"PAGEDU64"
KINDS = {1: "full", 2: "kernel", 4: "small", 5: "full, by a bitmap", 6: "kernel, by a bitmap", 7: "automatic"}
OF_PAGES = (1, 2, 5, 6, 7)
"""Kinds whose RequiredDumpSpace is the size of the file; a small one's is not."""


class CrashDumpHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The header of a 64-bit dump. ``size`` is the dump's size in bytes, 0 if the header does not say."""

    code: int
    parameters: tuple[int, int, int, int]
    build: int
    processors: int
    kind: str
    size: int

    def __str__(self) -> str:
        return f"{BugCheck(self.code, self.parameters)}, build {self.build}, {self.kind} dump"


def decode_header(data: bytes) -> CrashDumpHeader:
    """Decode the first :data:`SIZE` bytes of a dump. Raises GuestRefused if there is none."""
    if not data.startswith(SIGNATURE):
        raise GuestRefused("no dump was written: the file does not begin with PAGEDU64")
    if len(data) < SIZE:
        raise GuestRefused(f"the dump is cut in its header: {len(data)} of {SIZE} bytes")
    (build,) = struct.unpack_from("<I", data, 0xC)
    processors, code = struct.unpack_from("<II", data, 0x34)
    kind, size = struct.unpack_from("<I4xQ", data, 0xF98)
    return CrashDumpHeader(
        code=code,
        parameters=struct.unpack_from("<4Q", data, 0x40),
        build=build,
        processors=processors,
        kind=KINDS.get(kind, f"type {kind}"),
        size=size if kind in OF_PAGES else 0,
    )
