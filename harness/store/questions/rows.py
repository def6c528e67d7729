# SPDX-License-Identifier: MIT
"""Rows of the store as the structs of an answer."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)


def of_row(kind: type[S], row: Any, **given: Any) -> S:
    """Return a struct of the ``kind``: each field from the row's column of that name, unless it is ``given``."""
    return kind(**{name: getattr(row, name) for name in kind.__struct_fields__ if name not in given}, **given)
