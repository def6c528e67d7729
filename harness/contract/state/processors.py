# SPDX-License-Identifier: MIT
"""The processors of one boot, over all drivers, registrations, existing and added processors.

An active processor has an index and a place (group and number) of its own, which never change. The maximum is one
value. The active count and the number of groups never fall. Each is kept with the record that first showed it.
"""

from __future__ import annotations

from harness.contract.state.entities import Attempt, Callback
from harness.history.driver import DriverRecord, SyncEnter

MOST_PROCESSORS = 8192
"""SystemProcessors remembered; a system has far fewer."""


class SystemProcessors:
    """What the drivers' records show of the processors of one boot.

    ``counted`` is the record with the highest active count, ``grouped`` the one with the most groups, ``sized`` the first
    that gives the maximum; None until there is one. ``ran`` and ``ran_high`` are the first record sampled on each
    processor, below DISPATCH_LEVEL and from there on, with its place in the stream.
    """

    def __init__(self) -> None:
        self.counted: DriverRecord | None = None
        self.grouped: DriverRecord | None = None
        self.sized: DriverRecord | None = None
        self.ran: dict[int, tuple[DriverRecord, int]] = {}
        self.ran_high: dict[int, tuple[DriverRecord, int]] = {}
        self._active: dict[int, tuple[SyncEnter, Attempt | None, int]] = {}
        self._places: dict[tuple[int, int], SyncEnter] = {}

    def sampled(self, record: DriverRecord) -> None:
        """Take the counts of a record that gives them."""
        if self.counted is None or record.active > self.counted.active:
            self.counted = record
        if self.grouped is None or record.groups > self.grouped.groups:
            self.grouped = record
        if self.sized is None:
            self.sized = record

    def active(self, call: Callback, at: int) -> None:
        """Take from a callback that a processor is active: it existed at a registration, or was completed."""
        enter = call.enter
        if enter.nt not in self._active and len(self._active) < MOST_PROCESSORS:
            self._active[enter.nt] = (enter, call.attempt, at)
            self._places.setdefault((enter.group, enter.number), enter)

    def known(self, nt: int) -> tuple[SyncEnter, Attempt | None, int] | None:
        """Return what showed that the processor with index ``nt`` is active: the record, its attempt, its place."""
        return self._active.get(nt)

    def elsewhere(self, enter: SyncEnter) -> SyncEnter | None:
        """Return a record that gives the place in ``enter`` to another processor, or the processor another place."""
        mine = self._active.get(enter.nt)
        if mine is not None and (mine[0].group, mine[0].number) != (enter.group, enter.number):
            return mine[0]
        other = self._places.get((enter.group, enter.number))
        return other if other is not None and other.nt != enter.nt else None
