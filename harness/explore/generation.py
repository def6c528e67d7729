# SPDX-License-Identifier: MIT
"""Generated operations: Hypothesis strategies whose every example is a legal plan.

These are strategies of whole plans instead of a ``RuleBasedStateMachine``. A state machine executes each step as it
draws it, in one process. Here a plan is complete before its guest starts. Many guests therefore run at once, each from
the ready snapshot, and the plan is a file with a seed. Hypothesis' own shrinking needs a test that fails every time.
:mod:`harness.explore.shrinking` also shrinks a flaky failure.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.explore.legality import Legality, OperationSequence
from harness.explore.loaded_constants import leave_out_constants
from harness.explore.vocabulary import vocabulary
from harness.package import missing_extra
from harness.run import operation as op

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

LONGEST = 8
"""The most operations of a plan, without those that its end needs."""
ADDS = (op.AddCpu, op.AddDimm)
KINDS = 3
"""The most kinds of operations in one draw, besides the hot-adds."""
FURTHER = 3
"""The most operations that are added to the beginning of a plan of the corpus."""


def load_hypothesis() -> Any:
    """Return the module ``hypothesis``. Raises MissingPart, which names the extra."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import hypothesis
            import hypothesis.strategies
    except ImportError as error:
        raise missing_extra("exploring needs Hypothesis, which is not installed", "explore") from error
    return hypothesis


@cache
def single_operations(guest: str) -> dict[type[op.Operation], SearchStrategy[op.Operation]]:
    """Return the strategy of one operation of each kind for ``guest``, legal or not. Raises MissingPart without the
    extra.
    """
    st = load_hypothesis().strategies
    return {
        kind: st.builds(kind, **{field: st.sampled_from(values) for field, values in choices.items()})
        for kind, choices in vocabulary(guest).items()
    }


@cache
def _one_of(guest: str, *kinds: type[op.Operation]) -> SearchStrategy[op.Operation]:
    """Return the strategy of a hot-add or of one operation of ``kinds``. To make a strategy costs as much as to draw from it."""
    single = single_operations(guest)
    found: SearchStrategy[op.Operation] = load_hypothesis().strategies.one_of(
        *(single[kind] for kind in (*ADDS, *kinds))
    )
    return found


def plans(
    legality: Legality, guest: str, corpus: Sequence[OperationSequence], *, longest: int = LONGEST
) -> SearchStrategy[OperationSequence]:
    """Return the strategy of legal plans: new ones, and continuations of the beginnings of those in ``corpus``.

    What is drawn for one plan is of few kinds (Groce et al., Swarm Testing, ISSTA 2012): the hot-adds, which every
    notification follows, and at most :data:`KINDS` others. With all kinds in each plan, a given order of some of them is
    rare.
    """
    hypothesis = load_hypothesis()
    st = hypothesis.strategies
    single = single_operations(guest)
    others = [kind for kind in single if kind not in ADDS]
    beginnings = [(), *corpus]

    @st.composite  # type: ignore[untyped-decorator,unused-ignore]
    def drawn(draw: Any) -> OperationSequence:
        known = draw(st.sampled_from(beginnings))
        operations: OperationSequence = known[: draw(st.integers(0, len(known)))] if known else ()
        more = draw(st.integers(1, FURTHER if operations else longest))
        count = draw(st.integers(1, KINDS))
        kinds = draw(st.lists(st.sampled_from(others), min_size=count, max_size=count, unique=True))
        one = _one_of(guest, *kinds)
        for _ in range(2 * more):
            if len(operations) >= longest or not more:
                break
            extended = legality.settled([*operations, draw(one)])
            if extended is not None:
                operations, more = extended, more - 1
        whole = legality.completed(operations) or ()
        hypothesis.assume(bool(whole))
        return whole

    found: SearchStrategy[OperationSequence] = drawn()
    return found


def generate(
    strategy: SearchStrategy[OperationSequence], *, seed: int, count: int
) -> list[OperationSequence]:
    """Return about ``count`` examples of a strategy, the same for the same seed. No file is read or written."""
    hypothesis = load_hypothesis()
    found: list[OperationSequence] = []

    def take(operations: OperationSequence) -> None:
        found.append(operations)

    settings = hypothesis.settings(
        max_examples=count,
        phases=[hypothesis.Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    undo = leave_out_constants()
    try:
        hypothesis.seed(seed)(settings(hypothesis.given(strategy)(take)))()
    finally:
        undo()
    return found
