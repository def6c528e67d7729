# SPDX-License-Identifier: MIT
"""Resource files: the input for an image's ``.rsrc`` section, in the format of resource compilers.

Each entry has a head with its type, name and language before its bytes, all on 4-byte boundaries (W32:menurc/resourceheader.md).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

MESSAGE_TABLE, VERSION = 11, 16
NEUTRAL = 0
ENGLISH = 0x409
_NUMBERED = 0xFFFF
_FIXED = struct.Struct("<IHHII")
_PURE_MOVEABLE = 0x0030
"""The flags that resource compilers write; Windows has ignored them since version 3."""


class Resource(NamedTuple):
    """A resource: its type by number or name, its number, its language, its bytes."""

    kind: int | str
    number: int
    language: int
    data: bytes


def resource_file(resources: Iterable[Resource]) -> bytes:
    """Return a ``.res`` file. It begins with an empty entry, the mark of a 32-bit file."""
    return b"".join(map(_entry, (Resource(0, 0, NEUTRAL, b""), *resources)))


def _entry(resource: Resource) -> bytes:
    empty = resource.kind == 0
    names = _identifier(resource.kind) + _identifier(resource.number)
    names += bytes(-len(names) % 4)
    fixed = _FIXED.pack(0, 0 if empty else _PURE_MOVEABLE, resource.language, 0, 0)
    head = struct.pack("<II", len(resource.data), 8 + len(names) + len(fixed)) + names + fixed
    return head + resource.data + bytes(-len(resource.data) % 4)


def _identifier(name: int | str) -> bytes:
    if isinstance(name, int):
        return struct.pack("<HH", _NUMBERED, name)
    return f"{name}\0".encode("utf-16-le")
