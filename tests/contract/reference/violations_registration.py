# SPDX-License-Identifier: MIT
"""One step to a history that violates a rule of registration, ADD_EXISTING and deregistration (R.4)."""

from __future__ import annotations

import random

from harness.history.driver import COMPLETE, FAILURE, START, CallEnter, CallExit, Free, nt_success
from harness.history.record import Record
from tests.contract.reference.driver import ERRORS
from tests.contract.reference.editing import TEMPORARY, changed
from tests.contract.reference.view import HistoryView, Known, Told

Mutated = list[Record] | None


def _rounds(view: HistoryView, *, vetoed: bool = False, least: int = 1) -> list[tuple[Known, list[Told]]]:
    """The rounds over existing processors: whole ones, or those that an error ended."""
    found = []
    for one in view.registrations:
        calls = [call for call in view.calls if call.existing and call.key == one.key]
        starts = [call for call in calls if call.record.state == START]
        if len(starts) >= least and any(call.vetoes for call in calls) == vetoed:
            found.append((one, calls))
    return found


def _of(calls: list[Told], state: int) -> list[Told]:
    return [call for call in calls if call.record.state == state]


def _known_active(view: HistoryView, key: tuple[str, str, int], place: int) -> list[Told]:
    """Callbacks that show a processor as active in a boot before a place, of any driver."""
    return [
        call for call in view.calls
        if call.record.boot == key[0] and call.leave < place and call.record.state == COMPLETE
    ]  # fmt: skip


def told_after_return(view: HistoryView, chance: random.Random) -> Mutated:
    """A Complete of the round comes when the registration has returned."""
    found = _rounds(view)
    if not found:
        return None
    one, calls = chance.choice(found)
    return view.moved(_of(calls, COMPLETE)[-1], one.leave + 1)


def existing_left_out(view: HistoryView, chance: random.Random) -> Mutated:
    found = _rounds(view, least=2)
    if not found:
        return None
    _, calls = chance.choice(found)
    nt = chance.choice(calls).record.nt
    return view.without(*(call for call in calls if call.record.nt == nt))


def existing_started_twice(view: HistoryView, chance: random.Random) -> Mutated:
    found = _rounds(view)
    if not found:
        return None
    call = chance.choice(_of(chance.choice(found)[1], START))
    return view.inserted(call.leave + 1, call)


def complete_before_starts(view: HistoryView, chance: random.Random) -> Mutated:
    found = _rounds(view, least=2)
    if not found:
        return None
    _, calls = chance.choice(found)
    starts = _of(calls, START)
    first = next(call for call in _of(calls, COMPLETE) if call.record.nt == starts[0].record.nt)
    return view.moved(first, starts[-1].enter)


def existing_not_completed(view: HistoryView, chance: random.Random) -> Mutated:
    found = _rounds(view)
    return view.without(chance.choice(_of(chance.choice(found)[1], COMPLETE))) if found else None


def existing_failed(view: HistoryView, chance: random.Random) -> Mutated:
    found = _rounds(view)
    if not found:
        return None
    return view.both(
        chance.choice(_of(chance.choice(found)[1], COMPLETE)), state=FAILURE, status=chance.choice(ERRORS)
    )


def complete_after_error(view: HistoryView, chance: random.Random) -> Mutated:
    found = _rounds(view, vetoed=True)
    if not found:
        return None
    one, calls = chance.choice(found)
    call = chance.choice(_of(calls, START))
    return view.inserted(one.leave, call, state=COMPLETE, status=0, op=0)


def error_untold(view: HistoryView, chance: random.Random) -> Mutated:
    found = [(one, _of(calls, FAILURE)) for one, calls in _rounds(view, vetoed=True) if _of(calls, FAILURE)]
    return view.without(chance.choice(chance.choice(found)[1])) if found else None


def error_told_itself(view: HistoryView, chance: random.Random) -> Mutated:
    found = _rounds(view, vetoed=True)
    if not found:
        return None
    one, calls = chance.choice(found)
    veto = next(call for call in calls if call.vetoes)
    return view.inserted(one.leave, veto, state=FAILURE, status=chance.choice(ERRORS), op=0)


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
    mine = changed(view.records[one.leave], seq=0)
    fields = {
        "driver": one.key[1],
        "reg": one.key[2],
        "channel": mine.channel,
        "ctx": view.records[one.enter].ctx,
    }  # type: ignore[attr-defined]
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


def vetoed_keeps(view: HistoryView, chance: random.Random) -> Mutated:
    places = [
        place for _, calls in _rounds(view, vetoed=True) for call in calls if call.vetoes
        for place in view.block(call) if isinstance(view.records[place], Free)
    ]  # fmt: skip
    gone = chance.choice(places) if places else -1
    return [one for n, one in enumerate(view.records) if n != gone] if places else None


def unflagged_told(view: HistoryView, chance: random.Random) -> Mutated:
    """A registration without the flag is told of a processor that was active before it registered."""
    found = []
    for one in view.registrations:
        if one.kind != "sync" or one.flags or not one.handle or one.leave < 0:
            continue
        shown = _known_active(view, one.key, one.enter)
        quiet = view.quiet_after(one.leave)
        if shown and quiet >= 0 and view.in_force(one.key, quiet):
            found.append((one, chance.choice(shown), quiet))
    if not found:
        return None
    one, shown, quiet = chance.choice(found)
    return _announced(view, one, shown, chance.choice([one.leave, quiet + 1]))


def _announced(view: HistoryView, one: Known, like: Told, target: int) -> list[Record]:
    """Start and Complete of the processor of ``like`` for a registration, in front of ``target``."""
    mine = view.records[one.enter]
    assert isinstance(mine, CallEnter)
    newest = next(
        view.records[n]
        for n in range(target - 1, -1, -1)
        if getattr(view.records[n], "boot", None) == one.key[0]
    )
    fields = {
        "driver": one.key[1],
        "reg": one.key[2],
        "channel": mine.channel,
        "ctx": mine.ctx,
        "boot": one.key[0],
    }
    fields |= {
        name: getattr(newest, name) for name in ("active", "active_g0", "active_g0_ex", "groups", "maximum")
    }
    start = view.copy(like, state=START, status=0, op=0, **fields)
    end = view.copy(like, state=COMPLETE, status=0, op=0, **fields)
    return [*view.records[:target], *start, *end, *view.records[target:]]


def others_told(view: HistoryView, chance: random.Random) -> Mutated:
    """Within the round of one registration, another one is told of an existing processor too."""
    found = [
        (mine, calls, other)
        for mine, calls in _rounds(view) for other in view.registrations
        if other.kind == "sync" and other.key[0] == mine.key[0] and other.key != mine.key
        and view.in_force(other.key, mine.leave) and other.leave < mine.enter
    ]  # fmt: skip
    if not found:
        return None
    mine, calls, other = chance.choice(found)
    return _announced(view, other, chance.choice(_of(calls, COMPLETE)), mine.leave)


def announced_again(view: HistoryView, chance: random.Random) -> Mutated:
    """A registration is told once more of a processor that its own round told it of."""
    found = [(one, calls, view.quiet_after(one.leave)) for one, calls in _rounds(view)]
    found = [item for item in found if item[2] >= 0 and view.in_force(item[0].key, item[2])]
    if not found:
        return None
    one, calls, quiet = chance.choice(found)
    return _announced(view, one, chance.choice(_of(calls, COMPLETE)), quiet + 1)


def never_deregistered(view: HistoryView, chance: random.Random) -> Mutated:
    """A driver is unloaded, or fails to load, with a registration in force."""
    pairs = _call_pairs(view, "dereg_sync")
    ends = {
        (one.boot, one.driver) for one in view.records if isinstance(one, CallExit) and one.call == "unload"
    }
    pairs = [pair for pair in pairs if (view.records[pair[0]].boot, view.records[pair[0]].driver) in ends]  # type: ignore[attr-defined]
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
            later = [n for n in view.boot_of(one.boot) if n > place and view.records[n].driver == one.driver]  # type: ignore[attr-defined]
            if any(
                reg.kind == "sync" and reg.handle and reg.leave >= 0 and not 0 <= reg.dereg < place
                for reg in mine
            ):
                found.append((place, set(later)))
    if not found:
        return None
    place, later = chance.choice(found)
    put = view.put(place, result=chance.choice(ERRORS))
    return [one for n, one in enumerate(put) if n not in later]


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


REGISTRATION = {
    "ADDEX-WITHIN-REGISTER": [told_after_return, announced_again],
    "ADDEX-ONE-START-EACH": [existing_left_out, existing_started_twice],
    "ADDEX-STARTS-THEN-COMPLETES": [complete_before_starts],
    "ADDEX-ONE-COMPLETE-EACH": [existing_not_completed, existing_failed],
    "ADDEX-VETO-STOPS": [complete_after_error], "ADDEX-VETO-FAILURES": [error_untold, error_told_itself],
    "NULL-NO-CALLBACKS": [null_called], "OB-NULL-FAILS-ENTRY": [entry_succeeds],
    "OB-VETO-SELF-CLEAN": [vetoed_keeps], "NOFLAG-SILENT": [unflagged_told], "ADDEX-OTHERS-SILENT": [others_told],
    "OB-DEREG-BEFORE-UNLOAD": [never_deregistered, deregistered_twice, entry_fails_registered],
    "?": [null_deregistered],
}  # fmt: skip
