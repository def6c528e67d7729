# SPDX-License-Identifier: MIT
"""What is said of a driver record that shows what is not there: missing records before it, or a boot that it is not of."""

from __future__ import annotations

from harness.contract.explanation import MISSING
from harness.history import driver as d
from harness.report.escape import printable
from harness.report.sentence import sentence

MOST_OPEN = 100_000
"""Calls without a return that are kept at once, at most."""

MOST_ORPHANS = 1_000
"""Returns without an entry that are kept, at most."""

Key = tuple[str, str, int]


class BesideRecords:
    """Takes driver records in file order. Remembers what was entered and not left, and what was left and never entered."""

    def __init__(self) -> None:
        self._open: dict[Key, d.DriverRecord] = {}
        self._orphans: dict[Key, d.DriverRecord] = {}
        self._entered: d.DriverRecord | None = None
        self._last: d.DriverRecord | None = None

    def take(self, record: d.DriverRecord) -> None:
        """Take the next record of a driver."""
        self._last = record
        key = record.boot, record.driver, record.seq
        if isinstance(record, d.SyncEnter | d.AsyncEnter | d.CallEnter | d.PnpEnter):
            self._entered = record
            if len(self._open) < MOST_OPEN:
                self._open[key] = record
        elif isinstance(record, d.SyncExit | d.AsyncExit | d.CallExit | d.PnpExit):
            entry = record.boot, record.driver, record.enter
            if self._open.pop(entry, None) is None and len(self._orphans) < MOST_ORPHANS:
                self._orphans.setdefault(entry, record)

    def last(self) -> list[d.DriverRecord]:
        """Return the last call that was entered and the last record of all, in file order, each once."""
        found = [one for one in (self._entered, self._last) if one is not None]
        return found[:1] if len(found) == 2 and found[0] is found[1] else found

    def said(self, record: d.DriverRecord, text: str) -> str:
        """Return ``text``, which the checker says of ``record``, with what is known besides."""
        if text.startswith(MISSING):
            missing = [
                f"#{seq} was the entry of what returned in #{leave.seq}: {sentence(leave)}"
                for (boot, driver, seq), leave in self._orphans.items()
                if (boot, driver) == (record.boot, record.driver) and seq < record.seq <= leave.seq
            ]
            return "; ".join([" ".join(text.split()), *missing[:2]])
        if f"#{record.seq} of boot" in text:
            return f"{sentence(record)}, of boot {printable(record.boot, 20)}"
        return text
