# SPDX-License-Identifier: MIT
"""One step to a history that violates a rule of arrivals, memory, devices or tracing (R.1, R.6, R.7)."""

from __future__ import annotations

import random

from harness.history.driver import (
    START,
    CallEnter,
    CallExit,
    DriverRecord,
    SyncEnter,
)
from harness.history.record import Add, Boot, Profile, Record
from tests.contract.reference.driver import ERRORS
from tests.contract.reference.editing import changed
from tests.contract.reference.seen import Known, Told
from tests.contract.reference.view import HistoryView, add_failed

Mutated = list[Record] | None


def _arrival(view: HistoryView, chance: random.Random) -> Told | None:
    return chance.choice(view.arrivals) if view.arrivals else None


def irql_raised(view: HistoryView, chance: random.Random) -> Mutated:
    call = _arrival(view, chance)
    return view.put(call.enter, irql=chance.choice([1, 2])) if call else None


def structure_invalid(view: HistoryView, chance: random.Random) -> Mutated:
    call = _arrival(view, chance)
    fields: list[dict[str, object]] = [
        {"version": 2},
        {"event": "{cb3a4004-46f0-11d0-b08f-00609713053f}"},
        {"link": ""},
    ]
    return view.put(call.enter, **chance.choice(fields)) if call else None


def class_differs(view: HistoryView, chance: random.Random) -> Mutated:
    call = _arrival(view, chance)
    return view.put(call.enter, cls="memory" if call.record.cls == "cpu" else "cpu") if call else None


def returns_error(view: HistoryView, chance: random.Random) -> Mutated:
    call = _arrival(view, chance)
    return view.put(call.leave, ret=chance.choice(ERRORS)) if call else None


def existing_thrice(view: HistoryView, chance: random.Random) -> Mutated:
    """An existing interface is told a third time, with no removal between."""
    found = [
        (one, call) for one in view.registrations if one.kind != "sync" and one.flags
        for call in view.arrivals if call.key == one.key and one.enter < call.enter < one.leave
        if not any(other.record.event == "removal" and other.record.link == call.record.link for other in view.arrivals)
    ]  # fmt: skip
    if not found:
        return None
    one, call = chance.choice(found)
    return [*view.records[: one.leave], *view.copy(call), *view.copy(call), *view.records[one.leave :]]


def told_after_unregistering(view: HistoryView, chance: random.Random) -> Mutated:
    """The callback comes after IoUnregisterPlugPlayNotificationEx has returned, when the guest was quiet in between."""
    found = []
    for one in view.registrations:
        calls = [call for call in view.arrivals if call.key == one.key]
        if one.dereg < 0 or not calls or view.records[one.dereg].call != "unreg_ex":
            continue
        left = next(n for n in range(one.dereg, len(view.records)) if _leaves(view, n, one.dereg))
        found.append((chance.choice(calls), left))
    if not found:
        return None
    call, left = chance.choice(found)
    return view.inserted(left + 1, call, event="arrival")


def _leaves(view: HistoryView, place: int, enter: int) -> bool:
    record, entered = view.records[place], view.records[enter]
    return (
        isinstance(record, CallExit) and isinstance(entered, CallEnter) and record.enter == entered.seq
        and (record.boot, record.driver) == (entered.boot, entered.driver)
    )  # fmt: skip


def never_unregistered(view: HistoryView, chance: random.Random) -> Mutated:
    """An asynchronous registration is still in force when Unload runs."""
    unloads = {
        (one.boot, one.driver) for one in view.records if isinstance(one, CallEnter) and one.call == "unload"
    }
    found = [
        one for one in view.registrations if one.kind != "sync" and one.dereg >= 0 and one.key[:2] in unloads
    ]
    if not found:
        return None
    one = chance.choice(found)
    left = next(n for n in range(one.dereg, len(view.records)) if _leaves(view, n, one.dereg))
    return [record for n, record in enumerate(view.records) if n not in (one.dereg, left)]


def _sole(view: HistoryView) -> list[tuple[Known, list[Told], SyncEnter]]:
    """Arrivals of a processor that only one add explains: the first of its boot, one link, told to a flagged registration.

    With each the registration, the arrivals of the link in order, and the first Start of the attempt for that driver.
    """
    found = []
    for tried in view.attempts:
        starts = tried.of(START)
        if not tried.added or not starts:
            continue
        begin = max(n for n in range(starts[0].enter) if _cpu(view.records[n], "begin"))
        settled = next((n for n in range(begin, len(view.records)) if _cpu(view.records[n], "settled")), -1)
        inside = [n for n in range(begin, settled) if _cpu(view.records[n], "begin")]
        earlier_adds = any(_cpu(one, "begin") for one in view.records[_booted(view, begin) : begin])
        if settled < 0 or len(inside) != 1 or earlier_adds:
            continue
        for one in view.registrations:
            if (
                one.kind != "cpu"
                or not one.flags
                or not view.in_force(one.key, begin)
                or not view.in_force(one.key, settled)
                or not 0 <= view.quiet_after(one.leave) < begin
            ):
                continue
            earlier = {call.record.link for call in view.arrivals if call.enter < begin}
            new = [call for call in view.arrivals if call.key == one.key and begin < call.enter < settled]
            mine = [call for call in starts if call.record.driver == one.key[1]]
            if (
                mine
                and new
                and len({call.record.link for call in new} - earlier) == 1
                and new[0].record.link not in earlier
            ):
                found.append((one, new, mine[0].record))
    return found


def _booted(view: HistoryView, place: int) -> int:
    return max(n for n in range(place) if isinstance(view.records[n], Boot))


def _cpu(record: Record, phase: str) -> bool:
    return isinstance(record, Add) and record.what == "cpu" and record.phase == phase


def _alone(view: HistoryView, begin: int) -> bool:
    open_ = 0
    for record in view.records[:begin]:
        open_ = 0 if isinstance(record, Boot) else open_
        open_ += _cpu(record, "begin") - _cpu(record, "settled") - _cpu(record, "refused")
    return open_ == 0


def arrives_first(view: HistoryView, chance: random.Random) -> Mutated:
    """A new processor's interface arrives before its Start, for a driver that registered for both."""
    found = _sole(view)
    if not found:
        return None
    _, new, start = chance.choice(found)
    place = next(n for n, one in enumerate(view.records) if one is start)
    first = min(
        call.enter
        for call in view.calls
        if call.record.nt == start.nt
        and call.enter <= place
        and call.enter > place - 60
        and not call.existing
    )
    begin = max(n for n in range(place) if _cpu(view.records[n], "accepted"))
    target = min([first, *(call.enter for call in view.calls if call.enter > begin)])
    sample = next(view.records[n] for n in range(target, -1, -1) if isinstance(view.records[n], DriverRecord))
    fields = {
        name: getattr(sample, name) for name in ("active", "active_g0", "active_g0_ex", "groups", "cpu")
    }
    made = view.moved(new[0], target)
    at = next(n for n, one in enumerate(made) if one is new[0].record)
    made[at] = changed(new[0].record, **fields)
    at = next(n for n, one in enumerate(made) if one is new[0].exit)
    made[at] = changed(new[0].exit, **fields)
    return made


def arrives_uncounted(view: HistoryView, chance: random.Random) -> Mutated:
    """A new processor's interface arrives and the processor is not counted."""
    found = _sole(view)
    if not found:
        return None
    _, new, start = chance.choice(found)
    return view.put(new[0].enter, active=start.nt)


def memory_announced(view: HistoryView, chance: random.Random) -> Mutated:
    """A processor is announced synchronously while only a DIMM is added, and no add had failed before."""
    if add_failed(view):
        return None
    return _in_dimm(view, chance)


def _in_dimm(view: HistoryView, chance: random.Random) -> Mutated:
    accepted = [
        n
        for n, one in enumerate(view.records)
        if isinstance(one, Add) and one.what == "dimm" and one.phase == "accepted"
    ]
    found = [
        (n, tried) for n in accepted if _alone(view, n) for tried in view.attempts
        if tried.added and tried.boot and all(view.in_force(call.key, n) for call in tried.calls)
        and tried.calls[-1].leave < n and not any(isinstance(one, Boot) for one in view.records[tried.calls[0].enter : n])
    ]  # fmt: skip
    if not found:
        return None
    place, tried = chance.choice(found)
    newest = next(view.records[n] for n in range(place, -1, -1) if isinstance(view.records[n], DriverRecord))
    assert isinstance(newest, DriverRecord)
    group = tried.calls[0].record.group
    number = tried.calls[0].record.max_in_group - 1
    fields = {"nt": newest.active, "group": group, "number": number, "idx_status": 0xC000000D, "back_idx": -1}
    fields |= {
        name: getattr(newest, name) for name in ("active", "active_g0", "active_g0_ex", "groups", "maximum")
    }
    put: list[Record] = []
    for state in (START, 2):
        for call in tried.of(START):
            put += view.copy(
                call, state=state, status=ERRORS[0] if state else 0, op=0, mask=0, cpu=0, **fields
            )
    return [*view.records[: place + 1], *put, *view.records[place + 1 :]]


# -- devices -----------------------------------------------------------------------------------------------------


def traced_late(view: HistoryView, chance: random.Random) -> Mutated:
    """A driver that declares the sample's profile registers with ETW behind its first registration."""
    names = {one.driver for one in view.records if isinstance(one, Profile)}
    for place, one in enumerate(view.records):
        if isinstance(one, CallEnter) and one.call == "etw_reg" and one.driver in names:
            left = next(n for n in range(place, len(view.records)) if _leaves(view, n, place))
            firsts = [
                reg
                for reg in view.registrations
                if reg.key[:2] == (one.boot, one.driver) and reg.enter > left and reg.leave >= 0
            ]
            if not firsts:
                continue
            target = firsts[0].leave + 1
            pair = [view.records[place], view.records[left]]
            rest = [view.records[n] for n in range(target) if n not in (place, left)]
            return [*rest, *pair, *view.records[target:]]
    return None


ASYNC = {
    "ASYNC-IRQL-PASSIVE": [irql_raised],
    "ASYNC-STRUCT": [structure_invalid],
    "ASYNC-CLASS-ROUTE": [class_differs],
    "OB-ASYNC-RETURN-SUCCESS": [returns_error],
    "ASYNC-EXISTING-DUP": [existing_thrice],
    "ASYNC-UNREG-EX-QUIET": [told_after_unregistering],
    "OB-ASYNC-UNREG-BEFORE-UNLOAD": [never_unregistered],
    "SYNC-FIRST": [arrives_first],
    "ASYNC-AFTER-SCHEDULABLE": [arrives_uncounted],
    "MEM-NO-SYNC": [memory_announced],
    "OB-ETW-BRACKET": [traced_late],
}
