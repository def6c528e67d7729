# SPDX-License-Identifier: MIT
"""Which records of a long history a report keeps: all that the verdict needs, and as many others as a page can show.

The records around those that findings name are always kept. Then come the host's records. Of the rest every n-th is kept,
a callback's entry together with its return. What is left out is counted by kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.history import driver as d
from harness.history import record as r

LIMIT = 150_000
"""Records of the largest report: a page of some megabytes, which a browser opens without delay."""

AROUND = 200
"""Records kept before and after each one that a finding names."""

EXITS = (d.SyncExit, d.AsyncExit, d.CallExit, d.PnpExit)


class KeptRecords:
    """Counts all records in one pass (:meth:`count`). Decides in a second pass which are kept (:meth:`keeps`)."""

    def __init__(self, named: Iterable[int], *, limit: int = LIMIT) -> None:
        self._near = {number for one in named for number in range(one - AROUND, one + AROUND + 1)}
        self._limit = limit
        self._total = self._host = self._others = 0
        self._steps: tuple[int, int] | None = None
        self._seen = [0, 0]
        self._entered: set[tuple[str, str, int]] = set()
        self.left_out: Counter[str] = Counter()

    def count(self, record: r.Record) -> None:
        """Count a record."""
        self._total += 1
        if record.n not in self._near:
            if _of_host(record):
                self._host += 1
            elif not isinstance(record, EXITS):
                self._others += 1

    @property
    def total(self) -> int:
        """The number of records counted."""
        return self._total

    def keeps(self, record: r.Record) -> bool:
        """Return whether a record is kept; call it with each record in file order, after all were counted."""
        if self._total <= self._limit:
            return True
        kept = self._chosen(record)
        if isinstance(record, d.DriverRecord) and kept and not isinstance(record, EXITS):
            self._entered.add((record.boot, record.driver, record.seq))
        if not kept:
            self.left_out[str(type(record).__struct_config__.tag)] += 1
        return kept

    def _chosen(self, record: r.Record) -> bool:
        if record.n in self._near:
            return True
        if isinstance(record, EXITS):
            return (record.boot, record.driver, record.enter) in self._entered
        if self._steps is None:
            room = max(1, self._limit - len(self._near))
            host = -(-self._host // max(1, room // 2))
            # A callback that is kept brings its return.
            rest = max(1, room - self._host // max(1, host)) // 2
            self._steps = max(1, host), max(1, -(-self._others // max(1, rest)))
        which = 0 if _of_host(record) else 1
        self._seen[which] += 1
        return self._seen[which] % self._steps[which] == 1 % self._steps[which]


def _of_host(record: r.Record) -> bool:
    return not isinstance(record, d.DriverRecord | r.Qmp | r.Console)
