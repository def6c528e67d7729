# SPDX-License-Identifier: MIT
"""A plan as a program for the compiled reader: rows of numbers that say how to read a payload and how to show each value.

A layout with a type that the C code does not read (structures, floating point, arrays of text) has no program: such
records are decoded in Python. The numbers are those of value.c.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import NamedTuple

from harness.capture.etl.decoder import DecodingPlan
from harness.capture.etl.display import Form, form
from harness.capture.etl.field import COUNTED, REST, Field, InType, OutType
from harness.capture.etl.layout import NUMBERS, Layout, number_format
from harness.capture.etl.manifest import pieces

RAW, VALUES, MESSAGE = range(3)
"""What a line shows after the event's name."""

MOST_FIELDS = 64
"""Fields of an event that has a program."""

(NUMBER, NULL, BOOLEAN, GUID, POINTER, SYSTEMTIME, SID, WBEM_SID, REST_UTF16, REST_ANSI, ZERO_UTF16, ZERO_ANSI,
 SIZED_UTF16, SIZED_ANSI, SIZED_BYTES, SIZED_IP6) = range(16)  # fmt: skip
NO_AMOUNT, FIXED, NAMED, COUNT, ALL = range(5)
AS_NUMBER, AS_BOOL, AS_CHAR8, AS_CHAR16, AS_IP4, AS_PORT = range(6)
SIGNED, TO_ZERO = 1, 2

_SHOWS = {Form.PLAIN: 0, Form.HEX: 1, Form.STATUS: 2, Form.TIME: 3, Form.LABEL: 4, Form.BITS: 5}
_SIMPLE: dict[int, int] = {
    InType.NULL: NULL,
    InType.BOOLEAN: BOOLEAN,
    InType.GUID: GUID,
    InType.POINTER: POINTER,
    InType.SYSTEMTIME: SYSTEMTIME,
    InType.SID: SID,
    InType.WBEM_SID: WBEM_SID,
    InType.REST_UTF16: REST_UTF16,
    InType.REST_ANSI: REST_ANSI,
}
_SIZED: dict[int, int] = {
    InType.UTF16: SIZED_UTF16,
    InType.COUNTED_UTF16: SIZED_UTF16,
    InType.ANSI: SIZED_ANSI,
    InType.COUNTED_ANSI: SIZED_ANSI,
}
_COUNTED = frozenset({InType.COUNTED_UTF16, InType.COUNTED_ANSI, InType.COUNTED_BINARY})


class Unsupported(Exception):
    """The compiled reader cannot follow this plan."""


class Program(NamedTuple):
    """``head`` and ``rows`` as fast_define takes them, and the text that the rows point into."""

    head: array[int]
    rows: array[int]
    literals: bytes


Escape = Callable[[str], str]


class _Text:
    """The literals of a program, each with its place."""

    def __init__(self, first: str) -> None:
        self.whole = bytearray(first.encode())

    def place(self, text: str) -> tuple[int, int]:
        raw = text.encode()
        place = len(self.whole)
        self.whole += raw
        return place, len(raw)


def compiled(plan: DecodingPlan, head: str, escape: Escape, name: Escape) -> Program | None:
    """Return the program for a plan, or None when Python must decode its records.

    ``head`` is the provider and event of the line. ``escape`` makes any text safe to show, ``name`` a field's name.
    """
    literals = _Text(head)
    labels: list[tuple[int, ...]] = []
    start = len(literals.whole)
    shape, message = RAW if plan.how == "raw" else VALUES, []
    layout = plan.layout
    if layout is None:
        needed, fields, shown = 0, [], []
    else:
        if len(layout.fields) > MOST_FIELDS or len(set(layout.names)) < len(layout.names):
            return None
        try:
            needed, fields = layout.needed, [_row(layout, number) for number in range(len(layout.fields))]
            by_name = {field.name: field for field in layout.fields}
            shown = [
                _piece(number, by_name.get(one), f"{name(one)}=", literals, labels)
                for number, one in enumerate(layout.names)
            ]
            if plan.message:
                # A payload that does not fit is shown as values.
                shape, message = MESSAGE, list(_message(plan, literals, labels, escape))
        except Unsupported:
            return None
    # Python does two cases: a plan without layout, whose payload is not read, and one of either width, read twice.
    exact = layout is None or plan.either_width
    numbers = [shape, plan.pointer, needed, start, len(fields), len(shown) + len(message)]
    numbers += [len(labels), exact, len(message)]
    rows = array("q")
    for row in (*fields, *shown, *message, *labels):
        rows.extend([*row, *[0] * (8 - len(row))])
    return Program(array("q", numbers), rows, bytes(literals.whole))


def _amount(wanted: int | str, layout: Layout, before: int) -> tuple[int, int]:
    """Return the source of a count or length: kind and value."""
    if wanted == COUNTED:
        return COUNT, 0
    if wanted == REST:
        return ALL, 0
    if isinstance(wanted, int):
        return FIXED, wanted
    if wanted not in layout.names[:before]:
        raise Unsupported
    number = layout.names.index(wanted)
    named = layout.fields[number]
    if named.count is None and (
        named.in_type in NUMBERS or named.in_type in (InType.POINTER, InType.BOOLEAN)
    ):
        return NAMED, number
    raise Unsupported


def _row(layout: Layout, number: int) -> tuple[int, ...]:
    """Return the row that reads a field: op, width, flags, conversion, count, length."""
    field = layout.fields[number]
    count = (NO_AMOUNT, 0) if field.count is None else _amount(field.count, layout, number)
    kind = field.in_type
    if kind in NUMBERS:
        written = number_format(field)[1]
        width = {"b": 1, "h": 2, "i": 4, "q": 8}.get(written.lower())
        if width is None:
            raise Unsupported
        conversion = _conversion(field)
        if count[0] != NO_AMOUNT and conversion != AS_NUMBER:
            raise Unsupported
        return NUMBER, width, SIGNED * written.islower(), conversion, *count, 0, 0
    if kind == InType.POINTER:
        return POINTER, 0, 0, 0, *count, 0, 0
    if count[0] != NO_AMOUNT:
        raise Unsupported
    if kind in _SIMPLE:
        return _SIMPLE[kind], 0, 0, 0, 0, 0, 0, 0
    return _text_row(layout, number)


def _conversion(field: Field) -> int:
    if field.out_type == OutType.BOOLEAN:
        return AS_BOOL
    if field.out_type == OutType.STRING and field.in_type in (InType.UINT8, InType.INT8):
        return AS_CHAR8
    if field.out_type == OutType.STRING and field.in_type == InType.UINT16:
        return AS_CHAR16
    if field.out_type == OutType.IPV4 and field.in_type == InType.UINT32:
        return AS_IP4
    return AS_PORT if field.out_type == OutType.PORT and field.in_type == InType.UINT16 else AS_NUMBER


def _text_row(layout: Layout, number: int) -> tuple[int, ...]:
    field = layout.fields[number]
    kind = field.in_type
    if kind not in _SIZED and kind not in (InType.BINARY, InType.COUNTED_BINARY):
        raise Unsupported
    op = _SIZED.get(kind, SIZED_BYTES)
    if op == SIZED_BYTES and field.out_type == OutType.SOCKET_ADDRESS:
        raise Unsupported
    if op == SIZED_BYTES and field.out_type == OutType.IPV6:
        op = SIZED_IP6
    if kind in _COUNTED:
        return op, 1, 0, 0, 0, 0, COUNT, 0
    if field.length is not None:
        if field.length == REST:
            raise Unsupported
        fixed = isinstance(field.length, int) and field.length > 0 and kind != InType.BINARY
        characters = 2 if kind == InType.UTF16 else 1
        return op, characters, TO_ZERO * fixed, 0, 0, 0, *_amount(field.length, layout, number)
    if kind == InType.BINARY:
        return op, 1, 0, 0, 0, 0, COUNT, 0
    return (ZERO_UTF16 if kind == InType.UTF16 else ZERO_ANSI), 0, 0, 0, 0, 0, 0, 0


def _piece(
    slot: int, field: Field | None, before: str, literals: _Text, labels: list[tuple[int, ...]]
) -> tuple[int, ...]:
    """Return the row that shows a value after a literal."""
    shape = Form.PLAIN if field is None else form(field)
    first = len(labels)
    if field is not None and field.labels:
        if field.in_type == InType.BOOLEAN or field.out_type == OutType.BOOLEAN:
            raise Unsupported
        for value, text in field.labels.items():
            # A label's text is shown unchanged, so it must be plain.
            if not (0 <= value < 1 << 63 and text.isascii() and text.isprintable()):
                raise Unsupported
            labels.append((value, *literals.place(text)))
    place, size = literals.place(before)
    return slot, _SHOWS[shape], place, size, len(before), first, len(labels) - first


def _message(
    plan: DecodingPlan, literals: _Text, labels: list[tuple[int, ...]], escape: Escape
) -> Iterable[tuple[int, ...]]:
    """Yield the rows of a message: literals, and values where it has inserts for them."""
    assert plan.layout is not None
    fields = plan.layout.fields
    for text, number in pieces(plan.message):
        if 0 < number <= len(fields):
            yield _piece(number - 1, fields[number - 1], "", literals, labels)
        else:
            yield -1, 0, *literals.place(escape(text)), len(text), 0, 0
