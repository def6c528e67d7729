# SPDX-License-Identifier: MIT
"""Edits of a history that leave its numbers, clocks and accounts in agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from harness.history.driver import DriverRecord
from harness.history.record import Channel, End, Record
from tests.contract.reference.tape import accounts

TEMPORARY = 10_000_000
"""Numbers from here on mark records that were put in; :func:`renumber` gives them their places."""


def changed(record: Record, **fields: Any) -> Record:
    """A copy with other values."""
    return msgspec.structs.replace(record, **fields)


def lines(records: Sequence[Record]) -> list[Record]:
    """Number the lines of the file anew, and keep the host's clock in their order."""
    times = sorted(record.host_ns for record in records)
    return [
        changed(record, n=place, host_ns=now)
        for place, (record, now) in enumerate(zip(records, times, strict=True), 1)
    ]


def renumber(records: Sequence[Record]) -> list[Record]:
    """Give the records of each driver their numbers and counters in the order in which they stand now."""
    clocks: dict[str, list[int]] = {}
    counts: dict[tuple[str, str], int] = {}
    places: dict[tuple[str, str, int], int] = {}
    for record in records:
        if isinstance(record, DriverRecord):
            clocks.setdefault(record.boot, []).append(record.qpc)
            key = (record.boot, record.driver)
            counts[key] = counts.get(key, 0) + 1
            places[(*key, record.seq)] = counts[key]
    ticks = {boot: iter(_apart(sorted(clock))) for boot, clock in clocks.items()}
    counts.clear()
    made: list[Record] = []
    for record in records:
        if isinstance(record, DriverRecord):
            key = (record.boot, record.driver)
            counts[key] = counts.get(key, 0) + 1
            record = changed(record, seq=counts[key], qpc=next(ticks[record.boot]))
            enter = getattr(record, "enter", 0)
            if enter:
                record = changed(record, enter=places.get((*key, enter), 0))
        made.append(record)
    return lines(made)


def _apart(clock: list[int]) -> list[int]:
    for place in range(1, len(clock)):
        clock[place] = max(clock[place], clock[place - 1] + 1)
    return clock


def recount(records: Sequence[Record]) -> list[Record]:
    """Let the accounts agree with what is present."""
    rest = [record for record in records if not isinstance(record, Channel)]
    place = next((n for n, record in enumerate(rest) if isinstance(record, End)), len(rest))
    now = rest[place - 1].host_ns
    return [*rest[:place], *(changed(one, host_ns=now) for one in accounts(rest)), *rest[place:]]


def consistent(records: Sequence[Record]) -> list[Record]:
    """Renumber and recount."""
    return lines(recount(renumber(records)))


def where(records: Sequence[Record], test: Callable[[Record], bool]) -> list[int]:
    """The places of the records that pass a test."""
    return [place for place, record in enumerate(records) if test(record)]
