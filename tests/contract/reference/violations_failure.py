# SPDX-License-Identifier: MIT
"""One step to a history that violates a rule of failures, vetoes, and what a driver owes (R.3)."""

from __future__ import annotations

import random

from harness.history.driver import COMPLETE, FAILURE, START, Bind, Free, SyncEnter
from harness.history.record import Add, Record
from tests.contract.reference.editing import TEMPORARY
from tests.contract.reference.seen import Told, Tried
from tests.contract.reference.view import HistoryView, pick

Mutated = list[Record] | None


def failure_succeeds(view: HistoryView, chance: random.Random) -> Mutated:
    call = pick([call for call in view.calls if call.record.state == FAILURE and not call.existing], chance)
    return view.both(call, status=chance.choice([0, 0x103])) if call else None


def failure_counted(view: HistoryView, chance: random.Random) -> Mutated:
    call = pick([call for call in view.calls if call.record.state == FAILURE and not call.existing], chance)
    return view.put(call.enter, mask=call.record.mask | 1 << call.record.number) if call else None


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
    call = pick([call for call in view.calls if call.record.state == START and call.record.op], chance)
    return view.put(call.leave, op=chance.choice([0, 0xC0000022])) if call else None


def context_written(view: HistoryView, chance: random.Random) -> Mutated:
    call = pick(view.calls, chance)
    name = chance.choice(["nt", "group", "number", "status"])
    return view.put(call.leave, **{name: getattr(call.exit, name) + 1}) if call else None


def object_kept(view: HistoryView, chance: random.Random) -> Mutated:
    """A driver allocates in each Start, and does not free in Failure, nor ever."""
    places = [
        place for call in view.calls if call.record.state == FAILURE and not call.existing and view.stays(call.key)
        for place in view.block(call) if isinstance(view.records[place], Free)
    ]  # fmt: skip
    gone = chance.choice(places) if places else -1
    return [record for n, record in enumerate(view.records) if n != gone] if places else None


def _arrived(view: HistoryView, start: Told) -> bool:
    """Whether an arrival came between the last command and a Start: it may be taken for that processor's."""
    command = max(n for n in range(start.enter) if isinstance(view.records[n], Add))
    return any(command < call.enter < start.leave for call in view.arrivals)


def bound_early(view: HistoryView, chance: random.Random) -> Mutated:
    """A driver that binds on purpose begins a thread in Start."""
    binders = {one.driver for one in view.records if isinstance(one, Bind)}
    calls = [
        call for one in view.attempts if one.added for call in one.of(START)
        if call.record.driver in binders and not _arrived(view, call)
    ]  # fmt: skip
    call = pick(calls, chance)
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


FAILURES = {
    "FAIL-STATUS-ERROR": [failure_succeeds],
    "FAIL-NOT-COUNTED": [failure_counted],
    "VETO-NO-COMPLETE": [veto_completed],
    "VETO-FAILURE-DELIVERED": [veto_untold],
    "OB-OPSTATUS-DISCIPLINE": [status_written],
    "OB-NO-OVERWRITE": [error_overwritten],
    "OB-CTX-IMMUTABLE": [context_written],
    "OB-ALLOC-FREE": [object_kept],
    "OB-THREAD-AFTER-COMPLETE": [bound_early],
}
