# SPDX-License-Identifier: MIT
"""Where records stand on the time axis of the picture, which is the host's clock.

A record of the host stands where it was made. A driver's record has the guest's counter. The counter gives the distance
between two records, and not their place on the host's clock. All records of a stretch are therefore moved together, so far
that none stands later than it was received. This places them and orders nothing: :mod:`harness.contract.order` has what is
known of an order. A stretch ends where the guest boots, stops, resumes or moves to another process, because its counter
need not have counted meanwhile. A counter whose rate is unknown places nothing.
"""

from __future__ import annotations

from harness.history import driver as d
from harness.history import record as r

FASTEST = 1 << 40
"""Hz of the fastest counter that is believed."""

LATEST = 1 << 62
"""Nanoseconds, and ticks, beyond which a time is not believed."""

PAUSES = ("STOP", "RESUME", "SUSPEND", "WAKEUP")
"""QMP events around which a guest's counter need not have counted (QEMU: qapi/run-state.json).

Not a set: what stands where an event's name should be may be anything, also what has no hash.
"""


class _Stretches:
    """Counts stretches while records go by."""

    def __init__(self) -> None:
        self._number = 0

    def of(self, record: r.Record) -> int:
        """Return the number of the stretch that a record is in; call it with each record in file order."""
        if isinstance(record, r.Boot | r.Migration) or (
            isinstance(record, r.Qmp) and record.message.get("event") in PAUSES
        ):
            self._number += 1
        return self._number


class Placement:
    """Learns from all records in one pass (:meth:`learn`), and places them in a second one (:meth:`place`)."""

    def __init__(self) -> None:
        self._rates: dict[str, int] = {}
        self._shifts: dict[tuple[str, int], int] = {}
        self._first, self._second = _Stretches(), _Stretches()

    def learn(self, record: r.Record) -> None:
        """Take a record."""
        stretch = self._first.of(record)
        if isinstance(record, d.Hello):
            self._rates.setdefault(record.boot, record.hz)
        elif isinstance(record, r.Clock) and record.domain.startswith("qpc/"):
            self._rates.setdefault(record.domain.removeprefix("qpc/"), record.hz)
        if isinstance(record, d.DriverRecord) and (after := self.nanoseconds(record)) is not None:
            at = record.boot, stretch
            shift = record.host_ns - after
            self._shifts[at] = min(self._shifts.get(at, shift), shift)

    def place(self, record: r.Record) -> int:
        """Return where a record stands, in nanoseconds of the host's clock; call it with each record in file order."""
        stretch = self._second.of(record)
        received = min(max(0, record.host_ns), LATEST)
        if not isinstance(record, d.DriverRecord) or (after := self.nanoseconds(record)) is None:
            return received
        shift = self._shifts.get((record.boot, stretch))
        return received if shift is None else min(received, max(0, after + shift))

    def nanoseconds(self, record: d.DriverRecord) -> int | None:
        """Return a record's counter in nanoseconds since the counter's start, None if its rate is not known."""
        hz = self._rates.get(record.boot, 0)
        if not 0 < hz < FASTEST or not 0 <= record.qpc < LATEST:
            return None
        return record.qpc * 1_000_000_000 // hz
