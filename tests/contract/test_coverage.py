# SPDX-License-Identifier: MIT
"""Coverage over sets of runs, and what two sets show where the documents are silent."""

from __future__ import annotations

from harness.contract.checker import judge
from harness.contract.coverage import coverage
from harness.contract.notation import trace
from harness.contract.observe import collect, question
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


def test_what_is_found_in_different_states_is_counted_apart() -> None:
    """Start, Complete and Failure each have their own distribution, so that shares compare like with like."""
    seen = collect(runs("S2 C2 V", "S2! F2"))
    names = ("STATUS-NONFAIL/Start", "STATUS-NONFAIL/Complete", "OPSTATUS-IN/Failure")
    assert [{"0x0": 6}, {"0x0": 5}, {"0x0": 1}] == [seen[name] for name in names]
    thread = "on processor 0, the same thread"
    assert [{thread: 1}, {thread: 1}] == [seen[f"SYNC-CPU-THREAD/{end}"] for end in ("Complete", "Failure")]
    assert not {"STATUS-NONFAIL", "OPSTATUS-IN", "SYNC-CPU-THREAD"} & seen.keys()


def test_a_question_is_asked_of_its_part() -> None:
    """The part stands before the words of the rule; a name that means no rule stands for itself."""
    assert [
        "Start: which value has Status in Start and Complete?",
        "Do attempts of different processors overlap?",
        "X/y",
    ] == [question(name) for name in ("STATUS-NONFAIL/Start", "SERIAL-ADDS", "X/y")]
