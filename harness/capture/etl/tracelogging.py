# SPDX-License-Identifier: MIT
"""TraceLogging: events that carry their own description in an extended data item.

The description (EVENT_HEADER_EXT_TYPE_EVENT_SCHEMA_TL) is: 16-bit size, tag bytes, event name, then the fields. Names
are UTF-8 and end in a zero. A field is its name and an in-type byte. An out-type byte follows if the in-type's top bit is
set, tag bytes follow if the out-type's top bit is set, and an array of fixed size has a 16-bit count. Tags are a chain: each
byte with its top bit set is followed by another. The out-type byte of a structure is its number of fields; they follow.

Layout: TraceLoggingProvider.h of the Windows SDK. Descriptions repeat in every event, so each is read once and kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from harness.capture.etl.field import COUNTED, Field, InType
from harness.capture.etl.layout import DEEPEST, Layout
from harness.capture.etl.record import EXT_SCHEMA, EXT_TRAITS, EventRecord

MOST_FIELDS = 16_384
"""Fields of the descriptions that are kept at a time; each takes about a kilobyte."""

CHAIN, FIXED_COUNT, VARIABLE_COUNT, CUSTOM, TYPE = 0x80, 0x20, 0x40, 0x60, 0x1F


@dataclass(slots=True)
class Schema:
    """An event's own description: its name, its tag, its layout."""

    name: str
    tag: int
    layout: Layout


class _Cut(Exception):
    """The description ends too early."""


class _Parser:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 2
        self.fields = 0
        self.end = min(int.from_bytes(raw[:2], "little"), len(raw))

    def byte(self) -> int:
        if self.at >= self.end:
            raise _Cut
        self.at += 1
        return self.raw[self.at - 1]

    def u16(self) -> int:
        return self.byte() | self.byte() << 8

    def text(self) -> str:
        stop = self.raw.find(b"\0", self.at, self.end)
        if stop < 0:
            raise _Cut
        found = self.raw[self.at : stop].decode("utf-8", "replace")
        self.at = stop + 1
        return found

    def tag(self) -> int:
        # Seven bits a byte, most significant first, left-aligned in 28 bits.
        tag = shift = 0
        while True:
            byte = self.byte()
            if shift < 28:
                tag = tag << 7 | byte & 0x7F
                shift += 7
            if not byte & CHAIN:
                return tag << (28 - shift)

    def field(self, depth: int) -> Field:
        self.fields += 1
        name = self.text()
        kind = self.byte()
        out = 0
        if kind & CHAIN:
            out = self.byte()
            if out & CHAIN:
                self.tag()
                out &= 0x7F
        in_type = kind & TYPE
        count: int | None = None
        if kind & CUSTOM == CUSTOM:
            # A serializer of the provider's own: its schema is here, its bytes follow a 16-bit length in the payload.
            for _ in range(self.u16()):
                self.byte()
            return Field(name=name, in_type=InType.BINARY, out_type=out)
        if kind & CUSTOM == FIXED_COUNT:
            count = self.u16()
        elif kind & CUSTOM == VARIABLE_COUNT:
            count = COUNTED
        if in_type != InType.STRUCT:
            return Field(name=name, in_type=in_type, out_type=out, count=count)
        if depth >= DEEPEST:
            raise _Cut
        members = tuple(self.field(depth + 1) for _ in range(out))
        return Field(name=name, in_type=in_type, count=count, members=members)


_kept: dict[bytes, Schema | None] = {}
_kept_fields = 0


def parse(raw: bytes) -> Schema | None:
    """Read a description, or return None when it is cut short or nests too deep. Known descriptions are kept."""
    global _kept_fields
    try:
        return _kept[raw]
    except KeyError:
        pass
    parser = _Parser(raw)
    found = _parse(parser)
    # A guest that never repeats a description must not fill the memory. A provider has a few hundred events.
    if _kept_fields > MOST_FIELDS:
        _kept.clear()
        _kept_fields = 0
    _kept_fields += 1 + parser.fields + len(raw) // 256
    _kept[raw] = found
    return found


def _parse(parser: _Parser) -> Schema | None:
    try:
        tag = parser.tag()
        name = parser.text()
        fields: list[Field] = []
        while parser.at < parser.end:
            fields.append(parser.field(0))
    except _Cut:
        return None
    return Schema(name, tag, Layout(tuple(fields)))


def schema(record: EventRecord) -> Schema | None:
    """Return the description in an event, or None when it has none or a damaged one."""
    raw = record.item(EXT_SCHEMA)
    return None if raw is None else parse(raw)


@lru_cache(maxsize=256)
def _traits(raw: bytes) -> str:
    parser = _Parser(raw)
    try:
        return parser.text()
    except _Cut:
        return ""


def provider_name(record: EventRecord) -> str:
    """Return the provider's name from its traits, "" when the event has none."""
    raw = record.item(EXT_TRAITS)
    return "" if raw is None else _traits(raw)
