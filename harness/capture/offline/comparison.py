# SPDX-License-Identifier: MIT
"""The channels side by side: what each lost of the driver's records, and whether their copies agree.

(boot, driver, seq) identifies a record on every channel. A channel is compared with all others together: a record
that one of them has and it has not is lost. Records before its first or after its last are counted separately, because
the channel may have been opened later or closed earlier. A channel that is not configured is not missing: it is not listed.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from harness.history.driver import DriverRecord
from harness.history.record import Channel, Record

MOST_RANGES = 1000
"""Ranges and differences kept of each kind; all are counted."""

_NOT_COMPARED = frozenset({"n", "host_ns", "channel"})


class SequenceRange(msgspec.Struct, frozen=True):
    """Numbers ``first`` to ``last`` of a driver in a boot."""

    boot: str
    driver: str
    first: int
    last: int


class ChannelDifference(msgspec.Struct, frozen=True):
    """One record with different contents on the channels: ``values`` by channel."""

    boot: str
    driver: str
    seq: int
    field: str
    values: dict[str, Any]


class ChannelAccount(msgspec.Struct, kw_only=True):
    """What one channel carried: ``records`` different ones, ``repeated`` copies of those.

    ``lost`` are those that another channel has and that lie between this one's first and last. ``before`` and ``after``
    count those outside: the channel was opened later, or closed earlier, or lost them too.
    """

    channel: str
    records: int = 0
    repeated: int = 0
    lost: int = 0
    before: int = 0
    after: int = 0
    ranges: list[SequenceRange] = []


class ChannelComparison(msgspec.Struct, kw_only=True):
    """The channels side by side. ``nowhere`` are numbers that no channel brought although later ones came."""

    channels: list[ChannelAccount]
    differences: list[ChannelDifference] = []
    different: int = 0
    nowhere: list[SequenceRange] = []
    lost_nowhere: int = 0

    def accounts(self) -> list[Channel]:
        """Return each channel's account as seen from the others. Records that no channel brought count for each."""
        return [
            Channel(
                name=c.channel,
                records=c.records,
                lost=c.lost + c.before + c.after + self.lost_nowhere,
                closed=True,
            )
            for c in self.channels
        ]


def compare(records: Iterable[Record], *, channels: Iterable[str]) -> ChannelComparison:
    """Compare the copies of the driver's records that the configured ``channels`` carried, in any order.

    Records of other channels are ignored. The first copy of each record is kept until the end: memory grows with
    the history, some hundred bytes a record.
    """
    names = list(dict.fromkeys(channels))
    carried = {name: ChannelAccount(channel=name) for name in names}
    known: dict[tuple[str, str], dict[int, tuple[DriverRecord, int]]] = {}
    found = ChannelComparison(channels=list(carried.values()))
    for record in records:
        if not isinstance(record, DriverRecord) or record.channel not in carried:
            continue
        bit = 1 << names.index(record.channel)
        stream = known.setdefault((record.boot, record.driver), {})
        first, mask = stream.get(record.seq, (record, 0))
        stream[record.seq] = (first, mask | bit)
        mine = carried[record.channel]
        mine.records += not mask & bit
        mine.repeated += bool(mask & bit)
        if first is not record:
            _differences(first, record, found)
    for (boot, driver), stream in known.items():
        numbers = sorted(stream)
        _nowhere(boot, driver, numbers, found)
        for place, name in enumerate(names):
            present = [number for number in numbers if stream[number][1] >> place & 1]
            _lost(boot, driver, numbers, present, carried[name])
    return found


def _differences(first: DriverRecord, other: DriverRecord, found: ChannelComparison) -> None:
    if type(first) is not type(other):
        pairs = {"k": (first.__struct_config__.tag, other.__struct_config__.tag)}
    else:
        names = [name for name in first.__struct_fields__ if name not in _NOT_COMPARED]
        both = ((name, getattr(first, name), getattr(other, name)) for name in names)
        pairs = {name: (one, two) for name, one, two in both if one != two}
    for name, (one, two) in pairs.items():
        found.different += 1
        if len(found.differences) < MOST_RANGES:
            values = {first.channel: one, other.channel: two}
            found.differences.append(ChannelDifference(other.boot, other.driver, other.seq, name, values))


def _nowhere(boot: str, driver: str, numbers: list[int], found: ChannelComparison) -> None:
    for one, two in itertools.pairwise(numbers):
        if two > one + 1:
            found.lost_nowhere += two - one - 1
            if len(found.nowhere) < MOST_RANGES:
                found.nowhere.append(SequenceRange(boot, driver, one + 1, two - 1))


def _lost(boot: str, driver: str, numbers: list[int], present: list[int], mine: ChannelAccount) -> None:
    if not present:
        mine.after += len(numbers)
        missing = numbers
    else:
        have = set(present)
        missing = [number for number in numbers if number not in have]
        mine.before += bisect.bisect_left(missing, present[0])
        mine.after += len(missing) - bisect.bisect_right(missing, present[-1])
        mine.lost += bisect.bisect_right(missing, present[-1]) - bisect.bisect_left(missing, present[0])
    for first, last in _runs(missing, numbers):
        if len(mine.ranges) < MOST_RANGES:
            mine.ranges.append(SequenceRange(boot, driver, first, last))


def _runs(missing: list[int], numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last of each run of ``missing`` that no number of ``numbers`` interrupts."""
    places = {number: place for place, number in enumerate(numbers)}
    start = 0
    for at in range(1, len(missing) + 1):
        if at == len(missing) or places[missing[at]] != places[missing[at - 1]] + 1:
            yield missing[start], missing[at - 1]
            start = at
