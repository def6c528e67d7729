# SPDX-License-Identifier: MIT
"""One step to a history that violates a rule of registration, ADD_EXISTING and deregistration (R.4)."""

from __future__ import annotations

import random

from harness.history.driver import COMPLETE, FAILURE, START, CallEnter, Free
from harness.history.record import Record
from tests.contract.reference.driver import ERRORS
from tests.contract.reference.seen import Known, Told
from tests.contract.reference.view import HistoryView

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
    one, like, quiet = chance.choice(found)
    return _announced(view, one, like, chance.choice([one.leave, quiet + 1]))


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


REGISTRATION = {
    "ADDEX-WITHIN-REGISTER": [told_after_return, announced_again],
    "ADDEX-ONE-START-EACH": [existing_left_out, existing_started_twice],
    "ADDEX-STARTS-THEN-COMPLETES": [complete_before_starts],
    "ADDEX-ONE-COMPLETE-EACH": [existing_not_completed, existing_failed],
    "ADDEX-VETO-STOPS": [complete_after_error],
    "ADDEX-VETO-FAILURES": [error_untold, error_told_itself],
    "OB-VETO-SELF-CLEAN": [vetoed_keeps],
    "NOFLAG-SILENT": [unflagged_told],
    "ADDEX-OTHERS-SILENT": [others_told],
}
