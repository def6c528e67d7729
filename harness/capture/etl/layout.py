# SPDX-License-Identifier: MIT
"""The layout of an event's payload, and reading values by it.

TraceLogging's own description, an instrumentation manifest and the kernel's classic events all have the same content:
a sequence of fields. Each field has an in-type (the layout of its bytes) and an out-type (how people want to see it).
It may have a count, which makes it an array, a length, and members, which make it a structure. A field's count
or length is a number, the name of an earlier field, or (TraceLogging) a 16-bit number in front of the values.

Values are Python's own: int, float, bool, str, bytes, lists of them, dicts for structures. A FILETIME stays an
int and a SYSTEMTIME becomes a :class:`~harness.capture.etl.field.SystemTime`; nothing is rounded. Payloads are hostile:
every read is checked against the end, the number of values in one event is bounded, and so is nesting.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from harness.capture.etl import guid
from harness.capture.etl.field import COUNTED, REST, Field, InType, OutType, SystemTime

SPARE_VALUES = 1024
"""Values that one event may have beyond one for each byte of its payload. Only empty values take no byte."""

DEEPEST = 16
"""Levels of structures within structures."""


class PayloadTooShort(Exception):
    """The payload ends, or becomes invalid, within a field."""


class _Reading:
    """One payload being read: its bytes, its end, how many more values it may have, the values read so far.

    ``scopes`` are the values of the event and of each structure around the current place, innermost last.
    """

    __slots__ = ("data", "end", "left", "pointer", "scopes")

    def __init__(self, data: bytes, pointer: int) -> None:
        self.data = data
        self.end = len(data)
        self.pointer = pointer
        self.left = self.end + SPARE_VALUES
        self.scopes: list[dict[str, Any]] = [{}]


_Reader = Callable[[_Reading, int], tuple[Any, int]]

NUMBERS = {
    InType.INT8: "<b",
    InType.UINT8: "<B",
    InType.INT16: "<h",
    InType.UINT16: "<H",
    InType.INT32: "<i",
    InType.UINT32: "<I",
    InType.INT64: "<q",
    InType.UINT64: "<Q",
    InType.FLOAT: "<f",
    InType.DOUBLE: "<d",
    InType.FILETIME: "<q",
    InType.HEX32: "<I",
    InType.HEX64: "<Q",
}
"""The ``struct`` format of each numeric in-type."""

_SIGNED = {InType.UINT8: "<b", InType.UINT16: "<h", InType.UINT32: "<i", InType.UINT64: "<q"}
_UNSIGNED = {InType.INT8: "<B", InType.INT16: "<H", InType.INT32: "<I", InType.INT64: "<Q"}
_SYSTEMTIME = struct.Struct("<8H")
_U16 = struct.Struct("<H")


def _ansi(raw: bytes) -> str:
    # The log does not name the code page. UTF-8 is recognisable; other text is taken as Western European.
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _utf16(raw: bytes) -> str:
    return raw.decode("utf-16-le", "replace")


def number_format(field: Field) -> str:
    """Return the ``struct`` format of a numeric field. Its out-type may change the sign."""
    in_type = InType(field.in_type)
    other = _SIGNED if field.out_type == OutType.SIGNED else _UNSIGNED
    meant = other.get(in_type) if field.out_type in (OutType.SIGNED, OutType.UNSIGNED) else None
    return meant or NUMBERS[in_type]


def _number(field: Field) -> _Reader:
    form = struct.Struct(number_format(field))
    unpack, size = form.unpack_from, form.size
    convert: Callable[[Any], Any] | None = None
    if field.out_type == OutType.BOOLEAN:
        convert = bool
    elif field.out_type == OutType.STRING and field.in_type in (InType.UINT8, InType.INT8):
        convert = lambda value: bytes([value & 0xFF]).decode("cp1252", "replace")  # noqa: E731
    elif field.out_type == OutType.STRING and field.in_type == InType.UINT16:
        convert = lambda value: _utf16(_U16.pack(value))  # noqa: E731
    elif field.out_type == OutType.IPV4 and field.in_type == InType.UINT32:
        convert = lambda value: str(IPv4Address(value.to_bytes(4, "little")))  # noqa: E731
    elif field.out_type == OutType.PORT and field.in_type == InType.UINT16:
        convert = lambda value: int.from_bytes(_U16.pack(value), "big")  # noqa: E731

    def read(reading: _Reading, at: int) -> tuple[Any, int]:
        if at + size > reading.end:
            raise PayloadTooShort
        value = unpack(reading.data, at)[0]
        return (value if convert is None else convert(value)), at + size

    return read


def _null(_reading: _Reading, at: int) -> tuple[None, int]:
    return None, at


def _of_size(size: int, convert: Callable[[bytes], Any]) -> _Reader:
    """Return a reader for values of ``size`` bytes."""

    def read(reading: _Reading, at: int) -> tuple[Any, int]:
        if at + size > reading.end:
            raise PayloadTooShort
        return convert(reading.data[at : at + size]), at + size

    return read


def _pointer(reading: _Reading, at: int) -> tuple[int, int]:
    after = at + reading.pointer
    if after > reading.end:
        raise PayloadTooShort
    return int.from_bytes(reading.data[at:after], "little"), after


def _sid(reading: _Reading, at: int) -> tuple[str, int]:
    data = reading.data
    if at + 8 > reading.end or at + 8 + 4 * data[at + 1] > reading.end:
        raise PayloadTooShort
    after = at + 8 + 4 * data[at + 1]
    parts = [data[at], int.from_bytes(data[at + 2 : at + 8], "big")]
    parts += struct.unpack_from(f"<{data[at + 1]}I", data, at + 8)
    return "S-" + "-".join(map(str, parts)), after


def _wbem_sid(reading: _Reading, at: int) -> tuple[str | None, int]:
    # A TOKEN_USER (pointer and attributes, padded to two pointers), followed by the SID; a lone 0 means no SID
    # (W32:ETW/process-typegroup1.md). A user-mode writer leaves the pointer 0 though the SID follows.
    data = reading.data
    if at + 4 > reading.end:
        raise PayloadTooShort
    behind = at + 2 * reading.pointer
    if not any(data[at : at + 4]):
        follows = behind + 8 <= reading.end and data[behind] == 1 and 1 <= data[behind + 1] <= 15
        if not follows or any(data[at:behind]):
            return None, at + 4
    return _sid(reading, behind)


def _rest_utf16(reading: _Reading, at: int) -> tuple[str, int]:
    return _utf16(reading.data[at : reading.end]), reading.end


def _rest_ansi(reading: _Reading, at: int) -> tuple[str, int]:
    return _ansi(reading.data[at : reading.end]), reading.end


def _socket_address(raw: bytes) -> str | bytes:
    """Return a SOCKADDR_IN or SOCKADDR_IN6 as address and port (W32:WinSock, sockaddr), another one unchanged."""
    family = int.from_bytes(raw[:2], "little")
    port = int.from_bytes(raw[2:4], "big")
    if family == 2 and len(raw) >= 8:
        return f"{IPv4Address(raw[4:8])}:{port}"
    if family == 23 and len(raw) >= 24:
        return f"[{IPv6Address(raw[8:24])}]:{port}"
    return raw


def utf16_end(data: bytes, at: int) -> int:
    """Return where the UTF-16 string at an offset ends: at two zero bytes at an even distance; -1 if there are none."""
    stop = data.find(b"\0\0", at)
    while stop >= 0 and (stop - at) & 1:
        stop = data.find(b"\0\0", stop + 1)
    return stop


def _zero_utf16(reading: _Reading, at: int) -> tuple[str, int]:
    # The last string of a payload may lack its terminator.
    data, stop = reading.data, utf16_end(reading.data, at)
    if stop < 0:
        return _utf16(data[at : reading.end]), reading.end
    return _utf16(data[at:stop]), stop + 2


def _zero_ansi(reading: _Reading, at: int) -> tuple[str, int]:
    stop = reading.data.find(b"\0", at)
    if stop < 0:
        return _ansi(reading.data[at : reading.end]), reading.end
    return _ansi(reading.data[at:stop]), stop + 1


def _sized(in_type: int, out_type: int, size: Callable[[_Reading, int], tuple[int, int]]) -> _Reader:
    """Return a reader for strings and bytes. ``size`` finds their size, in front of them or elsewhere."""
    convert: Callable[[bytes], Any]
    if in_type in (InType.UTF16, InType.COUNTED_UTF16):
        convert = _utf16
    elif in_type in (InType.ANSI, InType.COUNTED_ANSI):
        convert = _ansi
    elif out_type == OutType.SOCKET_ADDRESS:
        convert = _socket_address
    elif out_type == OutType.IPV6:
        convert = lambda raw: str(IPv6Address(raw)) if len(raw) == 16 else raw  # noqa: E731
    else:
        convert = bytes

    def read(reading: _Reading, at: int) -> tuple[Any, int]:
        length, at = size(reading, at)
        if length < 0 or at + length > reading.end:
            raise PayloadTooShort
        return convert(reading.data[at : at + length]), at + length

    return read


def _counted(reading: _Reading, at: int) -> tuple[int, int]:
    if at + 2 > reading.end:
        raise PayloadTooShort
    return int(_U16.unpack_from(reading.data, at)[0]), at + 2


def _amount(wanted: int | str) -> Callable[[_Reading, int], tuple[int, int]]:
    """Return a function that finds a count or length."""
    if wanted == COUNTED:
        return _counted
    if isinstance(wanted, int):
        fixed = wanted
        return lambda _reading, at: (fixed, at)

    def named(reading: _Reading, at: int) -> tuple[int, int]:
        for scope in reversed(reading.scopes):
            value = scope.get(wanted)
            if isinstance(value, int):
                return value, at
        raise PayloadTooShort

    return named


def _text(field: Field) -> _Reader:
    """Return a reader for the string and binary types."""
    if field.in_type in (InType.COUNTED_UTF16, InType.COUNTED_ANSI, InType.COUNTED_BINARY):
        return _sized(field.in_type, field.out_type, _counted)
    if field.length is not None:
        amount = _amount(field.length)
        if field.in_type == InType.UTF16:
            characters = amount

            def amount(reading: _Reading, at: int) -> tuple[int, int]:
                count, at = characters(reading, at)
                return 2 * count, at

        sized = _sized(field.in_type, field.out_type, amount)
        fixed = isinstance(field.length, int) and field.length > 0 and field.in_type != InType.BINARY
        return _fixed_text(sized) if fixed else sized
    if field.in_type == InType.BINARY:
        return _sized(InType.BINARY, field.out_type, _counted)
    return _zero_utf16 if field.in_type == InType.UTF16 else _zero_ansi


_PLAIN: dict[int, _Reader] = {
    InType.NULL: _null,
    InType.BOOLEAN: _of_size(4, any),
    InType.GUID: _of_size(16, guid.text),
    InType.POINTER: _pointer,
    InType.SYSTEMTIME: _of_size(16, lambda raw: SystemTime._make(_SYSTEMTIME.unpack(raw))),
    InType.SID: _sid,
    InType.WBEM_SID: _wbem_sid,
    InType.REST_UTF16: _rest_utf16,
    InType.REST_ANSI: _rest_ansi,
}
_TEXTS = frozenset(
    {
        InType.UTF16,
        InType.ANSI,
        InType.BINARY,
        InType.COUNTED_UTF16,
        InType.COUNTED_ANSI,
        InType.COUNTED_BINARY,
    }
)


def _unknown(_reading: _Reading, _at: int) -> tuple[Any, int]:
    raise PayloadTooShort


def _one(field: Field, depth: int) -> _Reader:
    if field.in_type == InType.STRUCT:
        if depth >= DEEPEST:
            return _unknown
        return _structure(field.members, depth + 1)
    if field.in_type in NUMBERS:
        return _number(field)
    if field.in_type in _TEXTS:
        return _text(field)
    return _PLAIN.get(field.in_type, _unknown)


def _structure(members: tuple[Field, ...], depth: int) -> _Reader:
    names = unique([member.name for member in members])
    readers = [_reader(member, depth) for member in members]

    def read(reading: _Reading, at: int) -> tuple[dict[str, Any], int]:
        reading.left -= len(readers)
        if reading.left < 0:
            raise PayloadTooShort
        values: dict[str, Any] = {}
        reading.scopes.append(values)
        for name, one in zip(names, readers, strict=True):
            values[name], at = one(reading, at)
        reading.scopes.pop()
        return values, at

    return read


def _fixed_text(one: _Reader) -> _Reader:
    """Return a reader for text of fixed length. The bytes after a zero in it are ignored."""

    def read(reading: _Reading, at: int) -> tuple[Any, int]:
        value, after = one(reading, at)
        return value.partition("\0")[0], after

    return read


def _rest(one: _Reader) -> _Reader:
    def read(reading: _Reading, at: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        while at < reading.end:
            value, after = one(reading, at)
            if after == at:
                raise PayloadTooShort
            values.append(value)
            at = after
        return values, at

    return read


def _array(one: _Reader, count: int | str) -> _Reader:
    if count == REST:
        return _rest(one)
    amount = _amount(count)

    def read(reading: _Reading, at: int) -> tuple[list[Any], int]:
        number, at = amount(reading, at)
        reading.left -= number
        if number < 0 or reading.left < 0:
            raise PayloadTooShort
        values: list[Any] = []
        for _ in range(number):
            value, at = one(reading, at)
            values.append(value)
        return values, at

    return read


def _reader(field: Field, depth: int) -> _Reader:
    one = _one(field, depth)
    return one if field.count is None else _array(one, field.count)


def unique(names: list[str]) -> list[str]:
    """Return the names with a number added to repeated ones: ``x``, ``x#2``."""
    seen: dict[str, int] = {}
    result: list[str] = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return result


class Layout:
    """Fields prepared for reading. Make one per event description and keep it.

    The last ``optional`` fields may be missing: a payload that ends before one of them is complete.
    """

    def __init__(self, fields: tuple[Field, ...], *, optional: int = 0) -> None:
        self.fields = fields
        self.needed = len(fields) - optional
        self.names = unique([field.name for field in fields])
        self._readers = list(zip(self.names, [_reader(field, 0) for field in fields], strict=True))

    def read(self, data: bytes, pointer_size: int) -> tuple[dict[str, Any], str]:
        """Read a payload: the values by name, and "" or what stopped the reading (the values before it are kept)."""
        reading = _Reading(data, pointer_size)
        values = reading.scopes[0]
        at = 0
        for name, one in self._readers:
            try:
                values[name], at = one(reading, at)
            except PayloadTooShort:
                if at == len(data) and len(values) >= self.needed:
                    return values, ""
                return (
                    values,
                    f"the payload of {len(data)} bytes ends, or makes no sense, in field {name!r} at byte {at}",
                )
        if at < len(data):
            return values, f"{len(data) - at} bytes follow the last field"
        return values, ""
