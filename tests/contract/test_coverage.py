# SPDX-License-Identifier: MIT
"""Coverage over sets of runs, and what two sets show where the documents are silent."""

from __future__ import annotations

from harness.contract.checker import judge
from harness.contract.coverage import coverage
from harness.contract.observe import collect, diff
from harness.contract.trace import trace
from harness.contract.verdict import RunVerdict


def runs(*texts: str) -> list[RunVerdict]:
    return [judge(trace(text)) for text in texts]


def test_coverage_counts_runs() -> None:
    """A rule is armed where its subjects occur, exercised where it judges, and violated where it is broken."""
    rows = {row.rule: row for row in coverage(runs("S2 C2 V", "S2 S2 C2 V", "S2! F2"))}
    twice, failed, memory = rows["SYNC-EXACTLY-TWO"], rows["FAIL-STATUS-ERROR"], rows["MEM-NO-SYNC"]
    assert [(3, 3, 3, 1), (3, 3, 1, 0), (3, 3, 0, 0)] == [
        (row.runs, row.armed, row.exercised, row.violated) for row in (twice, failed, memory)
    ]
    assert [False, False, True] == [row.idle for row in (twice, failed, memory)]


def test_a_driver_that_never_registered_arms_nothing_synchronous() -> None:
    """Without a synchronous callback no rule on one is armed."""
    rows = {row.rule: row for row in coverage(runs("async1 Q"))}
    assert [0, 1] == [rows["SYNC-IRQL-PASSIVE"].armed, rows["COUNT-MONOTONIC"].armed]


def test_coverage_of_no_run_is_empty_rows() -> None:
    """Without a run every rule is idle."""
    assert all(row.idle and row.runs == 0 for row in coverage([]))


def test_observations_add_up() -> None:
    """Values are counted over all runs of a set."""
    seen = collect(runs("S2 C2 V", "S2 V C2", "S2 C2 V"))
    assert {"after": 2, "before": 1} == seen["ASYNC-AFTER-COMPLETE"]


def test_a_difference_names_what_only_one_set_shows() -> None:
    """Two sets that differ in one open question differ in that one, new values first."""
    found = diff(runs("S2! F2"), runs("S2!"))
    by_rule = {difference.rule: difference for difference in found}
    veto = by_rule["VETO-SELF-FAILURE"]
    assert (["yes"], ["no"], True) == (veto.only_first, veto.only_second, found[0].new)


def test_equal_shares_are_no_difference() -> None:
    """Twice as many runs that show the same differ in nothing."""
    assert [] == diff(runs("S2 C2 V"), runs("S2 C2 V", "S2 C2 V"))
