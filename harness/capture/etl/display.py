# SPDX-License-Identifier: MIT
"""Values as text for people, by the out-type of their field."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from harness.capture.etl import clock
from harness.capture.etl.field import Field, InType, OutType, SystemTime


def show(value: Any, field: Field | None = None) -> str:
    """Return a value as text for people, by its field's out-type. Nothing is shortened or escaped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if field is not None and field.labels and isinstance(value, int):
        return _label(value, field)
    if isinstance(value, SystemTime):
        return value.iso()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return "[" + ", ".join(show(one, field) for one in value) + "]"
    if isinstance(value, dict):
        members = field.members if field is not None else ()
        named = {one.name: one for one in members}
        return "{" + ", ".join(f"{name}={show(one, named.get(name))}" for name, one in value.items()) + "}"
    if isinstance(value, int) and field is not None:
        return _integer(value, field)
    return "" if value is None else str(value)


class Form(Enum):
    """How an integer is shown: unchanged, in hexadecimal, as a status, as a date, by its name, by names of its bits."""

    PLAIN = auto()
    HEX = auto()
    STATUS = auto()
    TIME = auto()
    LABEL = auto()
    BITS = auto()


_TIMES = frozenset({OutType.FILETIME, OutType.DATE_TIME_UTC})
_HEX_OUT = frozenset({OutType.HEX, OutType.NTSTATUS, OutType.HRESULT, OutType.CODE_POINTER})
_HEX_IN = frozenset({InType.HEX32, InType.HEX64, InType.POINTER})


def form(field: Field) -> Form:
    """Return how the integers of a field are shown."""
    if field.labels:
        return Form.BITS if field.bits else Form.LABEL
    if field.in_type == InType.FILETIME or field.out_type in _TIMES:
        return Form.TIME
    if field.out_type in (OutType.NTSTATUS, OutType.HRESULT):
        return Form.STATUS
    in_hex = field.out_type in _HEX_OUT or (field.in_type in _HEX_IN and field.out_type != OutType.UNSIGNED)
    return Form.HEX if in_hex else Form.PLAIN


def _integer(value: int, field: Field) -> str:
    shape = form(field)
    if shape is Form.TIME:
        return clock.iso(value)
    if shape is Form.STATUS:
        return f"0x{value & 0xFFFFFFFF:08X}"
    return hex(value) if shape is Form.HEX else str(value)


def _label(value: int, field: Field) -> str:
    if not field.bits:
        return field.labels.get(value, str(value))
    names = [name for bit, name in field.labels.items() if bit and value & bit == bit]
    rest = value
    for bit in field.labels:
        rest &= ~bit
    return "|".join(names + ([hex(rest)] if rest else [])) or "0"
