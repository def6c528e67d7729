# SPDX-License-Identifier: MIT
"""A slow judge of whole histories with several registrations: rules read off the contract as sentences over all events.

It takes a history in which nothing is missing, nothing is mapped, lines stand in the order in which things happened, no
add is retried without a command, and nothing is withdrawn during an attempt. Every loop is over everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from harness.history.driver import (
    COMPLETE,
    FAILURE,
    START,
    Alloc,
    CallEnter,
    CallExit,
    DriverRecord,
    Free,
    SyncEnter,
    SyncExit,
    nt_success,
)
from harness.history.record import Add, Boot, Record

Who = tuple[str, str, int]
"""The boot, the driver and the number of a registration."""


@dataclass(frozen=True)
class OneCall:
    """A synchronous callback."""

    who: Who
    enter: SyncEnter
    leave: SyncExit

    @property
    def vetoes(self) -> bool:
        return self.enter.state == START and nt_success(self.enter.op) and not nt_success(self.leave.op)


@dataclass(frozen=True)
class OneRegistration:
    """A synchronous registration: when it was called for, when it returned, and when it was withdrawn (0: never)."""

    who: Who
    flags: int
    begin: int
    end: int
    handle: bool
    withdrawn: int

    def covers(self, first: int, last: int) -> bool:
        return self.handle and self.end < first and (not self.withdrawn or self.withdrawn > last)


def registrations(records: list[Record]) -> list[OneRegistration]:
    """All synchronous registrations that returned."""
    found = []
    for one in records:
        if isinstance(one, CallEnter) and one.call == "reg_sync":
            who = (one.boot, one.driver, one.reg)
            mine = [
                r for r in records if isinstance(r, CallEnter | CallExit) and (r.boot, r.driver, r.reg) == who
            ]
            ends = [r for r in mine if isinstance(r, CallExit) and r.call == "reg_sync"]
            gone = [r.n for r in mine if isinstance(r, CallEnter) and r.call == "dereg_sync"]
            if ends:
                found.append(
                    OneRegistration(
                        who, one.flags, one.n, ends[0].n, ends[0].handle == 1, gone[0] if gone else 0
                    )
                )
    return found


def calls(records: list[Record]) -> list[OneCall]:
    """All synchronous callbacks."""
    exits = {(r.boot, r.driver, r.enter): r for r in records if isinstance(r, SyncExit)}
    return [
        OneCall((r.boot, r.driver, r.reg), r, exits[r.boot, r.driver, r.seq])
        for r in records
        if isinstance(r, SyncEnter)
    ]


def broken(records: list[Record]) -> set[str]:
    """The rules that the records violate, of those that this module has sentences for."""
    regs, events = registrations(records), calls(records)
    return {
        *_rounds(records, regs, events), *_attempts(records, regs, events), *_silence(records, regs, events),
        *_identity(records, events), *_ends(records, regs),
    }  # fmt: skip


def _inside(one: OneRegistration, events: list[OneCall]) -> list[OneCall]:
    return [e for e in events if e.who == one.who and one.begin < e.enter.n < one.end]


def _rounds(records: list[Record], regs: list[OneRegistration], events: list[OneCall]) -> Iterator[str]:
    """A20 and A22: what ADD_EXISTING says before the registration returns."""
    for one in regs:
        told = _inside(one, events)
        if not one.flags or (not told and not one.handle):
            continue
        starts = [e for e in told if e.enter.state == START]
        completes = [e for e in told if e.enter.state == COMPLETE]
        failures = [e for e in told if e.enter.state == FAILURE]
        vetoes = [e for e in starts if e.vetoes]
        if vetoes:
            veto = vetoes[0]
            if completes or any(s.enter.n > veto.enter.n for s in starts):
                yield "ADDEX-VETO-STOPS"
            if sorted(f.enter.nt for f in failures) != sorted(s.enter.nt for s in starts if s is not veto):
                yield "ADDEX-VETO-FAILURES"
            mine = [
                r for r in records if isinstance(r, Alloc | Free) and (r.boot, r.driver, r.reg) == one.who
            ]
            left = [r for r in mine if veto.enter.n < r.n < veto.leave.n and r.nt == veto.enter.nt]
            if sum(isinstance(r, Alloc) for r in left) != sum(isinstance(r, Free) for r in left):
                yield "OB-VETO-SELF-CLEAN"
            continue
        active = next(r.active for r in records if isinstance(r, CallExit) and r.n == one.end)
        if sorted(s.enter.nt for s in starts) != list(range(active)):
            yield "ADDEX-ONE-START-EACH"
        if failures or sorted(c.enter.nt for c in completes) != sorted(s.enter.nt for s in starts):
            yield "ADDEX-ONE-COMPLETE-EACH"
        if any(c.enter.n < s.leave.n for c in completes for s in starts):
            yield "ADDEX-STARTS-THEN-COMPLETES"


def _attempts(records: list[Record], regs: list[OneRegistration], events: list[OneCall]) -> Iterator[str]:
    """A7 to A18: what the registrations are told of one hot-add."""
    commands = [r.n for r in records if isinstance(r, Add) and r.what == "cpu" and r.phase == "begin"]
    boots = [r.n for r in records if isinstance(r, Boot)]
    existing = {id(e) for one in regs if one.flags for e in _inside(one, events)}
    hot = [e for e in events if id(e) not in existing]

    def key(e: OneCall) -> tuple[str, int, int]:
        return e.enter.boot, e.enter.nt, max((n for n in commands if n < e.enter.n), default=0)

    for group in {key(e) for e in hot}:
        told = [e for e in hot if key(e) == group]
        first, last = min(e.enter.n for e in told), max(e.leave.n for e in told)
        begun = max(n for n in boots if n < first)
        starts = [e for e in told if e.enter.state == START]
        ends = [e for e in told if e.enter.state in (COMPLETE, FAILURE)]
        completes = [e for e in ends if e.enter.state == COMPLETE]
        if any(c.enter.n < s.leave.n for c in completes for s in starts):
            yield "SYNC-BARRIER"
        if len({e.enter.state for e in ends}) > 1:
            yield "SYNC-AGREE"
        if len({(e.enter.group, e.enter.number) for e in told}) > 1:
            yield "SYNC-SAME-IDENTITY"
        if completes and any(s.vetoes for s in starts):
            yield "VETO-NO-COMPLETE"
        failed = any(s.vetoes for s in starts) or any(e.enter.state == FAILURE for e in ends)
        for one in regs:
            if not one.covers(first, last) or one.begin < begun:
                continue
            mine = [e for e in starts if e.who == one.who]
            over = [e for e in ends if e.who == one.who]
            for end in over:
                if not any(s.leave.n < end.enter.n for s in mine):
                    yield "SYNC-START-BEFORE-" + ("COMPLETE" if end.enter.state == COMPLETE else "FAILURE")
            if len({e.enter.state for e in over}) > 1:
                yield "SYNC-TERMINAL-EXCLUSIVE"
            vetoed = any(s.vetoes for s in mine)
            if mine and (len(mine) > 1 or len(over) > 1 or (not over and not vetoed)):
                yield "SYNC-EXACTLY-TWO"
            if mine and not over and not vetoed:
                yield "SYNC-START-CLOSED"
            if completes and not failed and not (mine and over):
                yield "SYNC-ALL-REGISTERED"
            if any(s.vetoes for s in starts) and mine and not vetoed and len(over) != 1:
                yield "VETO-FAILURE-DELIVERED"


def _silence(records: list[Record], regs: list[OneRegistration], events: list[OneCall]) -> Iterator[str]:
    """A20, A21 and A24: what a registration is not told."""
    for one in regs:
        active = next(r.active for r in records if isinstance(r, CallExit) and r.n == one.end)
        for e in events:
            if e.who == one.who and e.enter.n > one.end and not one.handle:
                yield "NULL-NO-CALLBACKS"
            if e.who == one.who and one.handle and e.enter.n > one.begin and e.enter.nt < active:
                if not one.flags:
                    yield "NOFLAG-SILENT"
                elif e.enter.n > one.end:
                    yield "ADDEX-WITHIN-REGISTER"
            other = e.who != one.who and e.who[0] == one.who[0]
            nested = any(o.who == e.who and o.begin < e.enter.n < o.end for o in regs)
            if other and one.flags and one.begin < e.enter.n < one.end and e.enter.nt < active and not nested:
                yield "ADDEX-OTHERS-SILENT"


def _identity(records: list[Record], events: list[OneCall]) -> Iterator[str]:
    """A34 to A37, E3, E4 and E11: one truth for a whole boot."""
    shown = [e.enter for e in events if e.enter.state == COMPLETE]
    for a in shown:
        for b in shown:
            if a.boot == b.boot and ((a.nt == b.nt) != ((a.group, a.number) == (b.group, b.number))):
                yield "NUM-UNIQUE"
    for first in events:
        for later in events:
            if first.who != later.who or first.enter.nt != later.enter.nt or first.enter.n >= later.enter.n:
                continue
            between = [
                e
                for e in events
                if e.who == first.who
                and first.enter.n < e.enter.n < later.enter.n
                and e.enter.nt == first.enter.nt
            ]
            started = any(e.enter.state == START for e in between)
            if first.enter.state == later.enter.state == COMPLETE and started:
                yield "NUM-UNIQUE"
    if any(e.enter.number >= min(64, e.enter.max_in_group) or e.enter.nt >= e.enter.maximum for e in events):
        yield "NUM-RANGE"
    seen = [r for r in records if isinstance(r, DriverRecord)]
    for one, other in pairwise(seen):
        if one.boot == other.boot and one.maximum != other.maximum:
            yield "MAX-CONSTANT"
    for boot in {r.boot for r in seen}:
        counts = [r.active for r in seen if r.boot == boot]
        groups = [r.groups for r in seen if r.boot == boot]
        if counts != sorted(counts):
            yield "COUNT-MONOTONIC"
        if groups != sorted(groups):
            yield "GROUPS-MONOTONIC"


def _ends(records: list[Record], regs: list[OneRegistration]) -> Iterator[str]:
    """A24 and A29: what a driver owes when its registration is refused, and before it goes."""
    for one in regs:
        mine = [
            r for r in records if isinstance(r, CallEnter | CallExit) and (r.boot, r.driver) == one.who[:2]
        ]
        entries = [r for r in mine if isinstance(r, CallExit) and r.call == "driver_entry" and r.n > one.end]
        loads = [r.n for r in mine if isinstance(r, CallEnter) and r.call == "driver_entry" and r.n > one.end]
        entry = entries[0] if entries and not (loads and loads[0] < entries[0].n) else None
        if entry is not None and not one.handle and nt_success(entry.result):
            yield "OB-NULL-FAILS-ENTRY"
        gone = [r.n for r in mine if isinstance(r, CallExit) and r.call == "unload" and r.n > one.end]
        if entry is not None and not nt_success(entry.result):
            gone.append(entry.n)
        times = sum(isinstance(r, CallEnter) and r.call == "dereg_sync" and r.reg == one.who[2] for r in mine)
        if one.handle and (times > 1 or (gone and (not one.withdrawn or one.withdrawn > min(gone)))):
            yield "OB-DEREG-BEFORE-UNLOAD"


SCOPE = frozenset(
    {
        "ADDEX-VETO-STOPS", "ADDEX-VETO-FAILURES", "OB-VETO-SELF-CLEAN", "ADDEX-ONE-START-EACH",
        "ADDEX-ONE-COMPLETE-EACH", "ADDEX-STARTS-THEN-COMPLETES", "SYNC-BARRIER", "SYNC-AGREE", "SYNC-SAME-IDENTITY",
        "VETO-NO-COMPLETE", "SYNC-START-BEFORE-COMPLETE", "SYNC-START-BEFORE-FAILURE", "SYNC-TERMINAL-EXCLUSIVE",
        "SYNC-EXACTLY-TWO", "SYNC-START-CLOSED", "SYNC-ALL-REGISTERED", "VETO-FAILURE-DELIVERED", "NULL-NO-CALLBACKS",
        "NOFLAG-SILENT", "ADDEX-WITHIN-REGISTER", "ADDEX-OTHERS-SILENT", "NUM-UNIQUE", "NUM-RANGE", "MAX-CONSTANT",
        "COUNT-MONOTONIC", "GROUPS-MONOTONIC", "OB-NULL-FAILS-ENTRY", "OB-DEREG-BEFORE-UNLOAD",
    }
)  # fmt: skip
"""The rules that this module has sentences for."""
