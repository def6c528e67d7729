# SPDX-License-Identifier: MIT
"""Losses and contradictions: what happens to a documented history on its way, and what may then be said of it.

Nothing of it may be called violated, since nothing was done wrongly; and nothing may hold that rests on evidence that is
missing or contradicts itself (amendment R.1).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from harness.history.driver import DriverRecord, Hello
from harness.history.record import Agreement, Channel, Mapped, Quiesced, Record
from tests.contract.reference.driver import ABSENT
from tests.contract.reference.editing import changed, lines, where
from tests.contract.reference.loading import PROVIDER
from tests.contract.reference.losses import (
    account_gone,
    boot_gone,
    cut,
    drivers,
    hello_gone,
    host_line_gone,
    last_lines_gone,
    last_records,
    record_gone,
    record_gone_from_file,
    without,
)
from tests.contract.reference.scenario import HOLDS, UNKNOWN, Story

Damaged = list[Record] | None
Damage = Callable[[list[Record], random.Random], Damaged]


def lines_torn(records: list[Record], chance: random.Random) -> Damaged:
    """The account tells of lines that could not be read."""
    return _account(
        records, chance, **{chance.choice(["torn", "corrupt", "oversized"]): chance.randint(1, 3)}
    )


def account_wrong(records: list[Record], chance: random.Random) -> Damaged:
    """The account names more or fewer records than there are."""
    place = chance.choice(where(records, lambda record: isinstance(record, Channel)))
    said = records[place]
    assert isinstance(said, Channel)
    off = chance.choice([1, 2, 7, -1, -2])
    return _account(records, chance, place, records=max(0, said.records + off))


def _account(history: list[Record], chance: random.Random, place: int = -1, /, **fields: int) -> Damaged:
    if place < 0:
        place = chance.choice(where(history, lambda record: isinstance(record, Channel)))
    return [*history[:place], changed(history[place], **fields), *history[place + 1 :]]


def copy_same(records: list[Record], chance: random.Random) -> Damaged:
    """A record stands twice on one channel, and the account counts both."""
    return _doubled(records, chance, lambda record: record)


def copy_contradicts(records: list[Record], chance: random.Random) -> Damaged:
    """A record stands twice, and the two disagree."""
    fields = ("cpu", "active", "irql", "reg", "nt", "state", "op", "link", "minor", "object", "result", "ret")

    def other(record: Record) -> Record:
        field = chance.choice([name for name in fields if hasattr(record, name)])
        value = getattr(record, field)
        return changed(record, **{field: value + "x" if isinstance(value, str) else value + 1})

    return _doubled(records, chance, other)


def _doubled(records: list[Record], chance: random.Random, make: Callable[[Record], Record]) -> Damaged:
    place = chance.choice(drivers(records))
    record = records[place]
    assert isinstance(record, DriverRecord)
    made = [*records[: place + 1], make(record), *records[place + 1 :]]
    return lines([
        changed(one, records=one.records + 1) if isinstance(one, Channel) and one.name == record.channel else one
        for one in made
    ])  # fmt: skip


def channels_contradict(records: list[Record], chance: random.Random) -> Damaged:
    """A second channel brings one record too, and says something else of it."""
    place = chance.choice(drivers(records))
    record = records[place]
    assert isinstance(record, DriverRecord)
    copy = changed(record, channel="ring", irql=record.irql + 2)
    account = Channel(name="ring", records=1, closed=True, host_ns=records[-1].host_ns)
    return lines([*records[: place + 1], copy, *records[place + 1 : -1], account, records[-1]])


def second_header(records: list[Record], chance: random.Random) -> Damaged:
    """Another header stands in the middle: two histories were joined."""
    header = changed(records[0], run="another", host_ns=0)
    place = chance.randint(1, len(records) - 1)
    return lines([*records[:place], changed(header, host_ns=records[place].host_ns), *records[place:]])


def behind_the_end(records: list[Record], chance: random.Random) -> Damaged:
    """Something stands behind the end."""
    place = chance.randrange(1, len(records) - 1)
    return lines([*without(records, {place}), records[place]])


def no_silence(records: list[Record], chance: random.Random) -> Damaged:
    """The proofs of silence tell of no time at all."""
    return [changed(one, quiet_ns=0) if isinstance(one, Quiesced) else one for one in records]


def agreement_disagrees(records: list[Record], chance: random.Random) -> Damaged:
    """An agreement says that the three agree, and its own numbers say otherwise."""

    def tells(record: Record) -> bool:
        return isinstance(record, Agreement) and record.agreed and record.expected in ("added", "vetoed")

    places = where(records, tells)
    if not places:
        return None
    place = chance.choice(places)
    said = records[place]
    assert isinstance(said, Agreement)
    fields: dict[str, Any] = {"counted_after": said.counted_before + 1}
    if said.expected == "added":
        fields = chance.choice(
            [{"counted_after": said.counted_before}, {"qemu_lists": False}, {"ost": [(1, 1)]}]
        )
    return [*records[:place], changed(said, **fields), *records[place + 1 :]]


def map_too_late(records: list[Record], chance: random.Random) -> Damaged:
    """A map stands behind the first lines of its driver."""
    mapped = {record.driver for record in records if isinstance(record, Mapped)}
    places = where(
        records, lambda record: isinstance(record, DriverRecord) and not isinstance(record, Hello) and record.driver not in mapped
    )  # fmt: skip
    if not places:
        return None
    place = chance.choice(places)
    made = Mapped(driver=records[place].driver, provider=PROVIDER, absent=ABSENT)  # type: ignore[attr-defined]
    return lines([*records[:place], changed(made, host_ns=records[place].host_ns), *records[place:]])


def number_twice(records: list[Record], chance: random.Random) -> Damaged:
    """Two records of a driver have one number."""
    places = [place for place in drivers(records) if records[place].seq > 1]  # type: ignore[attr-defined]
    place = chance.choice(places)
    return [*records[:place], changed(records[place], seq=records[place].seq - 1), *records[place + 1 :]]  # type: ignore[attr-defined]


def lines_of_another_boot(records: list[Record], chance: random.Random) -> Damaged:
    """Lines with another nonce, left over in a buffer, stand before a driver's hello."""
    place = where(records, lambda record: isinstance(record, Hello))[0]
    first = records[place]
    assert isinstance(first, Hello)
    old = [
        record
        for record in records[place:]
        if isinstance(record, DriverRecord) and record.driver == first.driver
    ]
    nonce = f"{chance.getrandbits(64):016x}"
    tail = [changed(one, boot=nonce, host_ns=first.host_ns) for one in old[3 : 3 + chance.randint(1, 3)]]
    if not tail:
        return None
    made = [*records[:place], *tail, *records[place:]]
    return lines([
        changed(one, records=one.records + len(tail)) if isinstance(one, Channel) and one.name == first.channel else one
        for one in made
    ])  # fmt: skip


DAMAGES: dict[str, Damage] = {
    damage.__name__.replace("_", "-"): damage
    for damage in (
        record_gone, record_gone_from_file, host_line_gone, last_lines_gone, account_gone, lines_torn, account_wrong,
        copy_same, copy_contradicts, channels_contradict, second_header, behind_the_end, boot_gone, no_silence, agreement_disagrees,
        map_too_late, number_twice, hello_gone, cut, lines_of_another_boot,
    )
}  # fmt: skip


def damaged(story: Story, name: str, chance: random.Random) -> Story | None:
    """One damage to a documented history; None if it has nothing that could be damaged so."""
    between = len(drivers(story.records)) - len(last_records(story.records))
    made = DAMAGES[name](list(story.records), chance) if between > 3 else None
    if made is None:
        return None
    expected = {HOLDS, UNKNOWN} if name == "lines-of-another-boot" else {UNKNOWN}
    why = (DAMAGES[name].__doc__ or "").partition("\n")[0]
    return Story(f"damage/{name}", made, frozenset(expected), why)
