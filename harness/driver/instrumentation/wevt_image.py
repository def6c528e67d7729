# SPDX-License-Identifier: MIT
"""The bytes of a WEVT_TEMPLATE under construction, with the place of each definition in them.

Offsets count from the resource's start. A counted name is its size, UTF-16 and a NUL, padded to 4 bytes; sizes include
themselves.
"""

from __future__ import annotations

import struct

from harness.driver.instrumentation.model import LocalizedMessage

NO_MESSAGE = 0xFFFFFFFF
LIST = struct.Struct("<4sII")
"""The head of a block: tag, size, number of entries."""


class WevtImage:
    """The resource under construction."""

    def __init__(self) -> None:
        self.made = bytearray()
        self._places: dict[int, int] = {}

    @property
    def end(self) -> int:
        """The offset of the next byte."""
        return len(self.made)

    def reserve(self, size: int) -> int:
        """Append ``size`` zeros and return their offset."""
        place = self.end
        self.made += bytes(size)
        return place

    def align(self, size: int) -> None:
        """Append zeros up to a multiple of ``size``."""
        self.made += bytes(-self.end % size)

    def counted(self, name: str) -> int:
        """Append a counted name and return its offset."""
        place = self.end
        units = f"{name}\0".encode("utf-16-le")
        size = -(-(4 + len(units)) // 4) * 4
        self.made += struct.pack("<I", size) + units.ljust(size - 4, b"\0")
        return place

    def plain(self, name: str) -> int:
        """Append a name with its NUL and return its offset."""
        place = self.end
        self.made += f"{name}\0".encode("utf-16-le")
        return place

    def mark(self, definition: object, place: int) -> None:
        """Store the offset of a definition."""
        self._places[id(definition)] = place

    def place(self, definition: object | None) -> int:
        """Return the offset of a definition, 0 for none."""
        return 0 if definition is None else self._places[id(definition)]

    def finish(self, tag: bytes, start: int, number: int, *, sizeless: bool = False) -> None:
        """Write the head of the block that began at ``start``; a ``sizeless`` one has the size 0."""
        LIST.pack_into(self.made, start, tag, 0 if sizeless else self.end - start, number)


def number_of(message: LocalizedMessage | None) -> int:
    """Return the number of a message, all ones for none."""
    return NO_MESSAGE if message is None or message.number is None else message.number
