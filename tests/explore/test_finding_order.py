# SPDX-License-Identifier: MIT
"""What an exploration makes of the order in which its trials end: none is lost, and none without a result is taken for one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import msgspec
import pytest

from harness.errors import InfrastructureError
from harness.explore import exploration
from harness.explore.exploration import MOST_FAILURES, Exploration
from harness.explore.finding import ExploredFinding, known_findings
from harness.explore.legality import OperationSequence
from harness.explore.trial import Trial
from harness.run import operation as op
from harness.run.options import RunOptions

Outcome = Callable[[OperationSequence], Trial]


class InstantPool:
    """Gives each plan its outcome at once; all plans that were submitted end together, the newest first."""

    outcome: Outcome

    def __init__(self, *_: object, **__: object) -> None:
        self._waiting: deque[tuple[int, OperationSequence]] = deque()
        self._ticket = 0
        self.usual_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing runs."""

    @property
    def busy(self) -> int:
        """How many plans have not been asked for."""
        return len(self._waiting)

    def submit(self, operations: OperationSequence, *, seed: int = 0) -> int:
        """Take a plan."""
        self._ticket += 1
        self._waiting.append((self._ticket, operations))
        return self._ticket

    def forget_waiting(self) -> set[int]:
        """Nothing waits: all have begun."""
        return set()

    def results(self, seconds: float) -> list[tuple[int, Trial]]:
        """Return all."""
        found = [(ticket, type(self).outcome(operations)) for ticket, operations in reversed(self._waiting)]
        self._waiting.clear()
        return found


def has(operations: OperationSequence, *kinds: type) -> bool:
    """Tell whether a plan has operations of all these kinds."""
    return all(any(isinstance(one, kind) for one in operations) for kind in kinds)


@pytest.fixture
def explore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Exploration]:
    """A function that makes an exploration whose plans have such outcomes."""

    def make(outcome: Outcome, *, most: int = 40, seconds: float = 600, **more: bool) -> Exploration:
        monkeypatch.setattr(
            exploration, "TrialPool", type("Pool", (InstantPool,), {"outcome": staticmethod(outcome)})
        )
        options = RunOptions(guest="host")
        return Exploration(
            options, tmp_path / "into", cache=tmp_path, seconds=seconds, most=most, jobs=8, **more  # type: ignore[arg-type]
        )  # fmt: skip

    return make


def two(operations: OperationSequence) -> Trial:
    """A processor finds one thing, a DIMM without one another."""
    signature = (
        "guest: a" if has(operations, op.AddCpu) else "guest: b" if has(operations, op.AddDimm) else ""
    )
    return Trial(operations=operations, signature=signature, orders=frozenset({repr(operations[0])}))


def kinds(findings: list[ExploredFinding]) -> dict[str, tuple[list[str], bool]]:
    """Return the operations of each finding, and whether it was shrunk."""
    return {one.signature: ([each["op"] for each in one.operations], one.shrunk) for one in findings}


def test_two_that_end_together(explore: Callable[..., Exploration]) -> None:
    """Going on, both are shrunk, and every plan is counted once."""
    report = explore(two, going_on=True).perform()
    assert kinds(report.findings) == {"guest: a": (["add-cpu"], True), "guest: b": (["add-dimm"], True)}
    assert (report.plans, report.ended) == (40, "plans")


def test_the_other_is_kept_as_it_is(explore: Callable[..., Exploration]) -> None:
    """Ending at the first, the other is kept without being shrunk, and the next exploration shrinks it."""
    one = explore(two)
    first = one.perform()
    found = kinds(first.findings)
    assert (first.ended, sorted(found)) == ("found", ["guest: a", "guest: b"])
    assert [done for _, done in found.values()] == [True, False]
    assert len(one.corpus.plans) > 1
    shrunk, left = (finding.signature for finding in first.findings)
    second = explore(two).perform()
    assert {name: done for name, (_, done) in kinds(second.findings).items()} == {left: True}
    assert [*second.known] == [shrunk]


def test_no_result_while_shrinking(explore: Callable[..., Exploration], tmp_path: Path) -> None:
    """The exploration ends with the reason; nobody says of the plan that it is the smallest."""
    found: list[OperationSequence] = []

    def outcome(operations: OperationSequence) -> Trial:
        if found and operations != found[0]:
            return Trial(operations=operations, failed=True, reason="the disk is full")
        if not found and len(operations) > 3:
            found.append(operations)
        return Trial(operations=operations, signature="guest: a" if found else "")

    with pytest.raises(
        InfrastructureError, match=rf"{MOST_FAILURES} plans in a row had no result: the disk is full"
    ):
        explore(outcome).perform()
    (finding,) = known_findings(tmp_path / "into")
    assert (finding.shrunk, len(finding.operations)) == (False, len(found[0]))


def test_time_that_is_over_while_shrinking(
    explore: Callable[..., Exploration], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strictly, shrinking ends with the time; else it goes on to its end."""
    moments: list[float] = []
    monkeypatch.setattr(exploration, "time", SimpleNamespace(monotonic=lambda: moments[-1]))
    for strict in (True, False):
        moments[:] = [0.0]

        def outcome(operations: OperationSequence, name: str = f"guest: {strict}") -> Trial:
            moments.append(1000.0)
            return Trial(operations=operations, signature=name)

        one = explore(outcome, seconds=600, strict=strict)
        report = one.perform()
        assert [finding.shrunk for finding in report.findings] == [not strict]


def test_a_plan_is_executed_once(explore: Callable[..., Exploration]) -> None:
    """No plan is tried twice, and what is remembered of it is small."""
    tried: list[OperationSequence] = []

    def outcome(operations: OperationSequence) -> Trial:
        tried.append(operations)
        return Trial(operations=operations)

    report = explore(outcome, most=100).perform()
    assert (report.plans, len(set(tried))) == (100, 100)
    assert msgspec.json.encode(report)
