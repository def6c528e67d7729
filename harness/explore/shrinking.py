# SPDX-License-Identifier: MIT
"""Shrinking: a smaller plan with the same signature, first with fewer operations, then with simpler arguments, then in another
order.

Operations are removed by ddmin (A. Zeller and R. Hildebrandt, Simplifying and Isolating Failure-Inducing Input, IEEE
Transactions on Software Engineering 28, 2002). What ddmin leaves keeps its order: a processor and a DIMM that a paused guest saw at
once cannot lose the pause if the fault needs the DIMM first. So two neighbours are exchanged where that makes the plan shorter. A step is taken only if a run of the smaller plan showed the signature.
A flaky failure is run often enough that a right step is missed with a probability of at most :data:`MISSED`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

from harness.explore.legality import Legality, OperationSequence, simpler
from harness.interval import Rate

MISSED = 0.05
"""The highest probability that a right step is missed."""

MOST_TRIES = 40
"""The most runs of one candidate."""

FirstReproducing = Callable[[Sequence[OperationSequence], int], int | None]
"""Runs candidates, each up to a number of times. Returns the index of the first that shows the signature, None if none
does."""


def tries_for(rate: Rate) -> int:
    """Return the number of runs of a candidate: 1 if the signature was shown every time."""
    if rate.seen == rate.of:
        return 1
    likely = max(rate.rate, 1 / MOST_TRIES)
    return min(MOST_TRIES, max(2, math.ceil(math.log(MISSED) / math.log(1 - likely))))


@dataclasses.dataclass(eq=False)
class Shrinking:
    """Shrinks ``operations``. ``smallest`` is the smallest plan so far. ``taken`` is called with each one."""

    smallest: OperationSequence
    legality: Legality
    first: FirstReproducing
    _: dataclasses.KW_ONLY
    tries: int = 1
    taken: Callable[[OperationSequence], None] = lambda _: None

    def __post_init__(self) -> None:
        self._seen = {self.smallest}

    def shrink(self) -> OperationSequence:
        """Return the smallest plan: no run without one of its operations, with a simpler argument, or without an operation and
        with two neighbours exchanged showed the signature."""
        while True:
            before = self.smallest
            self._fewer()
            self._simpler()
            if self.smallest == before and not self._exchanged():
                return before

    def _fewer(self) -> None:
        parts = 2
        while len(self.smallest) > 1:
            operations = self.smallest
            parts = min(parts, len(operations))
            bounds = [round(index * len(operations) / parts) for index in range(parts + 1)]
            pieces = [operations[low:high] for low, high in itertools.pairwise(bounds)]
            rests = [operations[:low] + operations[high:] for low, high in itertools.pairwise(bounds)]
            at = self._one_of([*(pieces if parts > 2 else []), *rests])
            if at:
                parts = 2 if len(at) * parts <= len(operations) else max(parts - 1, 2)
            elif parts == len(operations):
                return
            else:
                parts *= 2

    def _simpler(self) -> None:
        while True:
            operations = self.smallest
            candidates = [
                (*operations[:place], other, *operations[place + 1 :])
                for place, operation in enumerate(operations)
                for other in simpler(operation)
            ]
            if not self._one_of(candidates):
                return

    def _exchanged(self) -> bool:
        """Exchange two neighbours, and leave one operation out. Return whether that showed the signature."""
        operations = self.smallest
        places = range(len(operations) - 1)
        orders = [
            (*operations[:at], operations[at + 1], operations[at], *operations[at + 2 :]) for at in places
        ]
        rests = [order[:out] + order[out + 1 :] for order in orders for out in range(len(order))]
        return self._one_of(rests, shorter=True) is not None

    def _one_of(
        self, candidates: Sequence[OperationSequence], *, shorter: bool = False
    ) -> OperationSequence | None:
        """Take the first candidate that is legal and reproduces. Return it, None if there is none.

        With ``shorter`` it has fewer operations, and the shortest is the first.
        """
        new: list[OperationSequence] = []
        most = len(self.smallest) - shorter
        for candidate in candidates:
            legal = self.legality.repaired(candidate)
            if legal is not None and len(legal) <= most and legal not in self._seen and legal not in new:
                new.append(legal)
        if shorter:
            new.sort(key=len)
        at = self.first(new, self.tries) if new else None
        # Candidates after the first that reproduces may reproduce too.
        self._seen.update(new[:at])
        if at is None:
            return None
        self._seen.add(new[at])
        self.smallest = new[at]
        self.taken(self.smallest)
        return self.smallest
