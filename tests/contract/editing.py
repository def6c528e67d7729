# SPDX-License-Identifier: MIT
"""What can happen to a history that somebody edits: a record moved, deleted or doubled, a field deleted, a driver renamed,
a number changed.

The lines are numbered anew afterwards, so that the reader finds nothing wrong with the file.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

import msgspec

from harness.contract.checker import judge
from harness.contract.verdict import RunVerdict, Verdict
from harness.history.driver import DriverRecord
from harness.history.reader import AnyRecord
from harness.history.record import Mapped, Record

BY_DEFINITION = {
    ("call.enter", "flags"): "no flag",
    ("call.enter", "ctx"): "a NULL context",
    ("call.exit", "handle"): "a NULL handle",
    ("add", "expected"): "added",
}
"""Fields whose absence states a value: format 1 leaves it out, so a deleted field and that value are the same line."""

Edit = Callable[[Sequence[Record], random.Random], "EditedHistory | None"]


class EditedHistory(msgspec.Struct, frozen=True):
    """The records that are left of a history after an edit, why the reader stops behind them, and the edit in words."""

    what: str
    records: list[Record]
    damage: str = ""

    def judged(self) -> RunVerdict:
        """Return the verdict."""
        return judge(self.records, damage=self.damage)


def numbered(what: str, records: Sequence[Record]) -> EditedHistory:
    """Return an edited history with its lines numbered anew."""
    return EditedHistory(what, [msgspec.structs.replace(one, n=n) for n, one in enumerate(records, 1)])


def moved(records: Sequence[Record], draw: random.Random) -> EditedHistory:
    """Move a record to another place."""
    place = draw.randrange(1, len(records))
    rest = [*records[:place], *records[place + 1 :]]
    to = draw.randrange(1, len(rest))
    rest.insert(to, records[place])
    return numbered(f"record {place + 1} moved to {to + 1}", rest)


def deleted(records: Sequence[Record], draw: random.Random) -> EditedHistory:
    """Delete a record."""
    place = draw.randrange(1, len(records))
    return numbered(f"record {place + 1} deleted", [*records[:place], *records[place + 1 :]])


def doubled(records: Sequence[Record], draw: random.Random) -> EditedHistory:
    """Put a copy of a record somewhere behind it."""
    place = draw.randrange(1, len(records))
    to = draw.randrange(place, len(records)) + 1
    return numbered(f"record {place + 1} again at {to + 1}", [*records[:to], records[place], *records[to:]])


def swapped(records: Sequence[Record], draw: random.Random) -> EditedHistory:
    """Exchange a record with the one behind it."""
    place = draw.randrange(1, len(records) - 1)
    left = list(records)
    left[place : place + 2] = left[place + 1], left[place]
    return numbered(f"record {place + 1} behind the next one", left)


def without_field(records: Sequence[Record], draw: random.Random) -> EditedHistory | None:
    """Delete a field of a record, as a line of JSON. None for a field whose absence states a value."""
    place = draw.randrange(1, len(records))
    line = json.loads(msgspec.json.encode(records[place]))
    name = draw.choice([name for name in line if name not in ("k", "n")])
    if (line["k"], name) in BY_DEFINITION:
        return None
    del line[name]
    what = f"record {place + 1} ({line['k']}) without {name}"
    try:
        left: Record = msgspec.json.decode(json.dumps(line), type=AnyRecord)
    except msgspec.DecodeError as error:
        return EditedHistory(what, list(records[:place]), f"line {place + 1}: {error}")
    return EditedHistory(what, [*records[:place], left, *records[place + 1 :]])


def without_map(records: Sequence[Record], draw: random.Random) -> EditedHistory | None:
    """Take a driver's map away, or the driver's name from it or from the driver's records. None without a map."""
    maps = [place for place, one in enumerate(records) if isinstance(one, Mapped)]
    if not maps:
        return None
    place = draw.choice(maps)
    mapped = records[place]
    assert isinstance(mapped, Mapped)
    match draw.randrange(3):
        case 0:
            return numbered("map taken", [*records[:place], *records[place + 1 :]])
        case 1:
            other = msgspec.structs.replace(mapped, driver="other")
            return numbered("map renamed", [*records[:place], other, *records[place + 1 :]])
        case _:
            return numbered(
                "driver renamed",
                [
                    msgspec.structs.replace(one, driver="other")
                    if isinstance(one, DriverRecord) and one.driver == mapped.driver
                    else one
                    for one in records
                ],
            )


def renumbered_on_two_channels(records: Sequence[Record], draw: random.Random) -> EditedHistory | None:
    """Give half of the driver records to another channel, and a record another's number, or two each other's."""
    left = list(records)
    places = [place for place, one in enumerate(records) if isinstance(one, DriverRecord)][1:]
    if len(places) < 2:
        return None
    for place in draw.sample(places, len(places) // 2):
        left[place] = msgspec.structs.replace(left[place], channel="kd")
    one, other = draw.sample(places, 2)
    first, second = (records[place] for place in (one, other))
    assert isinstance(first, DriverRecord)
    assert isinstance(second, DriverRecord)
    left[one] = msgspec.structs.replace(left[one], seq=second.seq)
    if draw.random() < 0.5:
        left[other] = msgspec.structs.replace(left[other], seq=first.seq)
    return numbered(f"number of record {one + 1} is that of {other + 1}, on two channels", left)


EDITS: list[Edit] = [
    moved, deleted, doubled, swapped, without_field, without_map, renumbered_on_two_channels,
]  # fmt: skip


def violated(verdict: RunVerdict) -> set[str]:
    """Return the rules that a verdict says are violated, warnings included."""
    return {rule.rule for rule in verdict.rules if rule.verdict is Verdict.VIOLATED}


def wrong(before: RunVerdict, edited: EditedHistory) -> str:
    """Return what an edited history is wrongly accused of, or that it excuses a violation; "" if neither."""
    verdict = edited.judged()
    accused = violated(verdict) - violated(before)
    if accused:
        return f"{edited.what}: {', '.join(sorted(accused))} violated"
    if before.verdict is Verdict.VIOLATED and verdict.verdict is Verdict.HOLDS:
        return f"{edited.what}: a violated run holds"
    return ""
