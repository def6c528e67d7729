# SPDX-License-Identifier: MIT
"""Finds the record that shows each statement of a verdict: the first where a rule held, was broken, or saw a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from harness.contract.checker import Checker, RuleTally
from harness.contract.observe import question_id
from harness.contract.state.merge import Merger
from harness.contract.verdict import Finding, RunVerdict, Verdict
from harness.history.reader import History
from harness.history.record import Record


class ShownVerdict:
    """The verdict on a history, and the numbers of the records that show it.

    ``kept`` has the first record with which each rule held. ``seen`` has the first record of each observed value, by the
    question's name (:func:`harness.contract.observe.question_id`). A result known only at the end has the last record.
    """

    def __init__(self, history: History) -> None:
        self.kept: dict[str, int] = {}
        self.seen: dict[str, dict[str, int]] = {}
        self._checker = Checker()
        self._last = 0
        merger = Merger()
        merger.pour(history, _Passing(self._feed))
        for record in merger.end():
            self._feed(record)
        self.verdict: RunVerdict = self._checker.finish(history.damage)
        self._look()

    def broken(self, rule: str) -> tuple[int, ...]:
        """Return the records that show a violation of ``rule``, also as a consequence of another's; () if there are none."""
        for finding in self.verdict.findings:
            if finding.verdict is Verdict.VIOLATED and _tells(finding, rule):
                return tuple(witness.record for witness in finding.witnesses)
        return ()

    def _feed(self, record: Record) -> None:
        self._checker.feed(record)
        self._last = max(self._last, record.n)
        self._look()

    def _look(self) -> None:
        """Note the outcomes that the last record added."""
        for tally in self._checker.tallies:
            if tally.held and tally.rule.id not in self.kept:
                self.kept[tally.rule.id] = self._last
            if tally.observed:
                for name, value in _values(tally):
                    self.seen.setdefault(name, {}).setdefault(value, self._last)


class _Passing(dict[type, Callable[[Any], None]]):
    """Handlers that pass a record of any kind to one function."""

    def __init__(self, feed: Callable[[Record], None]) -> None:
        super().__init__()
        self._feed = feed

    def __missing__(self, _kind: type) -> Callable[[Any], None]:
        return self._feed


def _values(tally: RuleTally) -> Iterator[tuple[str, str]]:
    for part, counts in tally.observed.items():
        for value in counts:
            yield question_id(tally.rule.id, part), value


def _tells(finding: Finding, rule: str) -> bool:
    return finding.rule == rule or any(line.startswith(f"{rule}: ") for line in finding.consequences)
