# SPDX-License-Identifier: MIT
"""Sizes: numbers of bytes, which people write with a unit."""

from __future__ import annotations

import re
from typing import Self

_UNITS = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}


class Size(int):
    """A number of bytes, from ``"512 MiB"`` (B, KiB, MiB, GiB, TiB) and back to ``text``."""

    def __new__(cls, written: str) -> Self:
        """Return the size that a document or a user gives. Raises ValueError with what was expected."""
        match = isinstance(written, str) and re.fullmatch(r"\s*([0-9]{1,20})\s*([KMGT]iB|B)?\s*", written)
        if not match:
            raise ValueError(f'expected a size such as "256 MiB", got {written!r:.60}')
        return super().__new__(cls, int(match[1]) * _UNITS[match[2] or "B"])

    @property
    def text(self) -> str:
        """The size in the largest unit that fits exactly."""
        unit = next(unit for unit, of in _UNITS.items() if of == 1 or (self and self % of == 0))
        return f"{self // _UNITS[unit]} {unit}"
