# SPDX-License-Identifier: MIT
"""The document of many runs: points by repetitions, what flips, what broke where, and what is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report.page.test_document import NEWEST, strings

from harness.contract.coverage import coverage
from harness.contract.verdict import Judged
from harness.errors import ExitCode
from harness.report.escape import printable
from harness.report.page import run_set
from harness.report.page.run_set import RunSetDocument
from harness.run.judging import judge_run


def told(runs: list[tuple[Judged, str, int, str]]) -> dict[str, Any]:
    """Return the document of runs, each with its point, its repetition and its link."""
    document = RunSetDocument("night")
    for run, point, repetition, link in runs:
        document.add(run, point=point, repetition=repetition, link=link)
    return document.document(coverage(run.verdict for run, *_ in runs if run.verdict is not None))


GOOD = judge_run(NEWEST / "twin-demo")
BAD = judge_run(NEWEST / "twin-violated")


def test_points_by_repetitions_with_the_way_to_each_report() -> None:
    """A repetition that is not given is the next one."""
    found = told([(GOOD, "twin a", 0, "./1.html"), (BAD, "twin b", 3, "./2.html"), (GOOD, "twin a", 0, "")])
    assert [
        ("twin a", False, [(1, "holds", "./1.html"), (2, "holds", "")]),
        ("twin b", False, [(3, "violated", "./2.html")]),
    ] == [
        (
            one["name"],
            one["flips"],
            [(cell["repetition"], cell["word"], cell["link"]) for cell in one["cells"]],
        )
        for one in found["points"]
    ]
    assert ["violated", "2 hold, 1 violated", 3] == [found["verdict"], found["sentence"], found["runs"]]
    assert "Runs of twin say nothing about Windows itself." == found["worth"]


def test_what_came_to_different_ends_flips_and_the_rules_that_did_are_named() -> None:
    """A rule that was broken in some runs of a point and kept in others."""
    found = told([(GOOD, "p", 0, ""), (BAD, "p", 0, "./bad.html"), (GOOD, "p", 0, ""), (GOOD, "q", 0, "")])
    (flip,) = found["flips"]
    assert ["p", [["holds", 2], ["violated", 1]]] == [flip["point"], flip["counts"]]
    assert {"rule": "SYNC-EXACTLY-TWO", "violated": 1, "kept": 2} in flip["rules"]
    broken = {one["rule"]: one["runs"] for one in found["broken"]}
    assert BAD.verdict is not None
    assert [[BAD.verdict.run, "./bad.html"]] == broken["SYNC-EXACTLY-TWO"]


def test_coverage_counts_the_runs_of_each_rule() -> None:
    """In how many it was put to the test, and in how many it broke."""
    rows = {row["rule"]: row for row in told([(GOOD, "p", 0, ""), (BAD, "p", 0, "")])["coverage"]}
    row = rows["SYNC-EXACTLY-TWO"]
    assert [2, 1, True] == [row["exercised"], row["violated"], "exactly two times" in row["says"]]
    assert 0 == rows["EDITION-ADDS"]["exercised"]


def test_what_cannot_be_read_and_what_is_missing_are_cells_too() -> None:
    """An unreadable run is worse than none that was judged; a planned one that left nothing flips nothing."""
    document = RunSetDocument("night")
    document.add(GOOD, point="p")
    document.miss("p", 2, "infrastructure")
    assert [] == document.document([])["flips"]
    assert "missing" == document.document([])["verdict"]
    gone = Judged(path=Path("gone\x1b"), exit_code=ExitCode.USAGE, error="gone\x1b: it is\nnot there")
    document.add(gone, point="p", repetition=3)
    found = document.document([])
    assert ["unreadable", "missing", "holds"] == [cell["word"] for cell in found["points"][0]["cells"]][::-1]
    assert "unreadable" == found["verdict"]
    assert [] == [text for text in strings(found) if text != printable(text, len(text))]


def test_no_runs_prove_nothing() -> None:
    """An empty set never looks green."""
    found = told([])
    assert ["unknown", "no runs"] == [found["verdict"], found["sentence"]]


def test_more_runs_than_a_page_shows_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts and the verdict are of all of them."""
    monkeypatch.setattr(run_set, "MOST_RUNS", 2)
    found = told([(GOOD, "p", 0, "")] * 4 + [(BAD, "p", 0, "")])
    assert [5, 3, "violated", 2] == [
        found["runs"],
        found["left_out"],
        found["verdict"],
        len(found["points"][0]["cells"]),
    ]
