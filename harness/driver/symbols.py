# SPDX-License-Identifier: MIT
"""The symbols of a driver: the PDB of an image, and WinDbg's options for it and for the sources."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path
from typing import NamedTuple

from harness.driver.image import PeImage
from harness.driver.source import driver_folder

DEBUG = 6
DEBUG_ENTRY = struct.Struct("<12xII4xI")
"""An entry of the debug directory: type, size and place in the file."""

MOST_DEBUG_ENTRIES = 64
CODEVIEW = 2
IDENTITY = struct.Struct("<4s16sI")
LARGEST_IDENTITY = 1024


class SymbolsIdentity(NamedTuple):
    """An image's reference to its PDB: the file's name, and the GUID and age that the file must have."""

    file: str
    guid: str
    age: int


def symbols_identity(path: Path) -> SymbolsIdentity | None:
    """Return an image's reference to its symbols, None without one. Raises the errors of :class:`PeImage`."""
    image = PeImage(path)
    address, size = image.directory(DEBUG)
    entries = image.pe.get_data(address, min(size, MOST_DEBUG_ENTRIES * DEBUG_ENTRY.size)) if address else b""
    for kind, length, place in DEBUG_ENTRY.iter_unpack(
        entries[: len(entries) // DEBUG_ENTRY.size * DEBUG_ENTRY.size]
    ):
        data = image.data[place : place + min(length, LARGEST_IDENTITY)]
        if kind == CODEVIEW and data[:4] == b"RSDS" and len(data) > IDENTITY.size:
            _, guid, age = IDENTITY.unpack_from(data)
            name = data[IDENTITY.size :].partition(b"\0")[0].decode("utf-8", "replace")
            return SymbolsIdentity(name, str(uuid.UUID(bytes_le=guid)).upper(), age)
    return None


def windbg_options(driver: Path) -> str:
    """Return WinDbg's options for a driver's symbols and sources, "" if no PDB is next to it.

    ``-y`` and ``-srcpath`` are documented in ML: windbg-command-line-options. The PDB names the sources below ``C:\\hpnotify``,
    and the debugger searches the source path for the last parts of these names.
    """
    symbols = driver.with_suffix(".pdb")
    return f'-y "{symbols.parent.resolve()}" -srcpath "{driver_folder()}"' if symbols.is_file() else ""
