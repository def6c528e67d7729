# SPDX-License-Identifier: MIT
"""What a terminal shows of an exploration while it works: plans, their rate, the time left."""

from __future__ import annotations

import io

import pytest

from harness.cli.exploration_view import ExplorationView, progress_line
from harness.deadline import Deadline
from harness.explore.exploration import ExplorationReport
from harness.explore.finding import ExploredFinding


@pytest.mark.parametrize(
    ("plans", "failed", "elapsed", "shrunk", "line"),
    [
        (0, 0, 0.0, None, "… 0 plans; 39 s left"),
        (1, 0, 2.0, None, "… 1 plan (30 a minute); 37 s left"),
        (60, 2, 30.0, True, "… 60 plans (120 a minute), 2 without a result; 9 s left"),
        (60, 0, 30.0, False, "… 60 plans (120 a minute); shrinking the plan of a finding"),
        (60, 0, 40.0, None, "… 60 plans (90 a minute); waiting for the plans under way"),
    ],
)
def test_progress(plans: int, failed: int, elapsed: float, shrunk: bool | None, line: str) -> None:
    """Of a budget of 39 s."""
    report = ExplorationReport(directory="into", guest="host", seed=0, plans=plans, failed=failed)
    if shrunk is not None:
        report.findings = [ExploredFinding(signature="violated: EXPECT", shrunk=shrunk)]
    assert line == progress_line(report, elapsed, 39.0)


def test_a_terminal_has_a_moving_line() -> None:
    """It is there while the exploration works, and gone at its end."""
    stream = io.StringIO()
    with ExplorationView(39.0, stream, terminal=True) as view:
        view.now(ExplorationReport(directory="into", guest="host", seed=0))
        Deadline(30, "the line").poll(lambda: "… 0 plans; " in stream.getvalue())
    assert stream.getvalue().endswith("\r\x1b[J")


def test_another_stream_gets_no_line_in_the_first_minute() -> None:
    """A log is not filled."""
    stream = io.StringIO()
    with ExplorationView(39.0, stream, terminal=False) as view:
        view.now(ExplorationReport(directory="into", guest="host", seed=0))
    assert stream.getvalue() == ""
