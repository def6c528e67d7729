# SPDX-License-Identifier: MIT
"""Reads a history back, record by record, and reports exactly where and why it stops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import msgspec

from harness.errors import BadHistory, system_errors
from harness.history import write_lock
from harness.history.driver import AnyDriverRecord
from harness.history.private import open_regular
from harness.history.record import FORMAT, Header, HostRecord, Record
from harness.history.run_directory import FACTS, HISTORY, history_file

AnyRecord = HostRecord | AnyDriverRecord

LONGEST_LINE = 4 * 1024 * 1024
"""Bytes of the longest line that a reader accepts. A QMP reply of a large machine is far shorter."""


LARGEST_KEPT = 8 << 20
"""Bytes of a history whose records are kept in memory. Decoding that many takes some tenths of a second."""


PIECE = 1 << 16
"""Bytes read at a time; their lines are decoded together."""


class _Probe(msgspec.Struct):
    k: str
    format: int = 0


class History:
    """One recorded history, which may still grow. Iterating yields its records in file order.

    Each record is decoded once, however often the history is iterated, because decoded records are kept. No more are kept
    once the history is damaged or larger than :data:`LARGEST_KEPT`: the rest is then decoded at each iteration.

    After an iteration, ``damage`` is empty or says why reading stopped early ("line 812: …"). The records before it were
    yielded. ``seconds`` is the time from the first record to the last. A last line without its newline was being written
    when the run was killed: that is damage too.
    Raises BadHistory if there is no history at ``path``, it is empty, or its format is newer than this harness.
    """

    def __init__(self, path: Path) -> None:
        self.path = history_file(path)
        self.damage = ""
        self._kept: tuple[list[Record], int] = [], 0
        self._last_ns = 0
        with (
            system_errors(
                str(self.path), hint=f"A run directory holds a file called {HISTORY}.", kind=BadHistory
            ),
            open_regular(self.path) as file,
        ):
            first = file.readline(LONGEST_LINE)
        self.header = self._header(first)

    @property
    def growing(self) -> bool:
        """Whether a process is writing it, as far as its file system can tell."""
        return write_lock.is_held(self.path)

    @property
    def seconds(self) -> float:
        """The time span of the records that were read, on the host's monotonic clock, in seconds."""
        return max(0, self._last_ns - self.header.host_ns) / 1e9

    def _header(self, line: bytes) -> Header:
        if not line:
            raise BadHistory(
                f"{self.path} is empty, it has no line 1: the run ended before it recorded anything"
            )
        try:
            probe = msgspec.json.decode(line, type=_Probe)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadHistory(
                f"{self.path}: line 1 is not a history header: {error}",
                hint=f"Give a run directory, or the {HISTORY} in it.",
            ) from error
        if probe.k != "header":
            raise BadHistory(
                f"{self.path}: line 1 is a {probe.k[:40]!r} record, a history begins with 'header'"
            )
        if probe.format > FORMAT:
            raise BadHistory(
                f"{self.path}: history format {probe.format} is newer than the {FORMAT} this harness reads",
                hint=f"Judge it with the harness that recorded it ({FACTS} names its version), or update this one.",
            )
        try:
            return msgspec.json.decode(line, type=Header)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadHistory(f"{self.path}: line 1 is a damaged header: {error}") from error

    def __iter__(self) -> Iterator[Record]:
        return chain.from_iterable(self._pieces())

    def _pieces(self) -> Iterator[list[Record]]:
        """Yield the records of the file, many at a time: those kept, then those decoded now."""
        kept, offset = self._kept
        with self.path.open("rb") as file:
            file.seek(offset)
            fresh = self._decoded(file, len(kept))
            if os.fstat(file.fileno()).st_size > LARGEST_KEPT:
                yield kept
                yield from fresh
                return
            kept = [*kept, *chain.from_iterable(fresh)]
            if not self.damage:
                # Both at once: an interrupt between them would make the next iteration decode a record twice.
                self._kept = kept, file.tell()
        yield kept

    def _decoded(self, file: BinaryIO, number: int) -> Iterator[list[Record]]:
        """Yield the records of ``file`` from its position, after record ``number``; set ``damage`` to the reason for a stop."""
        decode = msgspec.json.Decoder(AnyRecord).decode
        self.damage = ""
        cut = b""
        while data := file.read(PIECE):
            *lines, cut = (cut + data).split(b"\n")
            # Only the first line and the remainder can have begun in an earlier piece.
            long = len(lines[0] if lines else cut) >= LONGEST_LINE
            if long:
                lines.clear()
            try:
                records: list[Record] = [decode(line) for line in lines]
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                records = self._until_damage(lines, number)
            numbers = [record.n for record in records]
            expected = range(number + 1, number + 1 + len(records))
            if numbers != [*expected]:
                good, wrong = next(
                    (place, n)
                    for place, (n, due) in enumerate(zip(numbers, expected, strict=True))
                    if n != due
                )
                self.damage = (
                    f"line {number + good + 1} carries record number {wrong}: lines were lost or edited"
                )
                records = records[:good]
            number += len(records)
            if records:
                self._last_ns = records[-1].host_ns
                yield records
            if long and not self.damage:
                self.damage = f"line {number + 1} is longer than {LONGEST_LINE} bytes"
            if self.damage:
                return
        if cut:
            self.damage = f"line {number + 1} is cut off: the run was killed while writing it"

    def _until_damage(self, lines: list[bytes], number: int) -> list[Record]:
        """Decode the lines after record ``number`` one by one, up to the first that cannot be decoded."""
        decoder = msgspec.json.Decoder(AnyRecord)
        records: list[Record] = []
        for line in lines:
            try:
                records.append(decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self.damage = f"line {number + len(records) + 1}: {error}"
                break
        return records
