# SPDX-License-Identifier: MIT
"""The new records of a history as lines of the timeline, which are shown above a session's prompt."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from harness.history.absent import ReadableRecords
from harness.history.driver import AsyncEnter, SyncEnter
from harness.history.record import Mapped, Record
from harness.report.timeline import TimelineSelection, zero_of

MOST = 2000
"""The most records that wait to be shown. Further ones are counted. The history has them all."""

NAMES = {0: "start", 1: "complete", 2: "failure"}
ARRIVALS = {"cpu": "cpu-arrival", "memory": "memory-arrival"}


def kinds_of(record: Record) -> set[str]:
    """Return the names of a record at the prompt: its kind, and its name in plans (``wait-for``)."""
    kinds = {str(type(record).__struct_config__.tag)}
    if isinstance(record, SyncEnter) and record.state in NAMES:
        kinds.add(NAMES[record.state])
    if isinstance(record, AsyncEnter) and record.event == "arrival" and record.cls in ARRIVALS:
        kinds.add(ARRIVALS[record.cls])
    return kinds


class RecordTape:
    """Listens to a history. It takes records on any thread and never blocks. One thread calls :meth:`lines`.

    ``zero`` is the ``host_ns`` from which the lines' times are counted (:func:`harness.report.timeline.zero_of`). Before
    the first add there is none: then a line has no time, because every other number would change with that add.
    """

    def __init__(self) -> None:
        self.zero: int | None = None
        self._new: deque[Record] = deque()
        self._mapped: list[Record] = []
        self._selection = TimelineSelection(None)
        self._left_out = 0

    def __call__(self, record: Record) -> None:
        """Take a record."""
        if self.zero is None:
            self.zero = zero_of([record])
        if len(self._new) < MOST:
            self._new.append(record)
        else:
            self._left_out += 1

    def take(self) -> list[Record]:
        """Return the records since the last call."""
        found = []
        while self._new:
            found.append(self._new.popleft())
        self._mapped += (record for record in found if isinstance(record, Mapped))
        return found

    def lines(self, records: Iterable[Record] | None = None) -> list[str]:
        """Return the lines of the records since the last call, or of ``records`` that :meth:`take` returned."""
        taken = self.take() if records is None else list(records)
        if not taken:
            return []
        self._selection.zero = self.zero
        shown = ReadableRecords([*self._mapped, *taken])
        lines = [*self._selection.lines(one for one in shown if not isinstance(one, Mapped))]
        if self._left_out:
            lines.append(f"… {self._left_out} more records arrived meanwhile; 'records' shows the last ones")
            self._left_out = 0
        return lines
