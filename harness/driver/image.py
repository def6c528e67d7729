# SPDX-License-Identifier: MIT
"""A driver's image: the properties that the loader of Windows needs and a linker can silently leave out.

Each check covers one property and describes its error. The file may come from anywhere: its size is bounded, and its
content can at most fail a check.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.driver.source import allowed_imports
from harness.errors import UsageError, system_errors
from harness.package import missing_extra

LARGEST_IMAGE = 16 << 20
"""Bytes of the largest file that is checked."""

MACHINE_AMD64 = 0x8664
MAGIC_PE32_PLUS = 0x20B
SUBSYSTEM_NATIVE = 1
RELOCATIONS_STRIPPED = 0x0001
DYNAMIC_BASE, NX_COMPAT = 0x0040, 0x0100
EXECUTABLE, WRITABLE = 0x20000000, 0x80000000
IMPORT, EXCEPTION, RELOCATION = 1, 3, 5
WEVT_TEMPLATE = "WEVT_TEMPLATE"
RESOURCES: dict[int | str, str] = {
    16: "a version",
    11: "a message table",
    WEVT_TEMPLATE: "event descriptions (WEVT_TEMPLATE)",
}
"""The resources of a driver with its own trace events, by their types."""

RUNTIME_FUNCTION = struct.Struct("<II4x")
"""Begin and end of a function, and the place of its unwind information."""

MOST_NAMES = 5
"""The most offending names in a message."""


class ImageCheck(msgspec.Struct, frozen=True):
    """The result of one check: ``detail`` says what was found, or what is wrong."""

    name: str
    ok: bool
    detail: str


class PeImage:
    """A parsed PE file. Raises UsageError if ``path`` is not a PE file, MissingPart without pefile."""

    def __init__(self, path: Path) -> None:
        pefile = load_pefile()
        with system_errors(f"cannot read {path}", hint="Name the .sys file to look at.", kind=UsageError):
            size = path.stat().st_size
            if size > LARGEST_IMAGE:
                raise UsageError(f"{path}: {size} bytes are too many for a driver", hint="Name a .sys file.")
            self.data = path.read_bytes()
        self.format_error: type[Exception] = pefile.PEFormatError
        try:
            self.pe: Any = pefile.PE(data=self.data, fast_load=True)
            self.pe.parse_data_directories([pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_IMPORT"]])
        except (pefile.PEFormatError, ValueError, OverflowError, AttributeError) as error:
            raise UsageError(
                f"{path} is not an image that Windows could load: {error}", hint="Name a .sys file."
            ) from error

    def parse(self, directory: str) -> None:
        """Parse one more data directory, by pefile's name for it."""
        self.pe.parse_data_directories([load_pefile().DIRECTORY_ENTRY[f"IMAGE_DIRECTORY_ENTRY_{directory}"]])

    def executable(self, address: int) -> bool:
        """Return whether a relative virtual address is in a section with code."""
        return any(
            section.VirtualAddress <= address < section.VirtualAddress + section.Misc_VirtualSize
            and section.Characteristics & EXECUTABLE
            for section in self.pe.sections
        )

    def directory(self, number: int) -> tuple[int, int]:
        """Return address and size of a data directory, zeros if the image has none."""
        directories = self.pe.OPTIONAL_HEADER.DATA_DIRECTORY
        if number >= len(directories):
            return 0, 0
        return directories[number].VirtualAddress, directories[number].Size

    def functions(self) -> Iterator[tuple[int, int]]:
        """Yield begin and end of each function that has unwind information."""
        address, size = self.directory(EXCEPTION)
        data = self.pe.get_data(address, min(size, len(self.data))) if address else b""
        whole = len(data) - len(data) % RUNTIME_FUNCTION.size
        yield from RUNTIME_FUNCTION.iter_unpack(data[:whole])


def load_pefile() -> Any:
    """Return the pefile module. Raises MissingPart, which names the extra to install."""
    try:
        import pefile
    except ImportError as error:
        raise missing_extra("checking a driver needs pefile, which is not installed", "driver") from error
    return pefile


def _machine(image: PeImage) -> str:
    machine = image.pe.FILE_HEADER.Machine
    if machine != MACHINE_AMD64:
        return f"is for machine {machine:#06x}, not {MACHINE_AMD64:#06x} (x64)"
    magic = image.pe.OPTIONAL_HEADER.Magic
    return "" if magic == MAGIC_PE32_PLUS else f"its optional header is of kind {magic:#x}, not PE32+"


def _subsystem(image: PeImage) -> str:
    subsystem = image.pe.OPTIONAL_HEADER.Subsystem
    return "" if subsystem == SUBSYSTEM_NATIVE else f"is {subsystem}, not {SUBSYSTEM_NATIVE} (native)"


def _imports(image: PeImage) -> str:
    allowed = allowed_imports()
    strays: list[str] = []
    found = 0
    for library in getattr(image.pe, "DIRECTORY_ENTRY_IMPORT", []):
        name = library.dll.decode("ascii", "replace")
        known = allowed.get(name.lower())
        for entry in library.imports:
            found += 1
            function = entry.name.decode("ascii", "replace") if entry.name else f"ordinal {entry.ordinal}"
            if known is None or function not in known:
                strays.append(f"{name}!{function}")
    if strays:
        more = f" and {len(strays) - MOST_NAMES} more" if len(strays) > MOST_NAMES else ""
        return f"not exported by every supported Windows: {', '.join(strays[:MOST_NAMES])}{more}"
    return "" if found else "there are none, which no driver can do without"


def _relocations(image: PeImage) -> str:
    _, size = image.directory(RELOCATION)
    if image.pe.FILE_HEADER.Characteristics & RELOCATIONS_STRIPPED or not size:
        return "there are none, so that the image could only lie at its preferred address"
    return ""


def _unwind(image: PeImage) -> str:
    functions = list(image.functions())
    if not functions:
        return "there is none (.pdata): the first exception would be a bug check without a stack"
    for begin, end in functions:
        if not begin < end or not image.executable(begin) or not image.executable(end - 1):
            return f"an entry describes {begin:#x} to {end:#x}, where there is no code"
    entry = image.pe.OPTIONAL_HEADER.AddressOfEntryPoint
    if not any(begin <= entry < end for begin, end in functions):
        return f"none covers the entry point at {entry:#x}"
    return ""


def _sections(image: PeImage) -> str:
    both = [
        section.Name.rstrip(b"\0").decode("ascii", "replace")
        for section in image.pe.sections
        if section.Characteristics & EXECUTABLE and section.Characteristics & WRITABLE
    ]
    return f"writable and executable: {', '.join(both)}" if both else ""


def _hardening(image: PeImage) -> str:
    flags = image.pe.OPTIONAL_HEADER.DllCharacteristics
    missing = [
        name for flag, name in ((DYNAMIC_BASE, "DYNAMIC_BASE"), (NX_COMPAT, "NX_COMPAT")) if not flags & flag
    ]
    return f"lacks {' and '.join(missing)}" if missing else ""


def _entry(image: PeImage) -> str:
    entry = image.pe.OPTIONAL_HEADER.AddressOfEntryPoint
    return "" if image.executable(entry) else f"at {entry:#x} there is no code"


def _checksum(image: PeImage) -> str:
    written, right = image.pe.OPTIONAL_HEADER.CheckSum, image.pe.generate_checksum()
    return "" if written == right else f"is {written:#x} and must be {right:#x}, or Windows refuses the file"


def _resources(image: PeImage) -> str:
    """Look for version, message table and WEVT_TEMPLATE where Windows looks: under the number 1."""
    image.parse("RESOURCE")
    found = {}
    for kind in getattr(getattr(image.pe, "DIRECTORY_ENTRY_RESOURCE", None), "entries", []):
        for entry in kind.directory.entries:
            if entry.id == 1 and entry.directory.entries:
                data = entry.directory.entries[0].data.struct
                name = str(kind.name) if kind.name is not None else kind.id
                found[name] = image.pe.get_data(data.OffsetToData, min(data.Size, len(image.data)))
    missing = [what for kind, what in RESOURCES.items() if kind not in found]
    if missing:
        return f"lacks {', '.join(missing)}, so that its events are numbers to wevtutil, Event Viewer and WPA"
    descriptions = found[WEVT_TEMPLATE]
    size = int.from_bytes(descriptions[4:8], "little")
    return (
        ""
        if descriptions[:4] == b"CRIM" and size <= len(descriptions)
        else "its WEVT_TEMPLATE is cut or invalid"
    )


CHECKS: dict[str, tuple[Callable[[PeImage], str], str]] = {
    "machine": (_machine, "x64, PE32+"),
    "subsystem": (_subsystem, "native"),
    "imports": (_imports, "all exported by every supported Windows"),
    "relocations": (_relocations, "there"),
    "unwind information": (_unwind, "there, the entry point covered"),
    "sections": (_sections, "none both writable and executable"),
    "hardening": (_hardening, "DYNAMIC_BASE, NX_COMPAT"),
    "entry point": (_entry, "in code"),
    "checksum": (_checksum, "right"),
    "resources": (_resources, "version, message table, WEVT_TEMPLATE"),
}
"""Every check of the image: its function, which returns "" or the error, and the text for a passed check."""


def check_image(path: Path) -> list[ImageCheck]:
    """Run all :data:`CHECKS` on an image. Raises the errors of :class:`PeImage`."""
    image = PeImage(path)
    found = []
    for name, (look, fine) in CHECKS.items():
        try:
            wrong = look(image)
        except (
            image.format_error,
            ValueError,
            AttributeError,
            IndexError,
            OverflowError,
            TypeError,
        ) as error:
            # pefile's error for contradictory headers.
            wrong = f"cannot be read: {error}"
        found.append(ImageCheck(name, not wrong, wrong or fine))
    return found


def set_checksum(path: Path) -> None:
    """Write the right checksum into an image; lld-link leaves it out. Raises InfrastructureError."""
    image = PeImage(path)
    image.pe.OPTIONAL_HEADER.CheckSum = image.pe.generate_checksum()
    data = image.pe.write()
    with system_errors(f"cannot write {path}"):
        path.write_bytes(data)
