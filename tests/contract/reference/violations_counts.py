# SPDX-License-Identifier: MIT
"""One step to a history that violates a rule of identity and counts (R.5), or what the host saw (R.8)."""

from __future__ import annotations

import random

from harness.history.driver import COMPLETE, DriverRecord, SyncEnter
from harness.history.record import Add, Boot, GuestEvent, Record
from tests.contract.reference.editing import changed
from tests.contract.reference.view import HistoryView, samples

Mutated = list[Record] | None


def index_differs(view: HistoryView, chance: random.Random) -> Mutated:
    """The conversions contradict the context at Complete, of an existing or an added processor."""
    calls = [call for call in view.calls if call.record.state == COMPLETE]
    if not calls:
        return None
    call = chance.choice(calls)
    name = chance.choice(["idx_number", "idx_group", "back_idx"])
    return view.put(call.enter, **{name: getattr(call.record, name) + 1})


def number_too_big(view: HistoryView, chance: random.Random) -> Mutated:
    if not view.calls:
        return None
    call = chance.choice(view.calls)
    if chance.random() < 0.5:
        return view.put(call.enter, max_in_group=call.record.number)
    return view.both(call, nt=call.record.maximum)


def group_one(view: HistoryView, chance: random.Random) -> Mutated:
    """A processor is in group 1 although there are at most 64 and no option for tests."""
    if (
        any(isinstance(one, GuestEvent) and one.event == "boot-option" for one in view.records)
        or not view.calls
    ):
        return None
    call = chance.choice(view.calls)
    if call.record.maximum > 64:
        return None
    return view.both(call, group=1)


def place_shared(view: HistoryView, chance: random.Random) -> Mutated:
    """Two processors have one place: existing and added, or both existing, seen by one driver or by two."""
    shown = [call for call in view.calls if call.record.state == COMPLETE]
    pairs = [
        (one, other) for one in shown for other in shown
        if one.record.boot == other.record.boot and one.record.nt != other.record.nt and one.record.group == other.record.group
    ]  # fmt: skip
    if not pairs:
        return None
    one, other = chance.choice(pairs)
    nt, place = other.record.nt, one.record.number
    made = list(view.records)
    for call in view.calls:
        if call.record.boot == other.record.boot and call.record.nt == nt:
            known = call.record.idx_status == 0
            made[call.enter] = changed(
                call.record, number=place, **({"idx_number": place} if known else {}),
            )  # fmt: skip
            made[call.leave] = changed(call.exit, number=place)
    return made


def place_changes(view: HistoryView, chance: random.Random) -> Mutated:
    """A second registration is told another place of a processor that an earlier one was told of."""
    shown = [call for call in view.calls if call.record.state == COMPLETE]
    pairs = [
        (one, other) for one in shown for other in shown
        if other.enter > one.leave and one.key != other.key and other.existing
        and (one.record.boot, one.record.nt) == (other.record.boot, other.record.nt)
    ]  # fmt: skip
    if not pairs:
        return None
    _, other = chance.choice(pairs)
    number = other.record.max_in_group - 1 - (other.record.number == other.record.max_in_group - 1)
    if number < 0 or other.record.mask >> number & 1:
        return None
    made = list(view.records)
    for call in view.calls:
        if call.key == other.key and call.existing and call.record.nt == other.record.nt:
            mask = call.record.mask & ~(1 << call.record.number) | 1 << number
            made[call.enter] = changed(call.record, number=number, idx_number=number, mask=mask)
            made[call.leave] = changed(call.exit, number=number)
    return made


def completed_again(view: HistoryView, chance: random.Random) -> Mutated:
    """A later add completes a processor that an earlier one completed."""
    added = [one for one in view.attempts if one.added]
    pairs = [
        (one, other) for one in added for other in added
        if one.boot == other.boot and one.calls[-1].leave < other.calls[0].enter and one.nt != other.nt
    ]  # fmt: skip
    if not pairs:
        return None
    one, other = chance.choice(pairs)
    first = one.calls[0].record
    made = list(view.records)
    for call in other.calls:
        fields = {"nt": first.nt, "group": first.group, "number": first.number}
        entering = dict(fields)
        if call.record.idx_status == 0:
            entering |= {"idx_group": first.group, "idx_number": first.number, "back_idx": first.nt}
        made[call.enter] = changed(call.record, **entering)
        made[call.leave] = changed(call.exit, **fields)
    return made


def count_falls(view: HistoryView, chance: random.Random) -> Mutated:
    """A record, of the same driver or of another, sees fewer active processors than an earlier one."""
    places = _behind_growth(view)
    if not places:
        return None
    place = chance.choice(places)
    active = view.records[place].active - 1
    return view.put(place, active=active, active_g0=min(active, view.records[place].active_g0))


def _behind_growth(view: HistoryView) -> list[int]:
    """Driver records behind another of the same boot that saw as many active processors."""
    best: dict[str, int] = {}
    found = []
    for place in samples(view):
        record = view.records[place]
        assert isinstance(record, DriverRecord)
        if (
            record.active > 1
            and best.get(record.boot, 0) >= record.active
            and not isinstance(record, SyncEnter)
        ):
            found.append(place)
        best[record.boot] = max(best.get(record.boot, 0), record.active)
    return found


def maximum_differs(view: HistoryView, chance: random.Random) -> Mutated:
    """One record, or all of one driver, has another maximum."""
    place = chance.choice(samples(view))
    record = view.records[place]
    assert isinstance(record, DriverRecord)
    who, value = (record.boot, record.driver), record.maximum + chance.choice([1, 4])
    drivers = {
        one.driver for one in view.records if isinstance(one, DriverRecord) and one.boot == record.boot
    }
    if len(drivers) < 2 or chance.random() < 0.5:
        return view.put(place, maximum=value)
    return [
        changed(one, maximum=value)
        if isinstance(one, DriverRecord) and (one.boot, one.driver) == who
        else one
        for one in view.records
    ]


def legacy_count_differs(view: HistoryView, chance: random.Random) -> Mutated:
    """The two counts of group 0 differ while no add is under way."""
    under_way, places = 0, []
    for place, record in enumerate(view.records):
        if isinstance(record, Add) and record.what == "cpu":
            under_way += {"begin": 1, "settled": -1, "refused": -1}.get(record.phase, 0)
        elif isinstance(record, Boot):
            under_way = 0
        elif isinstance(record, DriverRecord) and not under_way and record.active_g0 > 1:
            places.append(place)
    place = chance.choice(places) if places else -1
    return view.put(place, active_g0=view.records[place].active_g0 - 1) if places else None


def groups_fall(view: HistoryView, chance: random.Random) -> Mutated:
    """A record sees fewer groups than an earlier one."""
    places = [n for n in _behind_growth(view) if view.records[n].groups > 1]
    if not places:
        return None
    place = chance.choice(places)
    return view.put(place, groups=view.records[place].groups - 1)


COUNTS = {
    "NUM-INDEX-AGREES": [index_differs],
    "NUM-RANGE": [number_too_big],
    "NUM-GROUP0": [group_one],
    "NUM-UNIQUE": [place_shared, completed_again],
    "SYNC-SAME-IDENTITY or NUM-UNIQUE": [place_changes],
    "COUNT-MONOTONIC": [count_falls],
    "MAX-CONSTANT": [maximum_differs],
    "COUNT-LEGACY-IS-GROUP0": [legacy_count_differs],
    "GROUPS-MONOTONIC": [groups_fall],
}
