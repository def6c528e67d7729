# SPDX-License-Identifier: MIT
"""One step from a documented history to one that violates a rule of the synchronous notification (R.2, R.3)."""

from __future__ import annotations

import random

from harness.history.driver import COMPLETE, FAILURE, START, CallEnter
from harness.history.record import Record
from tests.contract.reference.driver import ERRORS
from tests.contract.reference.seen import Tried
from tests.contract.reference.view import HistoryView, pick

Mutated = list[Record] | None


def _attempt(view: HistoryView, chance: random.Random, *, least: int = 1, added: bool = True) -> Tried | None:
    """An attempt that at least so many registrations were told of, whose calls do not overlap."""
    found = [
        one
        for one in view.attempts
        if (one.added if added else one.failed)
        and all(call.simple for call in one.calls)
        and len({call.key for call in one.calls}) >= least
    ]
    return chance.choice(found) if found else None


def state_valid(view: HistoryView, chance: random.Random) -> Mutated:
    call = pick(view.calls, chance)
    return view.both(call, state=chance.choice([3, 4, 7])) if call else None


def context_identity(view: HistoryView, chance: random.Random) -> Mutated:
    call = pick(view.calls, chance)
    return view.put(call.enter, ctx=call.record.ctx + 8) if call else None


def irql_passive(view: HistoryView, chance: random.Random) -> Mutated:
    call = pick(view.calls, chance)
    return view.put(call.enter, irql=chance.choice([1, 2])) if call else None


def reg_irql(view: HistoryView, chance: random.Random) -> Mutated:
    names = ("reg_sync", "dereg_sync", "reg_async", "unreg_ex")
    places = [n for n, one in enumerate(view.records) if isinstance(one, CallEnter) and one.call in names]
    return view.put(chance.choice(places), irql=chance.choice([1, 2])) if places else None


def complete_without_start(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance)
    call = one and pick(one.of(START), chance)
    return view.without(call) if call else None


def failure_without_start(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance, added=False)
    ended = {call.key for call in one.of(FAILURE)} if one else set()
    call = one and pick([call for call in one.of(START) if call.key in ended and not call.vetoes], chance)
    return view.without(call) if call else None


def start_twice(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance)
    call = one and pick(one.of(START), chance)
    return view.inserted(call.leave + 1, call) if call else None


def end_twice(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance)
    call = one and pick(one.of(COMPLETE), chance)
    return view.inserted(call.leave + 1, call) if call else None


def failure_after_complete(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance)
    call = one and pick(one.of(COMPLETE), chance)
    return view.inserted(call.leave + 1, call, state=FAILURE, status=chance.choice(ERRORS)) if call else None


def never_ended(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance)
    ends = (
        [call for call in one.of(COMPLETE) if view.stays(call.key) and view.quiet_after(call.leave) >= 0]
        if one
        else []
    )
    call = pick(ends, chance)
    return view.without(call) if call else None


def left_out(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance, least=2)
    call = one and pick([call for call in one.of(COMPLETE) if view.stays(call.key)], chance)
    return view.without(*(other for other in one.calls if other.key == call.key)) if one and call else None


def outcomes_differ(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance, least=2)
    call = one and pick(one.of(COMPLETE), chance)
    return view.both(call, state=FAILURE, status=chance.choice(ERRORS)) if call else None


def start_behind_complete(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance, least=2)
    if one is None:
        return None
    call = chance.choice(one.of(START))
    others = [end for end in one.of(COMPLETE) if end.key != call.key]
    mine = next((end.enter for end in one.of(COMPLETE) if end.key == call.key), len(view.records))
    target = min(end.leave for end in others) + 1
    return view.moved(call, target) if target <= mine else None


def other_place(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance, added=chance.random() < 0.7)
    if one is None or len(one.calls) < 2:
        return None
    call = chance.choice(one.calls)
    return view.both(call, number=(call.record.number + 1) % max(2, call.record.max_in_group))


def runs_before(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance)
    call = one and pick(one.of(START), chance)
    return view.put(call.enter, cpu=call.record.nt) if call else None


def not_counted(view: HistoryView, chance: random.Random) -> Mutated:
    call = pick([call for call in view.calls if call.record.state == COMPLETE and not call.existing], chance)
    if call is None:
        return None
    if chance.random() < 0.5:
        return view.put(call.enter, mask=call.record.mask & ~(1 << call.record.number))
    return view.put(call.enter, active=call.record.nt)


SYNC = {
    "SYNC-STATE-VALID": [state_valid],
    "SYNC-CONTEXT-IDENTITY": [context_identity],
    "SYNC-IRQL-PASSIVE": [irql_passive],
    "REG-IRQL-PASSIVE": [reg_irql],
    "SYNC-START-BEFORE-COMPLETE": [complete_without_start],
    "SYNC-START-BEFORE-FAILURE": [failure_without_start],
    "SYNC-EXACTLY-TWO": [start_twice, end_twice],
    "SYNC-TERMINAL-EXCLUSIVE": [failure_after_complete],
    "SYNC-START-CLOSED": [never_ended],
    "SYNC-ALL-REGISTERED": [left_out],
    "SYNC-AGREE": [outcomes_differ],
    "SYNC-BARRIER": [start_behind_complete],
    "SYNC-SAME-IDENTITY": [other_place],
    "NO-RUN-BEFORE-START-DONE": [runs_before],
    "COMPLETE-COUNTED": [not_counted],
}
