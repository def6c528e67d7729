# SPDX-License-Identifier: MIT
"""The records of a report: columns of numbers for the picture, and packed texts, which the page unpacks on demand."""

from __future__ import annotations

import base64
import gzip

import msgspec

from harness.report.escape import printable

PIECE = 1000
"""Records whose texts are packed together."""

LONGEST_RAW = 32 << 10
"""Characters of a raw line that are kept."""


class RecordRow(msgspec.Struct, frozen=True, kw_only=True):
    """One record as the picture and the table show it.

    ``at`` is its place in nanoseconds. ``told``: the timeline shows it also without *every record*.
    """

    number: int
    at: int
    lane: str
    kind: str
    source: str
    processor: int
    subject: int
    told: bool
    sentence: str
    raw: str


class RecordColumns:
    """Takes rows one by one and packs them for the page."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.times: list[int] = []
        self.lanes: list[int] = []
        self.kinds: list[int] = []
        self.sources: list[int] = []
        self.processors: list[int] = []
        self.subjects: list[int] = []
        self.told: list[int] = []
        self.lane_names: dict[str, int] = {}
        self.kind_names: dict[str, int] = {}
        self.source_names: dict[str, int] = {}
        self.pieces: list[str] = []
        self._texts: list[tuple[str, str]] = []

    def add(self, row: RecordRow) -> None:
        """Take a row."""
        self.numbers.append(row.number)
        self.times.append(row.at)
        self.lanes.append(self.lane_names.setdefault(row.lane, len(self.lane_names)))
        self.kinds.append(self.kind_names.setdefault(row.kind, len(self.kind_names)))
        self.sources.append(self.source_names.setdefault(row.source, len(self.source_names)))
        self.processors.append(row.processor)
        self.subjects.append(row.subject)
        self.told.append(int(row.told))
        self._texts.append((row.sentence, printable(row.raw, LONGEST_RAW)))
        if len(self._texts) == PIECE:
            self._pack()

    def finish(self) -> None:
        """Pack the rows that are left."""
        if self._texts:
            self._pack()

    def _pack(self) -> None:
        # Without a time: two reports of one run must have the same bytes.
        packed = gzip.compress(msgspec.json.encode(self._texts), compresslevel=6, mtime=0)
        self.pieces.append(base64.b64encode(packed).decode("ascii"))
        self._texts = []
