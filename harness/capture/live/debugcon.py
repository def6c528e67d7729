# SPDX-License-Identifier: MIT
"""The debug port's stream: lines of the driver become records. Everything else is counted, never fatal.

The stream comes from the guest and may hold anything: lines torn by a crash, lines of two processors interleaved,
another program's output, a previous boot's tail, megabytes without a newline. A line becomes a record only if it
starts with ``HPN1 ``, its checksum matches and its fields are those of :mod:`harness.history.driver`.

Every well-formed record is passed on, with any boot nonce: one forged line must not silence those after it. The checker
decides what a nonce means.
"""

from __future__ import annotations

import re
import typing
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator

import msgspec

from harness.history.driver import AnyDriverRecord, DriverRecord
from harness.history.record import Channel, Record

LONGEST_LINE = 512
"""Bytes of the longest line a driver writes, newline included (DbgPrintEx takes no more: DDI: wdm/nf-wdm-dbgprintex.md)."""

MOST_NONCES = 10_000
"""Boot nonces, and drivers under them, that are remembered. A guest may invent any number."""

_MAGIC = b"HPN1 "
_CHECKSUM = b" crc="
_LINE = re.compile(rb"HPN1 (.*) crc=([0-9a-f]{8})")
_BEHEADED = re.compile(rb"(?!EVT1 ).* crc=[0-9a-f]{8}")
"""A line that ends like a driver's line and has lost its beginning. A twin's trace events end the same way."""

_BOOT = re.compile(r"[0-9a-f]{16}")
_DRIVER = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class _Field(msgspec.Struct, frozen=True):
    name: str
    integer: bool
    required: bool


_OF_RECORD = {field.name for field in msgspec.structs.fields(Record)} | {"channel"}


def _table() -> dict[str, tuple[type[DriverRecord], dict[str, _Field]]]:
    """Return the fields of each driver record by its wire name, taken from the record types themselves."""
    table: dict[str, tuple[type[DriverRecord], dict[str, _Field]]] = {}
    for kind in typing.get_args(AnyDriverRecord):
        tag = str(kind.__struct_config__.tag)
        fields = [
            _Field(field.name, field.type is int, field.required)
            for field in msgspec.structs.fields(kind)
            if field.name not in _OF_RECORD
        ]
        table[tag] = (kind, {field.name: field for field in fields})
    return table


_KINDS = _table()


class BadLine(ValueError):
    """A line that starts like a driver's line and is invalid; the message says why."""


def decode_line(line: bytes, *, channel: str) -> DriverRecord:
    """Decode one line without its newline. Raises BadLine.

    The history sets ``n`` and ``host_ns``.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadLine("no checksum at its end")
    if zlib.crc32(line[: match.end(1)]) != int(match[2], 16):
        raise BadLine("checksum does not match")
    try:
        pairs = [pair.split("=", 1) for pair in match[1].decode("ascii").split(" ")]
        values = dict(typing.cast("list[tuple[str, str]]", pairs))
    except ValueError as error:
        raise BadLine(f"not key=value text: {error}") from error
    if len(values) != len(pairs):
        raise BadLine("a key occurs twice")
    name = values.pop("ev", "")
    if name not in _KINDS:
        raise BadLine(f"unknown event {name[:40]!r}")
    kind, fields = _KINDS[name]
    fields_of_line: dict[str, int | str] = {"channel": channel}
    for key, text in values.items():
        field = fields.get(key)
        if field is None:
            raise BadLine(f"{name} has no field {key[:40]!r}")
        fields_of_line[key] = _integer(key, text) if field.integer else urllib.parse.unquote(text)
    try:
        record = msgspec.convert(fields_of_line | {"k": name}, kind)
    except msgspec.ValidationError as error:
        raise BadLine(f"{name}: {error}") from error
    if not is_named_well(record):
        raise BadLine("the boot nonce or the driver name is malformed")
    return record


def is_named_well(record: DriverRecord) -> bool:
    """Return whether boot nonce and driver name have the form that the driver writes. A guest may claim any."""
    return bool(_BOOT.fullmatch(record.boot) and _DRIVER.fullmatch(record.driver))


def _integer(key: str, text: str) -> int:
    try:
        value = int(text, 16) if text.startswith("0x") else int(text, 10)
    except ValueError as error:
        raise BadLine(f"{key} is not a number") from error
    if not -1 <= value < 1 << 64:
        raise BadLine(f"{key} is out of range")
    return value


class DebugPortDecoder:
    """Bytes in, driver records out, with an account of everything that was not one.

    Feed it in pieces of any size; it keeps at most one unfinished line of ``longest`` bytes. ``records`` counts what was
    passed on; of these, ``stale`` belong to a superseded boot nonce.
    """

    SIGNS: tuple[bytes, ...] = (_MAGIC, _CHECKSUM)
    """Every line that is or was a record contains one of these; () if no such text is known."""

    def __init__(self, *, channel: str = "debugcon", longest: int = LONGEST_LINE) -> None:
        self.channel = channel
        self._longest = longest
        self.records = self.torn = self.corrupt = self.foreign = self.oversized = self.stale = self.lost = 0
        self._rest = b""
        self._skipping = False
        self._boot = ""
        self._past: set[str] = set()
        self._next: dict[tuple[str, str], int] = {}

    def feed(self, data: bytes) -> Iterator[Record]:
        """Yield the records that ``data`` completes."""
        data = self._rest + data
        *lines, rest = data.split(b"\n")
        if lines and self._skipping:
            self._skipping = False
            del lines[0]
        if self.SIGNS and not any(sign in data for sign in self.SIGNS):
            self._pass(lines)
            lines = []
        for line in lines:
            yield from self._take(line)
        if self._skipping:
            rest = b""
        elif len(rest) >= self._longest:
            self.oversized += 1
            self._skipping = True
            rest = b""
        self._rest = rest

    def finish(self) -> None:
        """Record that the stream ended: an unfinished line was torn."""
        if self._rest and not self._skipping:
            self.torn += 1
        self._rest = b""

    def decode(self, line: bytes) -> DriverRecord:
        """Return the record of one line. Raises BadLine."""
        return decode_line(line, channel=self.channel)

    def account(self, *, closed: bool = False) -> Channel:
        """Return the counts so far, as a record."""
        return Channel(
            name=self.channel,
            records=self.records,
            torn=self.torn,
            corrupt=self.corrupt,
            foreign=self.foreign,
            oversized=self.oversized,
            stale=self.stale,
            lost=self.lost,
            closed=closed,
        )

    def _pass(self, lines: list[bytes]) -> None:
        """Count lines without any record, as :meth:`_take` would, but fast: a flood of them must not take long."""
        sizes = [len(line.removesuffix(b"\r")) for line in lines]
        oversized = sum(size >= self._longest for size in sizes)
        self.oversized += oversized
        self.foreign += len(sizes) - sizes.count(0) - oversized

    def _take(self, line: bytes) -> Iterable[Record]:
        """Return the records of a line."""
        line = line.removesuffix(b"\r")
        if len(line) >= self._longest:
            self.oversized += 1
            return ()
        return self._decoded(line)

    def _decoded(self, line: bytes) -> Iterable[Record]:
        start = line.rfind(_MAGIC)
        if start < 0:
            beheaded = _BEHEADED.fullmatch(line) is not None
            self.torn += beheaded
            self.foreign += bool(line) and not beheaded
            return ()
        if start > 0:
            # Two writers' lines ran together, or a torn line was followed by a whole one: the last may be whole.
            self.torn += 1
        try:
            record = self.decode(line[start:])
        except BadLine:
            if start == 0:
                self.corrupt += 1
            return ()
        self._count(record)
        return (record,)

    def _count(self, record: DriverRecord) -> None:
        """Count a record that is passed on, and the missing numbers of its driver before it."""
        if record.boot in self._past:
            self.stale += 1
        elif record.boot != self._boot:
            if self._boot and len(self._past) < MOST_NONCES:
                self._past.add(self._boot)
            self._boot = record.boot
        key = (record.boot, record.driver)
        if key not in self._next and len(self._next) >= MOST_NONCES:
            self._next.clear()
        expected = self._next.get(key, record.seq)
        if record.seq > expected:
            self.lost += record.seq - expected
        self._next[key] = max(expected, record.seq + 1)
        self.records += 1
