# SPDX-License-Identifier: MIT
"""What the documents leave open, as runs showed it: values, how often, and how two sets of runs differ.

Two sets are, for instance, the same plans on two builds of Windows. A difference is a value that one set shows and the
other never does, or a share that differs; how much that means is for the reader to say, so the counts are always given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from harness.contract.catalogue import find
from harness.contract.verdict import RunVerdict


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One open question on which two sets of runs differ. Values map to how often each was seen."""

    rule: str
    question: str
    first: dict[str, int]
    second: dict[str, int]
    only_first: list[str]
    only_second: list[str]

    @property
    def new(self) -> bool:
        """True if a value appears in one set only; otherwise only the shares differ."""
        return bool(self.only_first or self.only_second)


def collect(verdicts: Iterable[RunVerdict]) -> dict[str, Counter[str]]:
    """Return, for every rule that observes, how often each value was seen over all runs.

    Observations of a form this version does not know are left out.
    """
    seen: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        for rule, values in verdict.observations.items():
            if isinstance(values, dict):
                counter = seen.setdefault(rule, Counter())
                counter.update(
                    {str(value): times for value, times in values.items() if isinstance(times, int)}
                )
    return seen


def diff(first: Iterable[RunVerdict], second: Iterable[RunVerdict]) -> list[Difference]:
    """Return where two sets of runs differ, new values first, then different shares; rules unseen in both are left out."""
    one, other = collect(first), collect(second)
    found = []
    for rule in sorted(one.keys() | other.keys()):
        before, after = one.get(rule, Counter()), other.get(rule, Counter())
        if _shares(before) == _shares(after):
            continue
        known = find(rule)
        found.append(
            Difference(
                rule=rule,
                question=known.says if known is not None else "",
                first=dict(before.most_common()),
                second=dict(after.most_common()),
                only_first=sorted(before.keys() - after.keys()),
                only_second=sorted(after.keys() - before.keys()),
            )
        )
    return sorted(found, key=lambda difference: not difference.new)


def _shares(counter: Counter[str]) -> dict[str, float]:
    total = counter.total()
    return {value: times / total for value, times in counter.items()} if total else {}
