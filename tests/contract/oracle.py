# SPDX-License-Identifier: MIT
"""A second judge, slow and obviously right: the core rules read off the contract as sentences over all events.

It knows nothing of streams, models or verdicts: it takes whole records of a complete run in which every driver stays
registered, nothing is lost, and the guest is quiet at the end, and returns the rules that are violated.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.history.driver import (
    COMPLETE,
    FAILURE,
    START,
    AsyncEnter,
    CallExit,
    DriverRecord,
    SyncEnter,
    SyncExit,
)
from harness.history.record import Quiesced, Record

SCOPE = frozenset(
    {
        "SYNC-START-BEFORE-COMPLETE", "SYNC-START-BEFORE-FAILURE", "SYNC-EXACTLY-TWO", "SYNC-TERMINAL-EXCLUSIVE",
        "SYNC-START-CLOSED", "SYNC-ALL-REGISTERED", "SYNC-AGREE", "SYNC-BARRIER", "VETO-NO-COMPLETE",
        "VETO-FAILURE-DELIVERED", "SYNC-FIRST", "ASYNC-AFTER-SCHEDULABLE", "COMPLETE-COUNTED", "COUNT-MONOTONIC",
        "NUM-UNIQUE", "FAIL-NOT-COUNTED", "SYNC-SAME-IDENTITY",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Event:
    """One callback: who was called, of what, and the records of entry and return."""

    who: str
    n: int
    state: int
    enter: SyncEnter
    leave: SyncExit

    @property
    def vetoes(self) -> bool:
        return self.state == START and self.leave.op >= 0x80000000


def events(records: list[Record]) -> list[Event]:
    """All callbacks."""
    leaves = {(r.driver, r.enter): r for r in records if isinstance(r, SyncExit)}
    return [
        Event(r.driver, r.nt, r.state, r, leaves[r.driver, r.seq])
        for r in records
        if isinstance(r, SyncEnter)
    ]


def callbacks(records: list[Record]) -> list[Event]:
    """All callbacks after the drivers were registered."""
    registered = max(
        record.n for record in records if isinstance(record, CallExit) and record.call == "driver_entry"
    )
    return [event for event in events(records) if event.enter.n > registered]


def attempts(records: list[Record]) -> list[list[Event]]:
    """A(n, k) by definition: events of one processor, split where a Start, or an end that nothing awaits, begins anew.

    Silence ends what is closed, and each registration's part of it. Where a Start has no end yet, another client may be slow.
    """
    quiet = [record.n for record in records if isinstance(record, Quiesced)]
    found: list[list[Event]] = []
    for event in callbacks(records):
        newest = next((a for a in reversed(found) if a[0].n == event.n), None)
        if newest is None:
            found.append([event])
            continue
        mine = [other for other in newest if other.who == event.who]
        started = any(other.state == START for other in mine)
        finished = any(other.state != START or other.vetoes for other in mine)
        last = max(other.leave.n for other in newest)
        between = any(last < place < event.enter.n for place in quiet)
        open_ones = {other.who for other in newest if other.state == START} - {
            other.who for other in newest if other.state != START or other.vetoes
        }
        over = between and not open_ones
        awaited = started and not any(other.state != START for other in mine)
        anew = (over or (started and (between or finished))) if event.state == START else over and not awaited
        if anew:
            late = _late(newest) if event.state == START and not between else []
            for other in late:
                newest.remove(other)
            found.append([*late, event])
        else:
            newest.append(event)
    return found


def _late(attempt: list[Event]) -> list[Event]:
    """The Starts that came when everything of a failed attempt was over, and have no end: they are of the next one."""
    late = []
    for one in attempt:
        before = [e for e in attempt if e.enter.n < one.enter.n]
        ended = [e for e in before if e.state != START or (e.vetoes and e.leave.n < one.enter.n)]
        refused = any(e.state == FAILURE or e.vetoes for e in ended) or any(
            e.state == START and e.enter.op >= 0x80000000 for e in before
        )
        over = {e.who for e in before if e.state == START} <= {e.who for e in ended}
        alone = [e for e in attempt if e.who == one.who] == [one]
        if one.state == START and not one.vetoes and alone and refused and over:
            late.append(one)
    return late


def violated(records: list[Record], drivers: set[str]) -> set[str]:
    """The rules in SCOPE that the records violate."""
    broken: set[str] = set()
    groups = attempts(records)
    for place, attempt in enumerate(groups):
        starts = [e for e in attempt if e.state == START]
        ends = [e for e in attempt if e.state != START]
        veto = any(e.vetoes for e in attempt)
        # After any refusal, logged or not, the page does not promise that later callbacks are called (U3).
        refused = (
            veto or any(e.enter.op >= 0x80000000 for e in starts) or any(e.state == FAILURE for e in ends)
        )
        completes = [e for e in ends if e.state == COMPLETE]
        failures = [e for e in ends if e.state == FAILURE]
        for end in ends:
            if not any(s.who == end.who and s.leave.n < end.enter.n for s in starts):
                broken.add(f"SYNC-START-BEFORE-{'COMPLETE' if end.state == COMPLETE else 'FAILURE'}")
        for who in drivers:
            mine = [e for e in starts if e.who == who]
            over = [e for e in ends if e.who == who]
            vetoed = any(e.vetoes for e in mine)
            if len(over) > 1:
                broken.add("SYNC-TERMINAL-EXCLUSIVE")
            if mine and (len(mine) > 1 or len(over) > 1 or (not over and not vetoed)):
                broken.add("SYNC-EXACTLY-TWO")
            if mine and not over and not vetoed:
                broken.add("SYNC-START-CLOSED")
            if not refused and not (mine and over):
                broken.add("SYNC-ALL-REGISTERED")
            if veto and mine and not vetoed:
                told = [e for e in over if e.state == FAILURE]
                if len(told) != 1 or told[0].enter.n < mine[0].enter.n:
                    broken.add("VETO-FAILURE-DELIVERED")
        if any(a.state != b.state and a.who != b.who for a in ends for b in ends):
            broken.add("SYNC-AGREE")
        if any(c.enter.n < s.leave.n for c in completes for s in starts):
            broken.add("SYNC-BARRIER")
        if veto and completes:
            broken.add("VETO-NO-COMPLETE")
        if len({(e.enter.group, e.enter.number) for e in attempt}) > 1:
            broken.add("SYNC-SAME-IDENTITY")
        before = [e for earlier in groups[:place] for e in earlier if e.state == COMPLETE]
        if completes and any(
            e.n == completes[0].n
            or (e.enter.group, e.enter.number) == (completes[0].enter.group, completes[0].enter.number)
            for e in before
        ):
            broken.add("NUM-UNIQUE")
        shown = [*before, *completes]
        if any(
            one.n == other.n
            and (one.enter.group, one.enter.number) != (other.enter.group, other.enter.number)
            for one in completes
            for other in shown
        ):
            broken.add("NUM-UNIQUE")
        if not any(e.n == attempt[0].n for e in before) and any(
            f.enter.mask >> f.enter.number & 1 for f in failures
        ):
            broken.add("FAIL-NOT-COUNTED")
        if any(c.n >= c.enter.active or not c.enter.mask >> c.enter.number & 1 for c in completes):
            broken.add("COMPLETE-COUNTED")
    return broken | _arrivals(records, groups) | _counts(records)


def grows_untold(records: list[Record]) -> bool:
    """Whether more processors became active than were completed.

    "Growth is always somebody's notification": then SYNC-ALL-REGISTERED is violated unless the add is still open.
    """
    baseline = next(record for record in records if isinstance(record, Quiesced))
    seen = [r for r in records if isinstance(r, DriverRecord)]
    grown = max(r.active for r in seen) - max(r.active for r in seen if r.n < baseline.n)
    return grown > len({e.n for e in callbacks(records) if e.state == COMPLETE})


def _arrivals(records: list[Record], groups: list[list[Event]]) -> set[str]:
    """One command: each link that is new in its window is of the processor that it added, if it added one.

    An arrival may also be that of a processor that was not added, which is a warning (X4).
    """
    baseline = next(record for record in records if isinstance(record, Quiesced))
    known = {(r.driver, r.link) for r in records if isinstance(r, AsyncEnter) and r.n < baseline.n}
    base = max(r.active for r in records if isinstance(r, DriverRecord) and r.n < baseline.n)
    failed = any(e.state == FAILURE or e.vetoes for attempt in groups for e in attempt)
    completed = any(e.state == COMPLETE for attempt in groups for e in attempt)
    grown = any(r.active > base for r in records if isinstance(r, DriverRecord))
    if failed or not (completed or grown):
        return set()
    broken: set[str] = set()
    for record in records:
        if (
            isinstance(record, AsyncEnter)
            and (record.driver, record.link) not in known
            and record.n > baseline.n
        ):
            known.add((record.driver, record.link))
            silent = _of_nothing(record, records, groups, base)
            starts = [e for attempt in groups for e in attempt if e.state == START and e.who == record.driver]
            if not starts or (not silent and not any(e.enter.n < record.n for e in starts)):
                broken.add("SYNC-FIRST")
            if record.active < base + 1 and not silent:
                broken.add("ASYNC-AFTER-SCHEDULABLE")
    return broken


def _of_nothing(arrival: AsyncEnter, records: list[Record], groups: list[list[Event]], base: int) -> bool:
    """Whether silence came between an arrival and the first sign of a processor: then it is not that one's."""
    signs = [e.enter.n for attempt in groups for e in attempt if e.state == COMPLETE]
    signs += [r.n for r in records if isinstance(r, DriverRecord) and r.active > base]
    return any(
        isinstance(one, Quiesced)
        and arrival.n < one.n
        and not any(sign < one.n for sign in signs)
        and not any(_under_way(attempt, one.n) for attempt in groups)
        for one in records
    )


def _under_way(attempt: list[Event], place: int) -> bool:
    """Whether a Start of an attempt had no end yet."""
    before = [e for e in attempt if e.enter.n < place]
    ended = {e.who for e in before if e.state != START or e.vetoes}
    return any(e.state == START and e.who not in ended for e in before)


def _counts(records: list[Record]) -> set[str]:
    seen = [r for r in records if isinstance(r, DriverRecord)]
    falls = any(a.n < b.n and a.active > b.active for a in seen for b in seen)
    return {"COUNT-MONOTONIC"} if falls else set()
