# SPDX-License-Identifier: MIT
"""The result of each operation of a run, from its history, one line each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from harness.history.record import Add, Agreement, Expectation, OperationProgress, Record, Removal
from harness.report.escape import printable
from harness.report.sentence import size

State = Literal["well", "badly", "open"]

WELL = {
    "added": "added",
    "vetoed": "vetoed, as expected",
    "refused": "refused, as expected",
    "ignored": "ignored by the guest, as expected",
    "found": "found at boot",
}
"""Outcomes of an add that the plan expects, in words."""

WELL_REMOVED = {
    "gone": "gone",
    "refused": "refused by the guest, as expected",
    "ignored": "ignored by the guest, as expected",
    "kept": "kept by the guest, as expected",
}
"""Outcomes of a request to give a device back that the plan expects, in words."""

MOST_ARGUMENTS = 60


class OperationOutcome(msgspec.Struct, kw_only=True):
    """One operation: its place in the plan from 1, what it is, and its result.

    ``state`` is ``open`` for an operation that began and is not known to have ended.
    """

    index: int
    what: str
    outcome: str = ""
    state: State = "open"

    @property
    def text(self) -> str:
        """One sentence."""
        return f"{self.what}: {self.outcome}" if self.outcome else self.what


class Operations:
    """Takes the records of a run one by one. A ``settle`` that went well is left out: the adds have its result."""

    def __init__(self) -> None:
        self._all: list[OperationOutcome] = []
        self._now: OperationOutcome | None = None
        self._attempts: dict[str, tuple[OperationOutcome, Add | Removal]] = {}
        self._settles: set[int] = set()

    @property
    def outcomes(self) -> list[OperationOutcome]:
        """The operations known so far, in the order in which they began."""
        return [one for one in self._all if not (one.index in self._settles and one.state == "well")]

    def take(self, record: Record) -> None:
        """Take a record. Most kinds say nothing about operations."""
        if isinstance(record, OperationProgress):
            self._progress(record)
        elif isinstance(record, Add):
            self._add(record)
        elif isinstance(record, Removal):
            self._remove(record)
        elif isinstance(record, Agreement):
            self._agree(record)
        elif isinstance(record, Expectation):
            self._expect(record)

    def _progress(self, record: OperationProgress) -> None:
        if record.phase == "begin":
            words = printable(" ".join(_words(record)), MOST_ARGUMENTS)
            self._now = OperationOutcome(index=record.index, what=words)
            self._all.append(self._now)
            if record.name == "settle":
                self._settles.add(record.index)
            return
        now, self._now = self._now, None
        if now is None or now.index != record.index:
            return
        if record.detail.startswith("moved to"):
            # This one ended a migration, which has no other line.
            self._settles.discard(record.index)
        if record.phase == "fail":
            now.state, now.outcome = "badly", printable(record.detail, 400)
        elif now.state == "open" and not any(one is now for one, _ in self._attempts.values()):
            now.state, now.outcome = "well", printable(record.detail, 400)

    def _add(self, record: Add) -> None:
        if record.phase == "begin" and self._now is not None:
            where = f" into slot {printable(record.slot, 20)}" if record.slot else ""
            of = f" of {size(record.bytes)}" if record.bytes else ""
            self._now.what = f"add {printable(record.device, 40)}{of}{where}"
            self._now.outcome = "the result is not known"
            self._attempts[record.attempt] = (self._now, record)
        elif record.phase == "unsure" and (found := self._attempts.get(record.attempt)):
            found[0].outcome = printable(record.detail, 400)

    def _remove(self, record: Removal) -> None:
        if record.phase == "begin" and self._now is not None:
            of = f" of {size(record.bytes)}" if record.bytes else ""
            self._now.what = (
                f"take {printable(record.device, 40)}{of} out of slot {printable(record.slot, 20)}"
            )
            self._now.outcome = "the result is not known"
            self._attempts[record.request] = (self._now, record)
        elif record.phase in ("unsure", "refused") and (found := self._attempts.get(record.request)):
            found[0].outcome = printable(record.detail, 400)

    def _agree(self, record: Agreement) -> None:
        found = self._attempts.pop(record.attempt, None)
        if found is None:
            return
        outcome, add = found
        outcome.state = "well" if record.agreed else "badly"
        if not record.agreed:
            outcome.outcome = f"NOT {record.expected}: {printable(record.detail, 400)}"
            return
        before, after = (
            f"{count} processors" if add.what == "cpu" else size(count)
            for count in (record.counted_before, record.counted_after)
        )
        counted = f"still {before}" if before == after else f"{before} -> {after}"
        words = WELL if isinstance(add, Add) else WELL_REMOVED
        outcome.outcome = f"{words.get(record.expected, printable(record.expected))}, {counted}"

    def _expect(self, record: Expectation) -> None:
        if self._now is None or self._now.index != record.index:
            return
        self._now.state = "well" if record.met else "badly"
        if record.met:
            self._now.what, self._now.outcome = "expect", f"met, {printable(record.demanded, 400)}"
            return
        seen = set(record.seen.split(", "))
        missed = [one for one in record.demanded.split(", ") if one not in seen]
        other = [one for one in record.seen.split(", ") if one not in record.demanded.split(", ")]
        self._now.what = f"expect {printable(', '.join(missed), 200)}"
        self._now.outcome = f"NOT met, seen {printable(', '.join(other), 200)}"


def operations(records: Iterable[Record]) -> list[OperationOutcome]:
    """Return the result of each operation in ``records``."""
    taken = Operations()
    for record in records:
        taken.take(record)
    return taken.outcomes


def _words(record: OperationProgress) -> Iterable[str]:
    yield record.name
    for key, value in record.arguments.items():
        # The detail of the end has the status in its usual form.
        if key not in ("driver", "status", "timeout") or (key == "driver" and value != "hpnotify"):
            yield f"{key}={value}"
