# SPDX-License-Identifier: MIT
"""TRACE_EVENT_INFO: how a merged log describes its manifest events.

A merge (tracerpt, wpr, xperf, pktmon) asks Windows for the description of every event in the log and writes it as
an event of KernelTraceControl, class bbccf6c1-6cd1-48c4-80ff-839482e37671: opcode 32 holds a TRACE_EVENT_INFO, opcode
33 a provider's GUID and an EVENT_MAP_INFO, which names the values of a field. They can be anywhere in the log.

All offsets count from the structure's start and point to UTF-16 strings. Properties of structures are in one array
with the others and are named by index. Everything is checked, because any program may have written the log.

Layouts: W32:tdh.h, TRACE_EVENT_INFO, EVENT_PROPERTY_INFO, EVENT_MAP_INFO, _TDH_IN_TYPE, _TDH_OUT_TYPE.
"""

from __future__ import annotations

import struct

import msgspec

from harness.capture.etl import guid
from harness.capture.etl.field import Field, InType, OutType
from harness.capture.etl.layout import DEEPEST, utf16_end
from harness.capture.etl.manifest import EventDescription

METADATA = guid.parse("bbccf6c1-6cd1-48c4-80ff-839482e37671")
EVENT_INFO, MAP_INFO = 32, 33
"""Opcodes of the class METADATA."""

MOST_FIELDS = 4096
"""Fields of one event. Those of structures count once for each structure, because indexes may repeat without end."""

BY_CLASS = 1
"""DecodingSourceWbem: a classic event, found by its class and opcode."""

Labels = tuple[dict[int, str], bool]
"""Names of values, and whether each set bit has one."""

_HEAD = struct.Struct("<16s16sHBBBBHQ16I")
_NAME_AT = 52
_PROPERTY = struct.Struct("<IIHHIHHI")
_MAP = struct.Struct("<IIII")
_ENTRY = struct.Struct("<II")

_STRUCT, _LENGTH_BY_NAME, _COUNT_BY_NAME, _FIXED_COUNT = 0x1, 0x2, 0x4, 0x20
_BITMAP, _WBEM_BITMAP, _PATTERN = 0x2, 0x10, 0x4

_IN_TYPES: dict[int, int] = {
    300: InType.COUNTED_UTF16,
    301: InType.COUNTED_ANSI,
    304: InType.REST_UTF16,
    305: InType.REST_ANSI,
    306: InType.UINT16,
    307: InType.UINT8,
    308: InType.POINTER,
    310: InType.WBEM_SID,
}
_CHARACTERS = frozenset({306, 307})

_OUT_TYPES: dict[int, int] = {
    1: OutType.STRING,
    13: OutType.BOOLEAN,
    15: OutType.HEX,
    16: OutType.HEX,
    17: OutType.HEX,
    18: OutType.HEX,
    19: OutType.HEX,
    20: OutType.PID,
    21: OutType.TID,
    22: OutType.PORT,
    23: OutType.IPV4,
    24: OutType.IPV6,
    25: OutType.SOCKET_ADDRESS,
    28: OutType.XML,
    29: OutType.WIN32_ERROR,
    30: OutType.WIN32_ERROR,
    31: OutType.NTSTATUS,
    32: OutType.HRESULT,
    33: OutType.DATE_TIME,
    34: OutType.JSON,
    35: OutType.UTF8,
    36: OutType.PKCS7,
    37: OutType.CODE_POINTER,
    38: OutType.DATE_TIME_UTC,
}


class EventInfo(msgspec.Struct, frozen=True):
    """A description found in a log."""

    provider: bytes
    provider_name: str
    description: EventDescription


class _Invalid(Exception):
    """The structure contradicts itself."""


def key(raw: bytes) -> tuple[bytes, int, int] | None:
    """Return the key of the event that a TRACE_EVENT_INFO describes: provider (or class), id (or opcode), version."""
    if len(raw) < _HEAD.size:
        return None
    provider, event_class, number, version, _channel, _level, opcode, _task, _keyword, source = (
        _HEAD.unpack_from(raw)[:10]
    )
    return (event_class, opcode, version) if source == BY_CLASS else (provider, number, version)


def provider_name(raw: bytes) -> str:
    """Return the name that a TRACE_EVENT_INFO gives its provider, "" for none."""
    return _text(raw, int.from_bytes(raw[_NAME_AT : _NAME_AT + 4], "little"))


def parse(raw: bytes, maps: dict[str, Labels]) -> EventInfo | None:
    """Read a TRACE_EVENT_INFO; ``maps`` are the provider's, by name. None when it contradicts itself."""
    if len(raw) < _HEAD.size:
        return None
    provider, _class, number, version, _channel, level, opcode, task, _keyword, _source, *rest = (
        _HEAD.unpack_from(raw)
    )
    (name_at, _level_at, _channel_at, keywords_at, task_at, opcode_at, message_at) = rest[:7]
    properties, top = rest[12:14]
    try:
        if properties * _PROPERTY.size > len(raw) - _HEAD.size or top > properties:
            raise _Invalid
        fields = _Properties(raw, properties, maps).fields(0, top)
    except _Invalid:
        return None
    task_name, opcode_name = _text(raw, task_at), _text(raw, opcode_at)
    parts = [task_name or (f"task {task}" if task else ""), opcode_name if opcode or not task_name else ""]
    description = EventDescription(
        id=number,
        version=version,
        name="/".join(part for part in parts if part) or f"event {number}",
        level=level,
        opcode=opcode,
        task=task_name,
        opcode_name=opcode_name,
        keywords=_list(raw, keywords_at),
        message=_text(raw, message_at),
        fields=fields,
    )
    return EventInfo(provider, _text(raw, name_at), description)


def parse_map(raw: bytes) -> tuple[bytes, str, Labels] | None:
    """Read an EVENT_MAP_INFO after its provider's GUID: the GUID, the map's name, its labels. None if it is invalid."""
    provider, raw = raw[:16], raw[16:]
    if len(raw) < _MAP.size:
        return None
    name_at, flags, count, _kind = _MAP.unpack_from(raw)
    name = _text(raw, name_at)
    if not name or flags & _PATTERN or count * _ENTRY.size > len(raw) - _MAP.size:
        return None
    labels = {
        value: _text(raw, at)
        for at, value in _ENTRY.iter_unpack(raw[_MAP.size : _MAP.size + count * _ENTRY.size])
    }
    return provider, name, (labels, bool(flags & (_BITMAP | _WBEM_BITMAP)))


def summary(opcode: int, raw: bytes) -> dict[str, str | int] | None:
    """Return a short summary of the description in a record of the class METADATA, or None for another kind."""
    if opcode == EVENT_INFO:
        found = parse(raw, {})
        if found is None:
            return None
        described = found.description
        return {
            "Provider": guid.text(found.provider),
            "Name": found.provider_name,
            "Id": described.id,
            "Version": described.version,
            "Event": described.name,
        }
    if opcode == MAP_INFO:
        named = parse_map(raw)
        return None if named is None else {"Provider": guid.text(named[0]), "Map": named[1]}
    return None


def _text(raw: bytes, at: int) -> str:
    """Return the string at an offset, without the trailing blanks of message tables; "" for offset 0."""
    if not 0 < at < len(raw):
        return ""
    stop = utf16_end(raw, at)
    end = stop if stop >= 0 else len(raw) - (len(raw) - at) % 2
    return raw[at:end].decode("utf-16-le", "replace").rstrip()


def _list(raw: bytes, at: int) -> tuple[str, ...]:
    """Return the strings from an offset up to an empty one."""
    found: list[str] = []
    while 0 < at < len(raw) and len(found) < 64:
        name = _text(raw, at)
        if not name:
            break
        found.append(name)
        stop = utf16_end(raw, at)
        if stop < 0:
            break
        at = stop + 2
    return tuple(found)


class _Properties:
    """The array of EVENT_PROPERTY_INFO as fields."""

    def __init__(self, raw: bytes, count: int, maps: dict[str, Labels]) -> None:
        self.raw = raw
        self.count = count
        self.maps = maps
        self.left = MOST_FIELDS

    def fields(self, begin: int, count: int, depth: int = 0) -> tuple[Field, ...]:
        if begin + count > self.count or depth > DEEPEST:
            raise _Invalid
        self.left -= count
        if self.left < 0:
            raise _Invalid
        return tuple(self.field(begin + number, depth) for number in range(count))

    def at(self, index: int) -> tuple[int, ...]:
        if index >= self.count:
            raise _Invalid
        return _PROPERTY.unpack_from(self.raw, _HEAD.size + index * _PROPERTY.size)

    def name(self, index: int) -> str:
        return _text(self.raw, self.at(index)[1])

    def field(self, index: int, depth: int) -> Field:
        flags, name_at, first, second, map_at, count, length, _reserved = self.at(index)
        name = _text(self.raw, name_at) or f"property {index}"
        amount: int | str | None = None
        if flags & _COUNT_BY_NAME:
            amount = self.name(count)
        elif flags & _FIXED_COUNT or count > 1:
            amount = count
        if flags & _STRUCT:
            members = self.fields(first, second, depth + 1)
            return Field(name=name, in_type=InType.STRUCT, count=amount, members=members)
        in_type = _IN_TYPES.get(first, first)
        out_type = OutType.STRING if first in _CHARACTERS else _OUT_TYPES.get(second, 0)
        size: int | str | None = None
        if flags & _LENGTH_BY_NAME:
            size = self.name(length)
        elif in_type in (InType.UTF16, InType.ANSI, InType.BINARY) and length:
            size = length
        elif in_type == InType.BINARY and out_type == OutType.IPV6:
            size = 16
        labels, bits = self.maps.get(_text(self.raw, map_at), ({}, False))
        return Field(
            name=name,
            in_type=in_type,
            out_type=out_type,
            count=amount,
            length=size,
            labels=labels,
            bits=bits,
        )
