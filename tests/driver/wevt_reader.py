# SPDX-License-Identifier: MIT
"""A reader of WEVT_TEMPLATE resources and message tables that shares nothing with what makes them.

The layout is that of libyal/libfwevt's documentation and of MS-EVEN6 (binary XML); where the first has no name for a
value, it is called what wevtutil shows of it. Whatever does not fit raises AssertionError or struct.error.
"""

from __future__ import annotations

import struct
from typing import Any

KINDS = {
    0: b"LEVL", 1: b"TASK", 2: b"OPCO", 3: b"KEYW", 4: b"EVNT", 5: b"CHAN", 6: b"MAPS", 7: b"TTBL", 8: b"QTAB", 9: b"FLTR",
    12: b"EVTA", 13: b"PRVA",
}  # fmt: skip


class Reader:
    """Reads from one resource; offsets count from its begin."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def get(self, layout: str, at: int) -> tuple[Any, ...]:
        """Unpack a little-endian layout."""
        return struct.unpack_from(f"<{layout}", self.data, at)

    def counted(self, at: int) -> str:
        """Read a name with its size, which is a multiple of 4 and includes itself."""
        (size,) = self.get("I", at)
        assert size % 4 == 0
        text = self.data[at + 4 : at + size].decode("utf-16-le")
        name, _, padding = text.partition("\0")
        assert padding.strip("\0") == ""
        return name

    def plain(self, at: int) -> str:
        """Read a name that ends with NUL."""
        end = at
        while self.data[end : end + 2] != b"\0\0":
            end += 2
        return self.data[at:end].decode("utf-16-le")


def read_template(data: bytes) -> list[dict[str, Any]]:
    """Return the providers of a resource, as dictionaries by the blocks' tags."""
    reader = Reader(data)
    tag, size, major, minor, count = reader.get("4sIHHI", 0)
    assert (tag, major, minor) == (b"CRIM", 5, 1)
    assert data[size:] == b"\0\0"
    providers = []
    for index in range(count):
        guid, at = reader.get("16sI", 16 + 20 * index)
        providers.append({"guid": guid, **_provider(reader, at)})
    return providers


def _provider(reader: Reader, at: int) -> dict[str, Any]:
    tag, _, message, count = reader.get("4sIII", at)
    assert tag == b"WEVT"
    found: dict[str, Any] = {"message": message}
    for index in range(count):
        kind, place = reader.get("II", at + 16 + 8 * index)
        name, size, number = reader.get("4sII", place)
        assert name == KINDS[kind]
        assert size or not number
        found[name.decode()] = globals()[f"_{name.decode().lower()}"](reader, place, number)
    return found


def _chan(reader: Reader, at: int, number: int) -> dict[int, tuple[Any, ...]]:
    rows = [(place, reader.get("IIII", place)) for place in range(at + 12, at + 12 + 16 * number, 16)]
    return {
        place: (reader.counted(name), value, message, bool(flags))
        for place, (flags, name, value, message) in rows
    }


def _opco(reader: Reader, at: int, number: int) -> dict[int, tuple[Any, ...]]:
    rows = [(place, reader.get("HHII", place)) for place in range(at + 12, at + 12 + 12 * number, 12)]
    return {
        place: (reader.counted(name), value, task, message) for place, (task, value, message, name) in rows
    }


def _levl(reader: Reader, at: int, number: int) -> dict[int, tuple[Any, ...]]:
    rows = [(place, reader.get("III", place)) for place in range(at + 12, at + 12 + 12 * number, 12)]
    return {place: (reader.counted(name), value, message) for place, (value, message, name) in rows}


def _task(reader: Reader, at: int, number: int) -> dict[int, tuple[Any, ...]]:
    rows = [(place, reader.get("II16sI", place)) for place in range(at + 12, at + 12 + 28 * number, 28)]
    return {
        place: (reader.counted(name), value, guid, message) for place, (value, message, guid, name) in rows
    }


def _keyw(reader: Reader, at: int, number: int) -> dict[int, tuple[Any, ...]]:
    rows = [(place, reader.get("QII", place)) for place in range(at + 12, at + 12 + 16 * number, 16)]
    return {place: (reader.counted(name), mask, message) for place, (mask, message, name) in rows}


def _maps(reader: Reader, at: int, number: int) -> dict[int, tuple[Any, ...]]:
    found = {}
    for place in reader.get(f"{number}I", at + 12):
        tag, size, name, flags, items = reader.get("4sIIII", place)
        assert (tag, flags, size) in ((b"VMAP", 0, 20 + 8 * items), (b"BMAP", 1, 20 + 8 * items))
        pairs = [reader.get("II", place + 20 + 8 * index) for index in range(items)]
        found[place] = (reader.counted(name), tag == b"BMAP", pairs)
    return found


def _qtab(reader: Reader, at: int, number: int) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    found = {}
    for place in reader.get(f"{number}I", at + 12):
        tag, _, name, form, items = reader.get("4sIIII", place)
        assert tag == b"QUER"
        pairs = [reader.get("II", place + 20 + 8 * index) for index in range(items)]
        found[reader.counted(name)] = (
            reader.counted(form),
            [(reader.counted(key), reader.counted(value)) for key, value in pairs],
        )
    return found


def _ttbl(reader: Reader, at: int, number: int) -> dict[int, dict[str, Any]]:
    found = {}
    place = at + 12
    for _ in range(number):
        tag, size, inserts, rows, descriptors, kind, guid = reader.get("4sIIIII16s", place)
        assert tag == b"TEMP"
        fields = [_field(reader, descriptors + 20 * index) for index in range(rows)]
        xml, end = _fragment(reader, place + 40)
        assert end == descriptors
        found[place] = {
            "guid": guid,
            "user": kind == 2,
            "fields": fields[:inserts],
            "members": fields[inserts:],
            "xml": xml,
        }
        place += size
    return found


def _field(reader: Reader, at: int) -> dict[str, Any]:
    flags, in_type, out_type, _, map_at, count, length, name = reader.get("IBBHIHHI", at)
    first, members = reader.get("HH", at + 4)
    found = {"name": reader.counted(name), "flags": flags, "count": count, "length": length}
    if flags & 1:
        return {**found, "first": first, "members": members}
    return {**found, "in": in_type, "out": out_type, "map": map_at}


def _evnt(reader: Reader, at: int, number: int) -> list[dict[str, Any]]:
    assert at % 8 == 0
    found = []
    for index in range(number):
        values = reader.get("HBBBBHQ8I", at + 16 + 48 * index)
        names = (
            "value", "version", "channel", "level", "opcode", "task", "keywords", "message", "template_at", "opcode_at",
            "level_at", "task_at", "keyword_count", "keywords_at", "channel_at",
        )  # fmt: skip
        event = dict(zip(names, values, strict=True))
        event["keyword_places"] = list(reader.get(f"{event['keyword_count']}I", event["keywords_at"]))
        found.append(event)
    return found


def _evta(reader: Reader, at: int, number: int) -> list[tuple[int, int, int, str]]:
    rows = [reader.get("BBHI", at + 12 + 8 * index) for index in range(number)]
    return [(kind, version, value, reader.plain(text)) for kind, version, value, text in rows]


def _fltr(reader: Reader, at: int, number: int) -> list[tuple[Any, ...]]:
    rows = [reader.get("BBHIII", at + 16 + 16 * index) for index in range(number)]
    return [
        (reader.counted(name), value, version, message, template)
        for value, version, _, message, name, template in rows
    ]


def _prva(reader: Reader, at: int, number: int) -> dict[int, Any]:
    rows = [reader.get("II", at + 12 + 8 * index) for index in range(number)]
    return {
        kind: reader.plain(place) if kind >> 28 == 1 else reader.data[place : place + 16]
        for kind, place in rows
    }


def _fragment(reader: Reader, at: int) -> tuple[Any, int]:
    """Read a fragment and return its element and where it ends, the padding included."""
    assert reader.get("BBBB", at) == (0x0F, 1, 1, 0)
    element, end = _element(reader, at + 4)
    assert reader.get("B", end) == (0,)
    padding = -(end + 1 - at) % 4
    assert reader.data[end + 1 : end + 1 + padding] == bytes(padding)
    return element, end + 1 + padding


def _element(reader: Reader, at: int) -> tuple[tuple[str, dict[str, str], list[Any]], int]:
    """Read an element: its name, its attributes, and its content of elements, texts and inserts (index, type)."""
    token, dependency, size = reader.get("BHI", at)
    assert token in (0x01, 0x41)
    assert dependency == 0xFFFF
    end = at + 7 + size
    name, at = _name(reader, at + 7)
    attributes: dict[str, str] = {}
    if token & 0x40:
        (length,) = reader.get("I", at)
        last = at + 4 + length
        at += 4
        more = True
        while more:
            (kind,) = reader.get("B", at)
            assert kind & 0x3F == 0x06
            more = bool(kind & 0x40)
            key, at = _name(reader, at + 1)
            attributes[key], at = _text(reader, at)
        assert at == last
    assert reader.get("B", at) == (0x02,)
    at += 1
    content: list[Any] = []
    while (kind := reader.data[at]) != 0x04:
        if kind == 0x0D:
            content.append(reader.get("HB", at + 1))
            at += 4
        elif kind == 0x05:
            text, at = _text(reader, at)
            content.append(text)
        else:
            child, at = _element(reader, at)
            content.append(child)
    assert at + 1 == end
    return (name, attributes, content), end


def _name(reader: Reader, at: int) -> tuple[str, int]:
    """Read a name and check its hash."""
    said, length = reader.get("HH", at)
    units = reader.data[at + 4 : at + 4 + 2 * length]
    found = 0
    for (unit,) in struct.iter_unpack("<H", units):
        found = found * 65599 + unit
    assert found & 0xFFFF == said
    assert reader.get("H", at + 4 + 2 * length) == (0,)
    return units.decode("utf-16-le"), at + 6 + 2 * length


def _text(reader: Reader, at: int) -> tuple[str, int]:
    token, kind, length = reader.get("BBH", at)
    assert (token, kind) == (0x05, 1)
    return reader.data[at + 4 : at + 4 + 2 * length].decode("utf-16-le"), at + 4 + 2 * length


def read_messages(data: bytes) -> dict[int, str]:
    """Return the texts of a message table by number (W32:winnt/ns-winnt-message_resource_data.md)."""
    if not data:
        return {}
    (blocks,) = struct.unpack_from("<I", data)
    found = {}
    last = -1
    end = 4 + 12 * blocks
    for index in range(blocks):
        low, high, at = struct.unpack_from("<III", data, 4 + 12 * index)
        assert last < low - 1 or index == 0
        assert at == end
        for number in range(low, high + 1):
            size, flags = struct.unpack_from("<HH", data, at)
            assert (size % 4, flags) == (0, 1)
            text = data[at + 4 : at + size].decode("utf-16-le")
            assert text.rstrip("\0").endswith("\r\n")
            found[number] = text.rstrip("\0").removesuffix("\r\n")
            at += size
        last, end = high, at
    assert end == len(data)
    return found
