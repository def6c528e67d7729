# SPDX-License-Identifier: MIT
"""The open questions about Windows that an acceptance answers from the observations of its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from harness.acceptance.result import CaseOutcome, CaseResult
from harness.history.reader import History
from harness.history.record import Agreement, Channel, Count
from harness.report.observations import RunSet

UNANSWERED = "not answered by these cases"


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A question and its answer; ``answer`` is :data:`UNANSWERED` if nothing was seen."""

    question: str
    answer: str


class _Seen:
    """What the histories of all cases contain about the questions."""

    def __init__(self, directories: Iterable[Path]) -> None:
        self.ost: dict[str, Counter[str]] = {}
        self.channels: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()
        for directory in directories:
            self._read(directory)

    def _read(self, directory: Path) -> None:
        for record in History(directory):
            match record:
                case Agreement(attempt=attempt, expected=word, ost=ost):
                    expected = "unplug" if attempt.startswith("unplug-") else word
                    values = ", ".join(f"({source:#x}, {status:#x})" for source, status in ost) or "none"
                    self.ost.setdefault(expected, Counter())[values] += 1
                case Channel(name=name, records=count):
                    self.channels[name] += count
                case Count(processors=processors, why="baseline"):
                    self.counted[f"{processors}"] += 1
                case _:
                    pass

    def said(self, expected: str) -> str:
        """Return the firmware's answers to adds of one expected outcome."""
        found = self.ost.get(expected, Counter())
        return ", ".join(f"{value} ({times}x)" for value, times in found.most_common(5)) or UNANSWERED


def questions(results: Sequence[CaseResult], observed: RunSet) -> list[Question]:
    """Return every question with its answer. ``observed`` are the observations of the same runs."""
    seen = _Seen(Path(one.directory) for one in results if one.directory)
    by_number = {one.number: one for one in results}
    return [
        _of("Does this edition take processors while it runs (X8, U26)?", _observed(observed, "EDITION-ADDS")),
        _of("Which _OST (event, status) does the guest give to an added processor or DIMM?", seen.said("added")),
        _of("Which _OST does it give to a processor that the driver vetoed?", seen.said("vetoed")),
        _of("Does the vetoing callback get its own Failure?", _observed(observed, "VETO-SELF-FAILURE")),
        _of("Do later callbacks still get Start after a veto?", _observed(observed, "VETO-LATER-STARTS")),
        _of("On which processor does Complete run?", _observed(observed, "SYNC-CPU-THREAD/Complete")),
        _of("Does an arrival come before Complete, and how often?", _observed(observed, "ASYNC-AFTER-COMPLETE")),
        _of("Does the debug port survive the hand-over from the firmware?", _channel(seen, "debugcon")),
        _of("Does the guest talk to a kernel debugger that only listens?", _channel(seen, "dbgprint")),
        _of("How many processors does it count with one core per socket?", _counts(seen)),
        _of("Does a DIMM on node 1 arrive?", _case(by_number.get(26))),
        _of("Does it keep a processor that it is asked to give back?", _case(by_number.get(17))),
        _of("Which _OST does it give to a request to give a device back?", seen.said("unplug")),
        _of("Is a device that was asked to stop really stopped?", _observed(observed, "REBAL-NO-RESOURCES")),
    ]  # fmt: skip


def _of(question: str, answer: str) -> Question:
    return Question(question=question, answer=answer)


def _observed(observed: RunSet, rule: str) -> str:
    values = observed.answer(rule).values
    return ", ".join(f"{value} ({seen.times}x)" for value, seen in list(values.items())[:5]) or UNANSWERED


def _channel(seen: _Seen, name: str) -> str:
    if name not in seen.channels:
        return UNANSWERED
    return f"{seen.channels[name]} records came on it"


def _counts(seen: _Seen) -> str:
    return ", ".join(f"{count} ({times}x)" for count, times in sorted(seen.counted.items())) or UNANSWERED


def _case(result: CaseResult | None) -> str:
    if result is None or result.outcome is CaseOutcome.SKIPPED:
        return UNANSWERED
    return f"case {result.number} {result.outcome.value}" + (f": {result.why[0]}" if result.why else "")
