# SPDX-License-Identifier: MIT
"""A second judge of registrations: KE_PROCESSOR_CHANGE_ADD_EXISTING read off the contract (A20 to A25), over all events.

It takes whole records of a run in which no add is in flight while a driver registers, and in which each driver registers once.
Nothing is lost.
"""

from __future__ import annotations

from collections import Counter

from contract.oracle import Event, events

from harness.history.driver import COMPLETE, FAILURE, START, CallEnter, CallExit
from harness.history.record import Record

SCOPE = frozenset(
    {
        "ADDEX-WITHIN-REGISTER", "ADDEX-ONE-START-EACH", "ADDEX-STARTS-THEN-COMPLETES", "ADDEX-ONE-COMPLETE-EACH",
        "ADDEX-VETO-STOPS", "ADDEX-VETO-FAILURES", "ADDEX-VETO-NULL", "NULL-NO-CALLBACKS", "NOFLAG-SILENT",
        "ADDEX-OTHERS-SILENT",
    }
)  # fmt: skip


def violated(records: list[Record]) -> tuple[set[str], set[str]]:
    """The rules in SCOPE that the records violate, and those that may be said of them, or not: another rule says it."""
    broken: set[str] = set()
    either: set[str] = set()
    for begin in records:
        if isinstance(begin, CallEnter) and begin.call == "reg_sync":
            (end,) = [
                r
                for r in records
                if isinstance(r, CallExit) and (r.driver, r.enter) == (begin.driver, begin.seq)
            ]
            told, unsure = _registration(begin, end, events(records))
            broken |= told
            either |= unsure
    return broken, either


def _registration(begin: CallEnter, end: CallExit, called: list[Event]) -> tuple[set[str], set[str]]:
    """What is violated by one registration, and by the calls of it."""
    mine = [e for e in called if e.who == begin.driver]
    inside = [e for e in mine if begin.n < e.enter.n < end.n]
    later = [e for e in mine if e.enter.n > end.n]
    others = [e for e in called if e.who != begin.driver and begin.n < e.enter.n < end.n]
    existing = set(range(begin.active))
    if begin.flags:
        broken, either = _with_flag(inside, existing, null=not end.handle)
        if others:
            # An end without a Start, or a processor that was not there, is what the rules on attempts say of it.
            starts = any(e.state == START and e.n in existing for e in others)
            (broken if starts else either).add("ADDEX-OTHERS-SILENT")
        if later:
            reported = {e.n for e in inside if e.state == START}
            if end.handle and any(e.n in existing & reported for e in later):
                broken.add("ADDEX-WITHIN-REGISTER")
            elif any(e.n in existing | reported for e in later):
                # It was due before, and that it did not come then is said already; or the registration had returned NULL.
                either.add("ADDEX-WITHIN-REGISTER")
    else:
        broken, either = set(), set()
        if any(e.n in existing for e in inside) or any(e.n in existing and e.state == START for e in later):
            broken.add("NOFLAG-SILENT")
        elif inside:
            either.add("NOFLAG-SILENT")
    if later and not end.handle:
        broken.add("NULL-NO-CALLBACKS")
    if end.active != begin.active:
        # Which processors existed at the registration is not known then.
        either |= {"ADDEX-ONE-START-EACH", "ADDEX-WITHIN-REGISTER", "NOFLAG-SILENT", "ADDEX-OTHERS-SILENT"}
    return broken, either


def _with_flag(inside: list[Event], existing: set[int], *, null: bool) -> tuple[set[str], set[str]]:
    """What is violated between the call and its return."""
    broken: set[str] = set()
    either: set[str] = set()
    starts = [e for e in inside if e.state == START]
    completes = [e for e in inside if e.state == COMPLETE]
    failures = [e for e in inside if e.state == FAILURE]
    if any(s.leave.n > c.enter.n for s in starts for c in completes):
        broken.add("ADDEX-STARTS-THEN-COMPLETES")
    error = next((s for s in starts if s.vetoes), None)
    if error is None:
        if starts or not null:
            once = Counter(e.n for e in starts) == Counter(existing)
            broken |= set() if once else {"ADDEX-ONE-START-EACH"}
        paired = Counter(e.n for e in starts) == Counter(e.n for e in completes)
        broken |= {"ADDEX-ONE-COMPLETE-EACH"} if failures or not paired else set()
        return broken, either
    after = [e for e in inside if e.enter.n > error.enter.n]
    if completes or any(e.state == START for e in after):
        broken.add("ADDEX-VETO-STOPS")
    started = [e.n for e in starts if e.enter.n < error.enter.n and e.n != error.n]
    told = Counter(e.n for e in failures if e.enter.n > error.leave.n)
    if told != Counter(started) or len(failures) > told.total():
        broken.add("ADDEX-VETO-FAILURES")
    if len(starts) > len(started) + 1:
        # Which Failures are due for a Start that must not have come, no page says.
        either.add("ADDEX-VETO-FAILURES")
    if not null:
        broken.add("ADDEX-VETO-NULL")
    return broken, either
