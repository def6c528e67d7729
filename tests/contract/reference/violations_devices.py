# SPDX-License-Identifier: MIT
"""One step to a history that violates a rule of devices and their rebalance (R.7)."""

from __future__ import annotations

import random

from harness.history.driver import (
    DriverRecord,
    PnpEnter,
    PnpExit,
    SyncExit,
)
from harness.history.record import GuestEvent, Record
from tests.contract.reference.driver import ERRORS
from tests.contract.reference.editing import TEMPORARY, changed
from tests.contract.reference.view import HistoryView

Mutated = list[Record] | None


def _pnp(view: HistoryView, minor: str) -> list[int]:
    return [n for n, one in enumerate(view.records) if isinstance(one, PnpEnter) and one.minor == minor]


def _exit(view: HistoryView, enter: int) -> int:
    entered = view.records[enter]
    return next(
        n for n in range(enter, len(view.records))
        if isinstance(one := view.records[n], PnpExit) and isinstance(entered, PnpEnter)
        and (one.boot, one.driver, one.enter) == (entered.boot, entered.driver, entered.seq)
    )  # fmt: skip


def stop_unasked(view: HistoryView, chance: random.Random) -> Mutated:
    """STOP comes without a QUERY_STOP."""
    places = _pnp(view, "STOP")
    if not places:
        return None
    stop = chance.choice(places)
    device = (view.records[stop].driver, view.records[stop].device)
    asked = max(
        n
        for n in _pnp(view, "QUERY_STOP")
        if n < stop and (view.records[n].driver, view.records[n].device) == device
    )
    gone = {asked, _exit(view, asked)}
    return [one for n, one in enumerate(view.records) if n not in gone]


def framework_order(view: HistoryView, chance: random.Random) -> Mutated:
    """Within a rebalance, two callbacks of the framework are exchanged."""
    stops = _pnp(view, "STOP")
    if not stops:
        return None
    stop = chance.choice(stops)
    end = _exit(view, stop)
    name = view.records[stop].driver
    inside = [
        n
        for n in range(stop + 1, end)
        if isinstance(one := view.records[n], PnpEnter)
        and one.driver == name
        and one.device == view.records[stop].device
    ]
    made = list(view.records)
    first, second = chance.choice([(0, 1), (1, 2)])
    one, other = inside[first], inside[second]
    for here, there in ((one, other), (_exit(view, one), _exit(view, other))):
        a, b = view.records[here].minor, view.records[there].minor
        made[here], made[there] = changed(made[here], minor=b), changed(made[there], minor=a)
    return made


def exit_after_failed_entry(view: HistoryView, chance: random.Random) -> Mutated:
    """A failed D0Entry is followed by D0Exit."""
    failed = [
        n
        for n, one in enumerate(view.records)
        if isinstance(one, PnpExit) and one.minor == "D0Entry" and one.ret
    ]
    if not failed:
        return None
    place = chance.choice(failed)
    number = TEMPORARY * 2
    like = view.records[place]
    assert isinstance(like, PnpExit)
    entered = next(
        one
        for one in view.records
        if isinstance(one, PnpEnter)
        and (one.boot, one.driver, one.seq) == (like.boot, like.driver, like.enter)
    )
    put = [
        changed(entered, seq=number, minor="D0Exit"),
        changed(like, seq=number + 1, enter=number, minor="D0Exit", ret=0),
    ]
    return [*view.records[: place + 1], *put, *view.records[place + 1 :]]


def stop_refused(view: HistoryView, chance: random.Random) -> Mutated:
    places = _pnp(view, "QUERY_STOP")
    return view.put(_exit(view, chance.choice(places)), ret=chance.choice(ERRORS)) if places else None


def opted_out_asked(view: HistoryView, chance: random.Random) -> Mutated:
    """The devices have opted out, and one is asked to stop in the window of an add."""
    if not any(isinstance(one, GuestEvent) and one.event == "rebalance-opt-out" for one in view.records):
        return None
    pairs = [
        (one, n) for n, one in enumerate(view.records) if isinstance(one, SyncExit) and one.state == 1
        and any(call.leave == n and not call.existing and view.records[call.enter].driver in _pnp_drivers(view) for call in view.calls)
    ]  # fmt: skip
    devices = [one for one in view.records if isinstance(one, PnpEnter)]
    if not pairs or not devices:
        return None
    end, place = chance.choice(pairs)
    like = next((one for one in devices if one.driver == end.driver and one.boot == end.boot), None)
    if like is None:
        return None
    number = TEMPORARY * 2
    common = {
        name: getattr(end, name)
        for name in ("active", "active_g0", "active_g0_ex", "groups", "cpu", "host_ns", "qpc")
    }
    left = PnpExit(**{**{f: getattr(like, f) for f in DriverRecord.__struct_fields__}, **common, "seq": number + 1},
                   enter=number, device=like.device, minor="QUERY_STOP", ret=0)  # fmt: skip
    put = [changed(like, **common, seq=number, minor="QUERY_STOP"), left]
    return [*view.records[: place + 1], *put, *view.records[place + 1 :]]


def _pnp_drivers(view: HistoryView) -> set[str]:
    return {one.driver for one in view.records if isinstance(one, PnpEnter)}


def registered_twice(view: HistoryView, chance: random.Random) -> Mutated:
    """A KMDF driver registers again for a class when its device is started again after a rebalance."""
    restarts = [
        n
        for n, one in enumerate(view.records)
        if isinstance(one, PnpExit) and one.minor == "SelfManagedIoRestart"
    ]
    for place in restarts:
        end = view.records[place]
        assert isinstance(end, PnpExit)
        mine = [
            one for one in view.registrations
            if one.key[:2] == (end.boot, end.driver) and one.kind != "sync" and 0 <= one.leave < place and (one.dereg < 0 or one.dereg > place)
        ]  # fmt: skip
        devices = {
            view.records[n].device for n in _pnp(view, "AddDevice") if view.records[n].driver == end.driver
        }
        if not mine or len(devices) > 1:
            continue
        one = chance.choice(mine)
        reg = max(known.key[2] for known in view.registrations if known.key[:2] == one.key[:2]) + 1
        number = TEMPORARY * 2
        common = {name: getattr(end, name) for name in ("active", "active_g0", "active_g0_ex", "groups")}
        put = [
            changed(view.records[one.enter], seq=number, reg=reg, **common),
            changed(view.records[one.leave], seq=number + 1, enter=number, reg=reg, **common),
        ]
        return [*view.records[: place + 1], *put, *view.records[place + 1 :]]
    return None


DEVICES = {
    "REBAL-ORDER": [stop_unasked],
    "REBAL-KMDF-ORDER": [framework_order, exit_after_failed_entry],
    "OB-NO-QUERYSTOP-VETO": [stop_refused],
    "REBAL-OPTOUT": [opted_out_asked],
    "OB-KMDF-REG-ONCE": [registered_twice],
}
