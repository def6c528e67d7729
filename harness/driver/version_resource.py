# SPDX-License-Identifier: MIT
"""The version resource of an image: the version that Explorer, WinDbg's ``lmv`` and Driver Verifier show.

A tree of nodes, each with its size, the size of its value, a type, a key and a value, on 4-byte boundaries
(W32:menurc/vs-versioninfo.md and the pages of its parts).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

ENGLISH_UNICODE = (0x409, 1200)
"""Language and code page of the strings."""

DRIVER_FILE, APPLICATION_FILE = 3, 1
SYSTEM_DRIVER = 7
FOR_WINDOWS_NT = 0x40004
_SIGNATURE, _STRUCTURE = 0xFEEF04BD, 0x10000
_FLAGS_MASK = 0x3F
_FIXED = struct.Struct("<13I")
_HEAD = struct.Struct("<HHH")
_BINARY, _TEXT = 0, 1

Version = tuple[int, int, int, int]


class FileVersion(NamedTuple):
    """The content of a version resource. ``strings`` are shown unchanged, in their order."""

    file: Version
    product: Version
    strings: Mapping[str, str]
    kind: int = DRIVER_FILE
    subtype: int = SYSTEM_DRIVER
    flags: int = 0


def version_resource(version: FileVersion) -> bytes:
    """Return the resource (type 16), with its strings in English."""
    language, page = ENGLISH_UNICODE
    fixed = _FIXED.pack(
        _SIGNATURE,
        _STRUCTURE,
        *_words(version.file),
        *_words(version.product),
        _FLAGS_MASK,
        version.flags,
        FOR_WINDOWS_NT,
        version.kind,
        version.subtype,
        0,
        0,
    )
    strings = [_node(key, f"{value}\0".encode("utf-16-le"), _TEXT) for key, value in version.strings.items()]
    table = _node(f"{language:04X}{page:04X}", b"", _TEXT, strings)
    translation = _node("Translation", struct.pack("<HH", language, page), _BINARY)
    return _node(
        "VS_VERSION_INFO",
        fixed,
        _BINARY,
        [_node("StringFileInfo", b"", _TEXT, [table]), _node("VarFileInfo", b"", _TEXT, [translation])],
    )


def parse_version(text: str) -> Version:
    """Return the four numbers of a version as "0.1.0", zero for each that is missing or not a number."""
    numbers = [int(part) if part.isdecimal() else 0 for part in text.split(".")]
    padded = [min(number, 0xFFFF) for number in (numbers + [0] * 4)[:4]]
    return padded[0], padded[1], padded[2], padded[3]


def _words(version: Version) -> tuple[int, int]:
    return version[0] << 16 | version[1], version[2] << 16 | version[3]


def _node(key: str, value: bytes, kind: int, children: list[bytes] | None = None) -> bytes:
    """Return a node. A text's size counts its UTF-16 units; the padding after the last child is not part of a node."""
    body = bytearray(_HEAD.size)
    body += f"{key}\0".encode("utf-16-le")
    body += bytes(-len(body) % 4)
    body += value
    for child in children or ():
        body += bytes(-len(body) % 4) + child
    _HEAD.pack_into(body, 0, len(body), len(value) // 2 if kind == _TEXT else len(value), kind)
    return bytes(body)
