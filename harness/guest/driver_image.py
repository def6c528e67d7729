# SPDX-License-Identifier: MIT
"""Looks at a built driver file and says what would keep Windows from loading it, or would crash it later.

A file may come from anywhere, so everything read from it is bounded and a malformed file is one finding. Layout:
"PE Format" (W32: Debug/pe-format.md). A file without findings was still never loaded by Windows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.errors import InfrastructureError, UsageError

LARGEST = 64 << 20
"""Bytes of the largest file that is looked at."""

MACHINE_AMD64 = 0x8664
PE32_PLUS = 0x20B
SUBSYSTEM_NATIVE = 1
DYNAMIC_BASE, NX_COMPATIBLE = 0x40, 0x100
WRITE, EXECUTE = 0x80000000, 0x20000000
IMPORT, EXCEPTION, SECURITY, RELOCATION = 1, 3, 4, 5
MOST_SECTIONS = 96
MOST_IMPORTS = 4096

KNOWN_LIBRARIES = frozenset({"ntoskrnl.exe", "hal.dll", "wdfldr.sys"})
"""What a KMDF driver of ours may import from; KeQueryPerformanceCounter is hal.dll's before Windows 10 2004."""


class DriverImage(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a driver file: its imports by library, and every reason not to load it."""

    imports: dict[str, list[str]]
    sections: list[str]
    signed: bool
    findings: list[str]


class _Malformed(Exception):
    """The file ends, or points, where it must not."""


class _Section(msgspec.Struct, frozen=True):
    name: str
    address: int
    size: int
    offset: int
    stored: int
    flags: int


class _File:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sections: list[_Section] = []
        self.directories: list[tuple[int, int]] = []

    def unpack(self, form: str, offset: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from("<" + form, self.data, offset)
        except struct.error as error:
            raise _Malformed(f"the file ends before offset {offset:#x}") from error

    def text(self, offset: int) -> str:
        end = self.data.find(b"\0", offset, offset + 256)
        if not 0 <= offset < len(self.data) or end < 0:
            raise _Malformed(f"a name at offset {offset:#x} does not end")
        return self.data[offset:end].decode("ascii", "replace")

    def place(self, address: int) -> int:
        for section in self.sections:
            if section.address <= address < section.address + min(section.size, section.stored):
                return section.offset + address - section.address
        raise _Malformed(f"address {address:#x} lies in no section")

    def directory(self, number: int) -> tuple[int, int]:
        return self.directories[number] if number < len(self.directories) else (0, 0)


def check_driver(path: Path, *, signature: bool = False) -> DriverImage:
    """Look at a driver file; with ``signature``, an unsigned one is a finding too.

    Raises UsageError if it is no file or too large, InfrastructureError if it cannot be read.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is larger than {LARGEST >> 20} MiB", hint="Is it a driver?")
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UsageError(
            f"{path}: {error.strerror}", hint="Build one with make -C guest_drivers/hpnotify/cross"
        ) from error
    except OSError as error:
        raise InfrastructureError(f"cannot read {path}: {error.strerror}") from error
    return check_bytes(data, signature=signature)


def check_bytes(data: bytes, *, signature: bool = False) -> DriverImage:
    """Look at a driver's bytes; see :func:`check_driver`."""
    file = _File(data)
    imports: dict[str, list[str]] = {}
    findings: list[str] = []
    try:
        header = _headers(file, findings)
        _sections(file, findings)
        for library, name in _imports(file):
            imports.setdefault(library, []).append(name)
        _libraries(imports, findings)
        _checksum(file, header, findings)
    except _Malformed as error:
        findings.append(f"malformed: {error}")
    signed = file.directory(SECURITY)[1] > 0
    if signature and not signed:
        findings.append("it carries no signature")
    return DriverImage(
        imports=imports,
        sections=[section.name for section in file.sections],
        signed=signed,
        findings=findings,
    )


def _headers(file: _File, findings: list[str]) -> int:
    if file.data[:2] != b"MZ":
        raise _Malformed("it does not begin with MZ")
    (header,) = file.unpack("I", 0x3C)
    signature, machine, count, _, _, _, optional_size, _ = file.unpack("IHHIIIHH", header)
    if signature != 0x4550:
        raise _Malformed("it has no PE header")
    optional = header + 24
    (magic,) = file.unpack("H", optional)
    if machine != MACHINE_AMD64 or magic != PE32_PLUS:
        raise _Malformed(f"it is for machine {machine:#x}, not for x64")
    subsystem, characteristics = file.unpack("HH", optional + 68)
    if subsystem != SUBSYSTEM_NATIVE:
        findings.append(f"its subsystem is {subsystem}, not native (1)")
    if not characteristics & DYNAMIC_BASE:
        findings.append("it cannot be loaded at any address (no DYNAMIC_BASE)")
    if not characteristics & NX_COMPATIBLE:
        findings.append("it is not marked NX compatible")
    (directories,) = file.unpack("I", optional + 108)
    file.directories = [
        (address, size)
        for address, size in (
            file.unpack("II", optional + 112 + 8 * index) for index in range(min(directories, 16))
        )
    ]
    if count > MOST_SECTIONS:
        raise _Malformed(f"it has {count} sections")
    for index in range(count):
        at = optional + optional_size + 40 * index
        size, address, stored, offset, _, _, _, _, flags = file.unpack("IIIIIIHHI", at + 8)
        name = file.data[at : at + 8].rstrip(b"\0").decode("ascii", "replace")
        file.sections.append(_Section(name, address, size, offset, stored, flags))
    return header


def _sections(file: _File, findings: list[str]) -> None:
    findings.extend(
        f"section {section.name} can be written and executed"
        for section in file.sections
        if section.flags & WRITE and section.flags & EXECUTE
    )
    if file.directory(RELOCATION)[1] == 0:
        findings.append("it has no relocations (.reloc)")
    if file.directory(EXCEPTION)[1] == 0:
        findings.append("it has no unwind information (.pdata): the first exception would be fatal")


def _imports(file: _File) -> Iterator[tuple[str, str]]:
    address, size = file.directory(IMPORT)
    if size == 0:
        return
    seen = 0
    at = file.place(address)
    while True:
        names, _, _, library, _ = file.unpack("IIIII", at)
        if library == 0:
            return
        name = file.text(file.place(library)).lower()
        entry = file.place(names)
        while (thunk := file.unpack("Q", entry)[0]) != 0:
            seen += 1
            if seen > MOST_IMPORTS:
                raise _Malformed(f"it has more than {MOST_IMPORTS} imports")
            if thunk >> 63:
                yield name, f"#{thunk & 0xFFFF}"
            else:
                yield name, file.text(file.place(thunk & 0x7FFFFFFF) + 2)
            entry += 8
        at += 20
        seen += 1


def _libraries(imports: dict[str, list[str]], findings: list[str]) -> None:
    findings.extend(
        f"it imports from {library[:40]!r}, which is not {', '.join(sorted(KNOWN_LIBRARIES))}"
        for library in imports
        if library not in KNOWN_LIBRARIES
    )
    if not imports.get("ntoskrnl.exe"):
        findings.append("it imports nothing from ntoskrnl.exe")
    findings.extend(
        f"it imports {name} of {library} by number"
        for library, names in imports.items()
        for name in names
        if name[:1] == "#"
    )


def _checksum(file: _File, header: int, findings: list[str]) -> None:
    """The sum that the loader verifies for drivers: 16-bit words with carry, the field itself as zero, plus the size."""
    field = header + 24 + 64
    (stored,) = file.unpack("I", field)
    data = file.data[:field] + bytes(4) + file.data[field + 4 :]
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"<{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    if (total + len(file.data)) & 0xFFFFFFFF != stored:
        findings.append(f"its checksum is {stored:#x}, should be {total + len(file.data):#x}")
