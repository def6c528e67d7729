# SPDX-License-Identifier: MIT
"""TraceLogging: every type, arrays, structures, and descriptions that do not fit."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path
from typing import Any

import pytest

from harness.capture.etl import layout, tracelogging
from harness.capture.etl.decoder import Decoded, Decoder
from harness.capture.etl.display import show
from harness.capture.etl.field import SystemTime
from harness.capture.etl.tracelog import TraceLog
from tests.capture.etl import encoder

GUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
SID = bytes([1, 2, 0, 0, 0, 0, 0, 5]) + struct.pack("<II", 32, 544)


def decode(tmp_path: Path, description: bytes, payload: bytes, **event: Any) -> Decoded:
    """Write one self-describing event into a log, read it back and decode it."""
    items = [(12, encoder.traits("Lab.Provider")), (11, description)]
    path = tmp_path / "one.etl"
    path.write_bytes(
        encoder.header_buffer() + encoder.buffer(encoder.event(encoder.START, payload, items=items, **event))
    )
    with TraceLog(path) as log:
        _header, record = log
        return Decoder().decode(record)


@pytest.mark.parametrize(
    ("in_type", "out_type", "raw", "value", "shown"),
    [
        (1, 0, "häß\0".encode("utf-16-le"), "häß", "häß"),
        (1, 0, "Ā\0".encode("utf-16-le"), "Ā", "Ā"),
        (2, 0, b"plain\0", "plain", "plain"),
        (2, 35, "é\0".encode(), "é", "é"),
        (2, 0, b"\xe9\0", "é", "é"),
        (3, 0, b"\xff", -1, "-1"),
        (4, 0, b"\xff", 255, "255"),
        (4, 3, b"\x01", True, "true"),
        (4, 2, b"M", "M", "M"),
        (5, 0, b"\xfe\xff", -2, "-2"),
        (6, 0, b"\xfe\xff", 65534, "65534"),
        (6, 7, b"\x01\xbb", 443, "443"),
        (6, 2, "Ω".encode("utf-16-le"), "Ω", "Ω"),
        (7, 15, struct.pack("<i", -2147467259), -2147467259, "0x80004005"),
        (8, 14, struct.pack("<I", 0xC000009A), 0xC000009A, "0xC000009A"),
        (8, 8, bytes([127, 0, 0, 1]), "127.0.0.1", "127.0.0.1"),
        (9, 0, struct.pack("<q", -(1 << 63)), -(1 << 63), str(-(1 << 63))),
        (10, 0, b"\xff" * 8, (1 << 64) - 1, str((1 << 64) - 1)),
        (11, 0, struct.pack("<f", 0.5), 0.5, "0.5"),
        (12, 0, struct.pack("<d", -0.1), -0.1, "-0.1"),
        (13, 0, struct.pack("<I", 7), True, "true"),
        (14, 0, b"\x03\x00\x01\x02\x03", b"\1\2\3", "010203"),
        (14, 9, b"\x10\x00" + bytes(15) + b"\1", "::1", "::1"),
        (15, 0, GUID.bytes_le, str(GUID), str(GUID)),
        (17, 0, struct.pack("<q", 132754127757990001), 132754127757990001, "2021-09-06T14:39:35.7990001Z"),
        (18, 0, struct.pack("<8H", 2021, 9, 4, 9, 14, 59, 35, 799), SystemTime(2021, 9, 4, 9, 14, 59, 35, 799),
         "2021-09-09T14:59:35.799Z"),
        (19, 0, SID, "S-1-5-32-544", "S-1-5-32-544"),
        (20, 0, struct.pack("<I", 0x1F), 0x1F, "0x1f"),
        (21, 0, struct.pack("<Q", 0x1F), 0x1F, "0x1f"),
        (22, 0, b"\x04\x00" + "ab".encode("utf-16-le"), "ab", "ab"),
        (23, 0, b"\x02\x00ab", "ab", "ab"),
        (25, 0, b"\x02\x00ab", b"ab", "6162"),
        (0, 0, b"", None, ""),
        (3, 18, b"\xff", 255, "255"),
        (4, 17, b"\xff", -1, "-1"),
        (10, 17, b"\xff" * 8, -1, "-1"),
        (10, 16, struct.pack("<Q", 132754127757990001), 132754127757990001, "2021-09-06T14:39:35.7990001Z"),
        (8, 5, struct.pack("<I", 4), 4, "4"),
        (8, 13, struct.pack("<I", 5), 5, "5"),
        (7, 3, struct.pack("<i", 1), True, "true"),
        (10, 37, struct.pack("<Q", 0x1F), 0x1F, "0x1f"),
        (14, 10, b"\x10\0\2\0\x01\xbb\x0a\0\0\1" + bytes(8), "10.0.0.1:443", "10.0.0.1:443"),
        (14, 10, b"\x1c\0\x17\0\x01\xbb" + bytes(19) + b"\1" + bytes(4), "[::1]:443", "[::1]:443"),
        (14, 10, b"\2\0\1\0", b"\1\0", "0100"),
        (22, 12, b"\x04\0" + "{}".encode("utf-16-le"), "{}", "{}"),
        (4 | 0x20, 0, b"\1\2\3", [1, 2, 3], "[1, 2, 3]"),
        (4 | 0x40, 0, b"\2\0\7\x08", [7, 8], "[7, 8]"),
        (1 | 0x40, 0, b"\2\0" + "a\0bc\0".encode("utf-16-le"), ["a", "bc"], "[a, bc]"),
        (4 | 0x60, 0, b"\2\0xy", b"xy", "7879"),
    ],
)  # fmt: skip
def test_every_type_is_decoded(
    tmp_path: Path, in_type: int, out_type: int, raw: bytes, value: object, shown: str
) -> None:
    """The value, what people see of it, and that the field after it is found."""
    tail = struct.pack("<H", 3) if in_type & 0x60 == 0x20 else b""
    tail = struct.pack("<H", 2) + b"\7\7" if in_type & 0x60 == 0x60 else tail
    field = encoder.described("field", in_type, out_type, tail=tail)
    decoded = decode(
        tmp_path, encoder.schema("Event", field, encoder.described("after", 8)), raw + struct.pack("<I", 99)
    )
    assert (decoded.provider, decoded.event, decoded.how, decoded.problem) == (
        "Lab.Provider",
        "Event",
        "tracelogging",
        "",
    )
    assert decoded.values == {"field": value, "after": 99}
    assert show(decoded.values["field"], decoded.fields[0]) == shown


def test_pointers_have_the_width_of_their_event(tmp_path: Path) -> None:
    """A 32-bit provider's pointer takes four bytes."""
    description = encoder.schema("P", encoder.described("p", 16, 4), encoder.described("after", 4))
    for wide, raw in ((True, struct.pack("<Q", 0x1234)), (False, struct.pack("<I", 0x1234))):
        assert decode(tmp_path, description, raw + b"\x09", wide=wide).values == {"p": 0x1234, "after": 9}


def test_structures_nest_and_repeat(tmp_path: Path) -> None:
    """A varying array of structures that hold a structure and an array."""
    point = encoder.described("point", 24, 2) + encoder.described("x", 4) + encoder.described("y", 4)
    group = encoder.described("group", 24 | 0x40, 2) + point + encoder.described("names", 2 | 0x40)
    decoded = decode(
        tmp_path,
        encoder.schema("Nested", group, encoder.described("last", 4)),
        b"\2\0" + b"\1\2" + b"\1\0a\0" + b"\3\4" + b"\2\0b\0c\0" + b"\x09",
    )
    assert decoded.values == {
        "group": [
            {"point": {"x": 1, "y": 2}, "names": ["a"]},
            {"point": {"x": 3, "y": 4}, "names": ["b", "c"]},
        ],
        "last": 9,
    }
    assert (
        show(decoded.values["group"], decoded.fields[0])
        == "[{point={x=1, y=2}, names=[a]}, {point={x=3, y=4}, names=[b, c]}]"
    )


def test_tags_of_event_and_field_are_read_over() -> None:
    """A tag of two bytes is the upper half of 28 bits; a field's tag stands before its count."""
    field = b"f\0" + bytes([8 | 0x80 | 0x20, 4 | 0x80, 0x81, 0x01]) + struct.pack("<H", 1)
    body = bytes([0x82, 0x03]) + b"Tagged\0" + field
    schema = tracelogging.parse(struct.pack("<H", len(body) + 2) + body)
    assert schema is not None
    assert (schema.name, schema.tag) == ("Tagged", (2 << 7 | 3) << 14)
    assert schema.layout.read(struct.pack("<I", 5), 8) == ({"f": [5]}, "")


def test_fields_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    """TraceLogging does not forbid them."""
    description = encoder.schema("Twice", encoder.described("x", 4), encoder.described("x", 4))
    assert decode(tmp_path, description, b"\1\2").values == {"x": 1, "x#2": 2}


def test_a_payload_that_ends_early_keeps_what_it_had(tmp_path: Path) -> None:
    """The values before the end, and the field in which it ended."""
    description = encoder.schema("Cut", encoder.described("a", 4), encoder.described("b", 8))
    decoded = decode(tmp_path, description, b"\1\2\3")
    assert decoded.values == {"a": 1}
    assert decoded.problem == "the payload of 3 bytes ends, or makes no sense, in field 'b' at byte 1"


def test_bytes_after_the_last_field_are_reported(tmp_path: Path) -> None:
    """A description that is too short for its payload is not believed silently."""
    decoded = decode(tmp_path, encoder.schema("Long", encoder.described("a", 4)), b"\1\2\3")
    assert (decoded.values, decoded.problem) == ({"a": 1}, "2 bytes follow the last field")


def test_values_that_take_no_bytes_are_bounded() -> None:
    """65,535 structures of nothing in a payload of two bytes are a hostile description."""
    nothing = encoder.described("s", 24 | 0x40, 1) + encoder.described("n", 0)
    schema = tracelogging.parse(encoder.schema("Bomb", nothing))
    assert schema is not None
    values, problem = schema.layout.read(b"\xff\xff", 8)
    assert values == {}
    assert "field 's'" in problem


def test_structures_nest_only_so_deep() -> None:
    """A description of nothing but structures in structures is refused before it costs anything."""
    deep = b"".join(encoder.described("s", 24, 1) for _ in range(layout.DEEPEST + 2))
    assert tracelogging.parse(encoder.schema("Deep", deep, encoder.described("n", 4))) is None
