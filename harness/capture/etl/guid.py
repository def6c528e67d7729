# SPDX-License-Identifier: MIT
"""GUIDs as 16 raw bytes, as in a log, and as text."""

from __future__ import annotations

import struct
from functools import lru_cache

NIL = bytes(16)
"""The GUID of all zeros, in a header without a provider."""

_PARTS = struct.Struct("<IHH")


@lru_cache(maxsize=4096)
def text(raw: bytes) -> str:
    """Return a GUID of 16 bytes in its usual form, lower case, without braces."""
    first, second, third = _PARTS.unpack_from(raw)
    return f"{first:08x}-{second:04x}-{third:04x}-{raw[8:10].hex()}-{raw[10:16].hex()}"


def parse(written: str) -> bytes:
    """Return the 16 bytes of a GUID written with or without braces. Raises ValueError for other text."""
    digits = written.strip().removeprefix("{").removesuffix("}").replace("-", "")
    if len(digits) != 32:
        raise ValueError(f"{written[:60]!r} is not a GUID")
    raw = bytes.fromhex(digits)
    return raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
