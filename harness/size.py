# SPDX-License-Identifier: MIT
"""Sizes with a unit, and other values, in the form in which people write them."""

from __future__ import annotations

import re
from typing import Self

_UNITS = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}


def spelled(value: object) -> str:
    """Return a value in TOML's form, truncated if it is long: ``'two'``, ``true``, ``a table``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"{value!r:.60}"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return str(value)[:60]


class Size(int):
    """A number of bytes, from ``"512 MiB"`` (B, KiB, MiB, GiB, TiB) and back to ``text``."""

    def __new__(cls, written: str) -> Self:
        """Return the size in a document or an argument. Raises ValueError, which says what was expected."""
        match = isinstance(written, str) and re.fullmatch(r"\s*([0-9]{1,20})\s*([KMGT]iB|B)?\s*", written)
        if not match:
            raise ValueError(f'expected a size like "256 MiB", got {spelled(written)}')
        return super().__new__(cls, int(match[1]) * _UNITS[match[2] or "B"])

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Return how a copy in another process is made."""
        return type(self), (self.text,)

    @property
    def text(self) -> str:
        """The size in the largest unit that fits exactly."""
        unit = next(unit for unit, of in _UNITS.items() if of == 1 or (self and self % of == 0))
        return f"{self // _UNITS[unit]} {unit}"
