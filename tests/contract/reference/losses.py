# SPDX-License-Identifier: MIT
"""What a history can lose on its way."""

from __future__ import annotations

import random
from collections.abc import Callable

from harness.history.driver import DriverRecord, Hello
from harness.history.record import Boot, Channel, End, Header, Record
from tests.contract.reference.editing import changed, lines, where

Damaged = list[Record] | None
Damage = Callable[[list[Record], random.Random], Damaged]


def drivers(records: list[Record]) -> list[int]:
    """The places of the driver records."""
    return where(records, lambda record: isinstance(record, DriverRecord))


def last_records(records: list[Record]) -> set[int]:
    """The places of the last record of each driver in each boot."""
    found: dict[tuple[str, str], int] = {}
    for place in drivers(records):
        record = records[place]
        assert isinstance(record, DriverRecord)
        found[record.boot, record.driver] = place
    return set(found.values())


def without(records: list[Record], places: set[int]) -> list[Record]:
    """The records at other places."""
    return [record for place, record in enumerate(records) if place not in places]


def record_gone(records: list[Record], chance: random.Random) -> Damaged:
    """A driver record never arrives; the channel's account counts what did."""
    places = [place for place in drivers(records) if place not in last_records(records)]
    place = chance.choice(places)
    left = without(records, {place})
    name, lost = records[place].channel, chance.randint(0, 1)  # type: ignore[attr-defined]
    return lines([
        changed(one, records=one.records - 1, lost=lost) if isinstance(one, Channel) and one.name == name else one
        for one in left
    ])  # fmt: skip


def record_gone_from_file(records: list[Record], chance: random.Random) -> Damaged:
    """A line of the file is gone; the numbers of the lines and of the driver show it."""
    return without(records, {chance.choice([p for p in drivers(records) if p not in last_records(records)])})


def host_line_gone(records: list[Record], chance: random.Random) -> Damaged:
    """A line that the host wrote is gone; only the numbers of the lines show it."""
    places = where(records, lambda record: not isinstance(record, DriverRecord | Header | End))
    return without(records, {chance.choice(places)})


def last_lines_gone(records: list[Record], chance: random.Random) -> Damaged:
    """The last lines of a driver are lost, and its channel's account names more than arrived."""
    name = records[chance.choice(drivers(records))].driver  # type: ignore[attr-defined]
    mine = [place for place in drivers(records) if records[place].driver == name]  # type: ignore[attr-defined]
    return lines(without(records, set(mine[-chance.randint(1, min(6, len(mine))) :])))


def account_gone(records: list[Record], chance: random.Random) -> Damaged:
    """One channel has no account, while another has."""
    places = where(records, lambda record: isinstance(record, Channel))
    return lines(without(records, {chance.choice(places)})) if len(places) > 1 else None


def boot_gone(records: list[Record], chance: random.Random) -> Damaged:
    """The guest booted again with a new nonce, and no record says so."""
    boots = where(records, lambda record: isinstance(record, Boot))
    if len(boots) < 2 or not all(
        any(isinstance(record, DriverRecord) for record in part)
        for part in (records[boots[-2] : boots[-1]], records[boots[-1] :])
    ):
        return None
    return lines(without(records, {boots[-1]}))


def hello_gone(records: list[Record], chance: random.Random) -> Damaged:
    """A driver's first line never arrived."""
    firsts = where(records, lambda record: isinstance(record, Hello) and record.seq == 1)
    return lines(without(records, {chance.choice(firsts)}))


def cut(records: list[Record], chance: random.Random) -> Damaged:
    """The history ends somewhere."""
    return records[: chance.randint(len(records) // 3, len(records) - 1)]
