# SPDX-License-Identifier: MIT
"""One step to a history that violates a rule of NULL, of deregistration, or of a failing DriverEntry (R.4)."""

from __future__ import annotations

import random
from typing import Any

from harness.history.driver import COMPLETE, START, CallEnter, CallExit, nt_success
from harness.history.record import Record
from tests.contract.reference.driver import ERRORS
from tests.contract.reference.editing import TEMPORARY, changed
from tests.contract.reference.seen import Known
from tests.contract.reference.view import HistoryView

Mutated = list[Record] | None


def null_called(view: HistoryView, chance: random.Random) -> Mutated:
    """A registration that returned NULL is called in a later add, also after the driver was loaded again."""
    null = {
        one.key: one for one in view.registrations if one.kind == "sync" and not one.handle and one.leave >= 0
    }
    calls = [
        (one, tried) for one in null.values() for tried in view.attempts
        if tried.added and tried.boot == one.key[0] and tried.calls[0].enter > one.leave
    ]  # fmt: skip
    if not calls:
        return None
    one, tried = chance.choice(calls)
    start = tried.of(START)[-1]
    mine: Any = view.records[one.leave]
    fields = {
        "driver": one.key[1],
        "reg": one.key[2],
        "channel": mine.channel,
        "ctx": view.records[one.enter].ctx,
    }
    end = tried.of(COMPLETE)[-1]
    first, last = view.copy(start, **fields), view.copy(end, **fields)
    return [
        *view.records[: start.leave + 1], *first, *view.records[start.leave + 1 : end.leave + 1], *last,
        *view.records[end.leave + 1 :],
    ]  # fmt: skip


def entry_succeeds(view: HistoryView, chance: random.Random) -> Mutated:
    places = [
        n
        for n, one in enumerate(view.records)
        if isinstance(one, CallExit) and one.call == "driver_entry" and not nt_success(one.result)
    ]
    nulls = [one for one in view.registrations if one.kind == "sync" and not one.handle]
    places = [n for n in places if any(_same(view, one, n) and one.leave < n for one in nulls)]
    return view.put(chance.choice(places), result=0) if places else None


def _same(view: HistoryView, one: Known, place: int) -> bool:
    record = view.records[place]
    return isinstance(record, CallExit) and (record.boot, record.driver) == one.key[:2]


def never_deregistered(view: HistoryView, chance: random.Random) -> Mutated:
    """A driver is unloaded, or fails to load, with a registration in force."""
    pairs = _call_pairs(view, "dereg_sync")
    ends = {
        (one.boot, one.driver) for one in view.records if isinstance(one, CallExit) and one.call == "unload"
    }
    pairs = [pair for pair in pairs if (view.records[pair[0]].boot, view.records[pair[0]].driver) in ends]
    if not pairs:
        return None
    gone = set(chance.choice(pairs))
    return [one for n, one in enumerate(view.records) if n not in gone]


def entry_fails_registered(view: HistoryView, chance: random.Random) -> Mutated:
    """DriverEntry fails, so the image goes without Unload, and a handle is still registered."""
    found = []
    for place, one in enumerate(view.records):
        if isinstance(one, CallExit) and one.call == "driver_entry" and one.result == 0:
            mine = [
                reg
                for reg in view.registrations
                if reg.key[:2] == (one.boot, one.driver) and reg.leave < place
            ]
            later = {n for n in view.boot_of(one.boot) if n > place and view.records[n].driver == one.driver}
            if any(
                reg.kind == "sync" and reg.handle and reg.leave >= 0 and not 0 <= reg.dereg < place
                for reg in mine
            ):
                found.append((place, later))
    if not found:
        return None
    place, gone = chance.choice(found)
    put = view.put(place, result=chance.choice(ERRORS))
    return [one for n, one in enumerate(put) if n not in gone]


def null_deregistered(view: HistoryView, chance: random.Random) -> Mutated:
    """A NULL handle is deregistered."""
    nulls = [one for one in view.registrations if one.kind == "sync" and not one.handle and one.leave >= 0]
    if not nulls:
        return None
    one = chance.choice(nulls)
    like, left = view.records[one.enter], view.records[one.leave]
    assert isinstance(left, CallExit)
    number = TEMPORARY * 2
    pair = [
        changed(like, seq=number, call="dereg_sync", flags=0, ctx=0),
        changed(left, seq=number + 1, enter=number, call="dereg_sync", handle=0),
    ]
    return [*view.records[: one.leave + 1], *pair, *view.records[one.leave + 1 :]]


def deregistered_twice(view: HistoryView, chance: random.Random) -> Mutated:
    pairs = _call_pairs(view, "dereg_sync")
    if not pairs:
        return None
    first, last = chance.choice(pairs)
    number = TEMPORARY * 2
    again = [
        changed(view.records[first], seq=number),
        changed(view.records[last], seq=number + 1, enter=number),
    ]
    return [*view.records[: last + 1], *again, *view.records[last + 1 :]]


def _call_pairs(view: HistoryView, call: str) -> list[tuple[int, int]]:
    entered: dict[tuple[str, str, int], int] = {}
    pairs = []
    for place, one in enumerate(view.records):
        if isinstance(one, CallEnter) and one.call == call:
            entered[one.boot, one.driver, one.seq] = place
        elif isinstance(one, CallExit) and one.call == call:
            pairs.append((entered[one.boot, one.driver, one.enter], place))
    return pairs


WITHDRAWAL = {
    "NULL-NO-CALLBACKS": [null_called],
    "OB-NULL-FAILS-ENTRY": [entry_succeeds],
    "OB-DEREG-BEFORE-UNLOAD": [never_deregistered, deregistered_twice, entry_fails_registered],
    "?": [null_deregistered],
}
