# SPDX-License-Identifier: MIT
"""What a mutation needs to know of a documented history: its registrations, callbacks, attempts and arrivals."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from harness.history.driver import (
    AsyncEnter,
    AsyncExit,
    CallEnter,
    CallExit,
    DriverRecord,
    SyncEnter,
    SyncExit,
)
from harness.history.record import Add, Agreement, Boot, Quiesced, Record
from tests.contract.reference.editing import TEMPORARY, changed
from tests.contract.reference.seen import Key, Known, Told, Tried


class HistoryView:
    """Indexes the records of a history that has no retries and nothing withdrawn during an attempt."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records: list[Any] = list(records)
        self._temporary = count(TEMPORARY)
        self.registrations: list[Known] = []
        self.calls: list[Told] = []
        self.arrivals: list[Told] = []
        self.attempts: list[Tried] = []
        self._index()

    def _index(self) -> None:
        entered: dict[Key, int] = {}
        known: dict[Key, Known] = {}
        tried: dict[tuple[str, int, int], Tried] = {}
        command = -1
        for place, record in enumerate(self.records):
            if isinstance(record, Add) and record.phase == "begin" and record.what == "cpu":
                command = place
            if not isinstance(record, DriverRecord):
                continue
            who = (record.boot, record.driver)
            entered[(*who, record.seq)] = place
            if isinstance(record, CallEnter) and record.call in ("reg_sync", "reg_async"):
                one = Known((*who, record.reg), record.cls or "sync", record.flags, place)
                known[one.key] = one
                self.registrations.append(one)
            elif isinstance(record, CallExit) and record.reg and record.call in ("reg_sync", "reg_async"):
                known[(*who, record.reg)].leave = place
                known[(*who, record.reg)].handle = record.handle == 1
            elif isinstance(record, CallEnter) and record.reg:
                known[(*who, record.reg)].dereg = place
            elif isinstance(record, SyncExit | AsyncExit):
                enter = entered[(*who, record.enter)]
                call = Told(
                    (*who, record.reg), enter, place, self.records[enter], record, self._simple(enter, place)
                )
                one = known[call.key]
                if isinstance(record, AsyncExit):
                    self.arrivals.append(call)
                    continue
                call.existing = one.leave < 0 and bool(one.flags)
                self.calls.append(call)
                if not call.existing:
                    at = (record.boot, record.nt, command)
                    tried.setdefault(at, Tried(record.nt, record.boot)).calls.append(call)
        self.attempts = list(tried.values())

    def _simple(self, enter: int, leave: int) -> bool:
        """Whether no other callback of the driver lies within."""
        name = self.records[enter].driver
        return not any(
            isinstance(record, SyncEnter | SyncExit | AsyncEnter | AsyncExit) and record.driver == name
            for record in self.records[enter + 1 : leave]
        )

    # -- finding ----------------------------------------------------------------------------------------------------

    def quiet_after(self, place: int) -> int:
        """The place of the first quiet moment behind a place in the same boot, -1 if there is none."""
        for n in range(place, len(self.records)):
            if isinstance(self.records[n], Boot):
                break
            if isinstance(self.records[n], Quiesced):
                return n
        return -1

    def in_force(self, key: Key, place: int) -> bool:
        """Whether a registration is in force at a place."""
        return any(
            one.key == key and one.handle and one.leave < place and not 0 <= one.dereg <= place
            for one in self.registrations
        )

    def stays(self, key: Key) -> bool:
        """Whether a registration is in force at the end of the history."""
        boots = [n for n, record in enumerate(self.records) if isinstance(record, Boot)]
        return any(
            one.key == key and one.handle and one.dereg < 0 and one.enter > boots[-1]
            for one in self.registrations
        )

    def block(self, call: Told) -> list[int]:
        """The places of a callback's own records."""
        who = call.record.driver
        return [
            place
            for place in range(call.enter, call.leave + 1)
            if getattr(self.records[place], "driver", None) == who
        ]

    def boot_of(self, boot: str) -> Iterator[int]:
        """The places of a boot's driver records."""
        return (n for n, record in enumerate(self.records) if getattr(record, "boot", None) == boot)

    # -- changing ---------------------------------------------------------------------------------------------------

    def put(self, place: int, **fields: Any) -> list[Record]:
        """The history with other values in one record."""
        return [*self.records[:place], changed(self.records[place], **fields), *self.records[place + 1 :]]

    def both(self, call: Told, **fields: Any) -> list[Record]:
        """The history with other values in a callback's entry and return."""
        made = self.put(call.enter, **fields)
        made[call.leave] = changed(
            made[call.leave], **{k: v for k, v in fields.items() if hasattr(call.exit, k)}
        )
        return made

    def without(self, *calls: Told) -> list[Record]:
        """The history without some callbacks."""
        gone = {place for call in calls for place in self.block(call)}
        return [record for place, record in enumerate(self.records) if place not in gone]

    def moved(self, call: Told, target: int) -> list[Record]:
        """The history with a callback moved in front of the record at ``target``."""
        block = self.block(call)
        taken = [self.records[place] for place in block]
        before = [self.records[n] for n in range(target) if n not in block]
        after = [self.records[n] for n in range(target, len(self.records)) if n not in block]
        return [*before, *taken, *after]

    def inserted(self, target: int, call: Told, **fields: Any) -> list[Record]:
        """The history with a copy of a callback, with other values, in front of the record at ``target``."""
        return [*self.records[:target], *self.copy(call, **fields), *self.records[target:]]

    def copy(self, call: Told, **fields: Any) -> list[Record]:
        """A copy of a callback's entry and return."""
        number, last = next(self._temporary), next(self._temporary)
        leaving = {name: value for name, value in fields.items() if hasattr(call.exit, name)}
        return [
            changed(call.record, seq=number, **{k: v for k, v in fields.items() if hasattr(call.record, k)}),
            changed(call.exit, **{**leaving, "seq": last, "enter": number}),
        ]


def pick(found: list[Told], chance: random.Random) -> Told | None:
    """One of the callbacks, None if there is none."""
    return chance.choice(found) if found else None


def samples(view: HistoryView) -> list[int]:
    """The places of all driver records."""
    return [n for n, record in enumerate(view.records) if isinstance(record, DriverRecord)]


def add_failed(view: HistoryView) -> bool:
    """Whether some add failed, seen by a driver or not: the system may try it again at any time (U29)."""
    refused = any(isinstance(one, Add) and one.expected == "vetoed" for one in view.records)
    apart = any(isinstance(one, Agreement) and not one.agreed for one in view.records)
    return refused or apart or any(not tried.added for tried in view.attempts)
