# SPDX-License-Identifier: MIT
"""The symbols of a driver: which PDB belongs to an image, and how WinDbg is told of it and of the sources."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path
from typing import NamedTuple

from harness.driver.image import PeImage
from harness.driver.source import driver_folder

DEBUG = 6
DEBUG_ENTRY = struct.Struct("<12xII4xI")
"""Type, size and place in the file of an entry of the debug directory."""

MOST_DEBUG_ENTRIES = 64
CODEVIEW = 2
IDENTITY = struct.Struct("<4s16sI")
LARGEST_IDENTITY = 1024


class SymbolsIdentity(NamedTuple):
    """What an image says of its PDB: the file's name, and the GUID and age that the file must have."""

    file: str
    guid: str
    age: int


def symbols_identity(path: Path) -> SymbolsIdentity | None:
    """Return what an image says of its symbols, None if it has none. Raises as :class:`PeImage` does."""
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
    """Return WinDbg's options for a driver's symbols and sources, "" if no PDB lies next to it.

    ``-y`` and ``-srcpath`` are documented in ML: windbg-command-line-options. The PDB names the sources below ``C:\\hpnotify``,
    of which the debugger looks for the last parts in the source path.
    """
    symbols = driver.with_suffix(".pdb")
    return f'-y "{symbols.parent.resolve()}" -srcpath "{driver_folder()}"' if symbols.is_file() else ""
