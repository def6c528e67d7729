# SPDX-License-Identifier: MIT
"""One step from a documented history to one that violates a rule of the synchronous notification (R.2, R.3)."""

from __future__ import annotations

import random

from harness.history.driver import COMPLETE, FAILURE, START, Bind, CallEnter, Free, SyncEnter
from harness.history.record import Record
from tests.contract.reference.driver import ERRORS
from tests.contract.reference.editing import TEMPORARY
from tests.contract.reference.view import HistoryView, Told, Tried

Mutated = list[Record] | None


def _pick(found: list[Told], chance: random.Random) -> Told | None:
    return chance.choice(found) if found else None


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
    call = _pick(view.calls, chance)
    return call and view.both(call, state=chance.choice([3, 4, 7]))


def context_identity(view: HistoryView, chance: random.Random) -> Mutated:
    call = _pick(view.calls, chance)
    return call and view.put(call.enter, ctx=call.record.ctx + 8)


def irql_passive(view: HistoryView, chance: random.Random) -> Mutated:
    call = _pick(view.calls, chance)
    return call and view.put(call.enter, irql=chance.choice([1, 2]))


def reg_irql(view: HistoryView, chance: random.Random) -> Mutated:
    names = ("reg_sync", "dereg_sync", "reg_async", "unreg_ex")
    places = [n for n, one in enumerate(view.records) if isinstance(one, CallEnter) and one.call in names]
    return view.put(chance.choice(places), irql=chance.choice([1, 2])) if places else None


def complete_without_start(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance)
    call = one and _pick(one.of(START), chance)
    return view.without(call) if call else None


def failure_without_start(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance, added=False)
    ended = {call.key for call in one.of(FAILURE)} if one else set()
    call = one and _pick([call for call in one.of(START) if call.key in ended and not call.vetoes], chance)
    return view.without(call) if call else None


def start_twice(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance)
    call = one and _pick(one.of(START), chance)
    return view.inserted(call.leave + 1, call) if call else None


def end_twice(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance)
    call = one and _pick(one.of(COMPLETE), chance)
    return view.inserted(call.leave + 1, call) if call else None


def failure_after_complete(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance)
    call = one and _pick(one.of(COMPLETE), chance)
    return view.inserted(call.leave + 1, call, state=FAILURE, status=chance.choice(ERRORS)) if call else None


def never_ended(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance)
    ends = (
        [call for call in one.of(COMPLETE) if view.stays(call.key) and view.quiet_after(call.leave) >= 0]
        if one
        else []
    )
    call = _pick(ends, chance)
    return view.without(call) if call else None


def left_out(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance, least=2)
    call = one and _pick([call for call in one.of(COMPLETE) if view.stays(call.key)], chance)
    return view.without(*(other for other in one.calls if other.key == call.key)) if one and call else None


def outcomes_differ(view: HistoryView, chance: random.Random) -> Mutated:
    one = _attempt(view, chance, least=2)
    call = one and _pick(one.of(COMPLETE), chance)
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
    call = one and _pick(one.of(START), chance)
    return view.put(call.enter, cpu=call.record.nt) if call else None


def not_counted(view: HistoryView, chance: random.Random) -> Mutated:
    call = _pick([call for call in view.calls if call.record.state == COMPLETE and not call.existing], chance)
    if call is None:
        return None
    if chance.random() < 0.5:
        return view.put(call.enter, mask=call.record.mask & ~(1 << call.record.number))
    return view.put(call.enter, active=call.record.nt)


def failure_succeeds(view: HistoryView, chance: random.Random) -> Mutated:
    call = _pick([call for call in view.calls if call.record.state == FAILURE and not call.existing], chance)
    return call and view.both(call, status=chance.choice([0, 0x103]))


def failure_counted(view: HistoryView, chance: random.Random) -> Mutated:
    call = _pick([call for call in view.calls if call.record.state == FAILURE and not call.existing], chance)
    return call and view.put(call.enter, mask=call.record.mask | 1 << call.record.number)


def _vetoed(view: HistoryView, chance: random.Random) -> tuple[Tried, list[Told]] | None:
    found = [one for one in view.attempts if one.vetoed and all(call.simple for call in one.calls)]
    others = [
        (one, [end for end in one.of(FAILURE) if not any(c.vetoes and c.key == end.key for c in one.calls)])
        for one in found
    ]
    others = [(one, ends) for one, ends in others if ends]
    return chance.choice(others) if others else None


def veto_completed(view: HistoryView, chance: random.Random) -> Mutated:
    found = _vetoed(view, chance)
    call = found and chance.choice(found[1])
    return view.both(call, state=COMPLETE, status=0) if call else None


def veto_untold(view: HistoryView, chance: random.Random) -> Mutated:
    found = _vetoed(view, chance)
    ends = (
        [call for call in found[1] if view.stays(call.key) and view.quiet_after(call.leave) >= 0]
        if found
        else []
    )
    return view.without(chance.choice(ends)) if ends else None


def status_written(view: HistoryView, chance: random.Random) -> Mutated:
    ends = [call for call in view.calls if call.record.state != START]
    if ends and chance.random() < 0.5:
        call = chance.choice(ends)
        return view.put(call.leave, op=call.record.op ^ 0x1 or 0xC0000001)
    starts = [
        call for call in view.calls if call.record.state == START and call.record.op == call.exit.op == 0
    ]
    return view.put(chance.choice(starts).leave, op=0x103) if starts else None


def error_overwritten(view: HistoryView, chance: random.Random) -> Mutated:
    call = _pick([call for call in view.calls if call.record.state == START and call.record.op], chance)
    return call and view.put(call.leave, op=chance.choice([0, 0xC0000022]))


def context_written(view: HistoryView, chance: random.Random) -> Mutated:
    call = _pick(view.calls, chance)
    name = chance.choice(["nt", "group", "number", "status"])
    return call and view.put(call.leave, **{name: getattr(call.exit, name) + 1})


def object_kept(view: HistoryView, chance: random.Random) -> Mutated:
    """A driver allocates in each Start, and does not free in Failure, nor ever."""
    places = [
        place for call in view.calls if call.record.state == FAILURE and not call.existing and view.stays(call.key)
        for place in view.block(call) if isinstance(view.records[place], Free)
    ]  # fmt: skip
    gone = chance.choice(places) if places else -1
    return [record for n, record in enumerate(view.records) if n != gone] if places else None


def bound_early(view: HistoryView, chance: random.Random) -> Mutated:
    """A driver that binds on purpose begins a thread in Start."""
    binders = {one.driver for one in view.records if isinstance(one, Bind)}
    calls = [
        call for one in view.attempts if one.added for call in one.of(START) if call.record.driver in binders
    ]
    call = _pick(calls, chance)
    if call is None:
        return None
    seen: SyncEnter = call.record
    common = {name: getattr(seen, name) for name in (
        "channel", "qpc", "boot", "driver", "cpu", "irql", "thread", "active", "active_g0", "active_g0_ex", "maximum",
        "groups", "nt", "group", "number", "host_ns")}  # fmt: skip
    made = Bind(**common, seq=TEMPORARY * 2, what="thread")
    again = [
        n for n, one in enumerate(view.records)
        if isinstance(one, Bind) and (one.boot, one.driver, one.nt) == (seen.boot, seen.driver, seen.nt)
    ]  # fmt: skip
    rest = [one for n, one in enumerate(view.records) if n >= call.leave and n not in again]
    return [*view.records[: call.leave], made, *rest]


SYNC = {
    "SYNC-STATE-VALID": [state_valid], "SYNC-CONTEXT-IDENTITY": [context_identity],
    "SYNC-IRQL-PASSIVE": [irql_passive], "REG-IRQL-PASSIVE": [reg_irql],
    "SYNC-START-BEFORE-COMPLETE": [complete_without_start], "SYNC-START-BEFORE-FAILURE": [failure_without_start],
    "SYNC-EXACTLY-TWO": [start_twice, end_twice], "SYNC-TERMINAL-EXCLUSIVE": [failure_after_complete],
    "SYNC-START-CLOSED": [never_ended], "SYNC-ALL-REGISTERED": [left_out], "SYNC-AGREE": [outcomes_differ],
    "SYNC-BARRIER": [start_behind_complete], "SYNC-SAME-IDENTITY": [other_place],
    "NO-RUN-BEFORE-START-DONE": [runs_before], "COMPLETE-COUNTED": [not_counted],
    "FAIL-STATUS-ERROR": [failure_succeeds], "FAIL-NOT-COUNTED": [failure_counted],
    "VETO-NO-COMPLETE": [veto_completed], "VETO-FAILURE-DELIVERED": [veto_untold],
    "OB-OPSTATUS-DISCIPLINE": [status_written], "OB-NO-OVERWRITE": [error_overwritten],
    "OB-CTX-IMMUTABLE": [context_written], "OB-ALLOC-FREE": [object_kept],
    "OB-THREAD-AFTER-COMPLETE": [bound_early],
}  # fmt: skip
