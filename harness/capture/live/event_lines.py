# SPDX-License-Identifier: MIT
"""Trace events as lines: how the twin, a guest without ETW, passes on what a driver gave to EtwWrite.

One event is one line on the debug port, of at most :data:`LONGEST_LINE` bytes::

    EVT1 n=7 boot=00c0ffee00c0ffee provider=<32 hex digits> id=1 version=0 time=482911 cpu=2 thread=61 data=0200… crc=…

``n`` counts the events of all providers of a boot from 1, so that a lost line shows; ``time`` counts 100 ns; ``data`` is the
payload; ``crc`` the CRC-32 of every byte before ``" crc="``. The stream comes from a guest: malformed lines are counted.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from harness.capture.live.debugcon import DebugPortDecoder
from harness.capture.mapping.driver_map import DriverMap
from harness.capture.mapping.mapper import CHANNEL, Mapper, TraceEvent
from harness.history.record import Channel, Record

HZ = 10_000_000
"""Ticks of ``time`` in a second."""

LONGEST_LINE = 4096
"""Bytes of the longest line, newline included: a payload of some 1,900 bytes."""

LARGEST = (1 << 63) - 1
"""The largest number, thread or time that a line may have."""

FIRST = 1
"""Number of a boot's first event."""

_LINE = re.compile(
    rb"EVT1 n=(\d{1,20}) boot=([0-9a-f]{16}) provider=([0-9a-f]{32}) id=(\d{1,5}) version=(\d{1,3}) "
    rb"time=(\d{1,20}) cpu=(\d{1,5}) thread=(\d{1,20}) data=((?:[0-9a-f]{2})*)"
)


MOST_BOOTS = 1000
"""Boot nonces that are followed. A guest may invent any number."""


@dataclass(slots=True)
class _Numbering:
    """The events of one boot: their mapper, the next expected number, and how many are missing since the last mapped one."""

    mapper: Mapper
    next: int
    skipped: int = 0


class EventLines(DebugPortDecoder):
    """Bytes in, records of one driver out, with the same account as the debug port's. Keeps at most one unfinished line.

    A line whose number is below the next expected one is a repetition, or too late to be put in its place: it is left out
    and counted as ``stale``. A line of a superseded boot is also counted, but passed on. With ``resumed`` the guest was
    restored from a snapshot, and the first boot's numbers continue from where the snapshot was made.
    """

    SIGNS = ()

    def __init__(self, described_by: DriverMap, *, resumed: bool = False) -> None:
        super().__init__(channel=CHANNEL, longest=LONGEST_LINE)
        self._map = described_by
        self._resumed = resumed
        self._boots: dict[str, _Numbering] = {}

    def account(self, *, closed: bool = False) -> Channel:
        """Return the counts so far, as a record."""
        mappers = [one.mapper for one in self._boots.values()]
        corrupt = sum(one.corrupt for one in mappers)
        return msgspec.structs.replace(
            super().account(closed=closed),
            records=sum(one.handed_on for one in mappers),
            corrupt=self.corrupt + corrupt,
            foreign=self.foreign + sum(one.unnamed for one in mappers),
            lost=self.lost + corrupt,
        )

    def reasons(self) -> list[str]:
        """Return why the first events that could not be mapped failed."""
        return [reason for one in self._boots.values() for reason in one.mapper.reasons][:8]

    def _decoded(self, line: bytes) -> Iterator[Record]:
        if not line.startswith(b"EVT1 "):
            self.foreign += bool(line)
            return
        text, mark, crc = line.rpartition(b" crc=")
        match = _LINE.fullmatch(text)
        if not mark or match is None or crc != b"%08x" % zlib.crc32(text):
            self.corrupt += 1
            return
        number = int(match[1])
        if max(number, int(match[6]), int(match[8])) > LARGEST:
            self.corrupt += 1
            return
        numbering = self._follow(match[2].decode(), number)
        if numbering is None:
            return
        if bytes.fromhex(match[3].decode()) != self._map.provider:
            self.foreign += 1
            return
        skipped, numbering.skipped = numbering.skipped, 0
        traced = TraceEvent(
            id=int(match[4]), version=int(match[5]), time=int(match[6]), processor=int(match[7]),
            thread=int(match[8]), payload=bytes.fromhex(match[9].decode()), skipped=skipped,
        )  # fmt: skip
        yield from numbering.mapper.records(traced)

    def _follow(self, boot: str, number: int) -> _Numbering | None:
        """Return the numbering of a line's boot, with the missing lines before it counted; None if the line is left out."""
        numbering = self._boots.get(boot)
        if numbering is None:
            if len(self._boots) >= MOST_BOOTS:
                self.corrupt += 1
                return None
            goes_on = self._resumed and not self._boots
            mapper = Mapper(self._map, boot=boot, hz=HZ)
            numbering = self._boots[boot] = _Numbering(mapper, number if goes_on else FIRST)
            self._boot = boot
        if number < numbering.next:
            self.stale += 1
            return None
        self.stale += boot != self._boot
        missing = number - numbering.next
        self.lost += missing
        numbering.skipped += missing
        numbering.next = number + 1
        return numbering
