# SPDX-License-Identifier: MIT
"""What a cell is expected to take: the nearest runs tell, and without any its guest and its plan."""

from __future__ import annotations

from pathlib import Path

from harness.lab.expected_time import BEGIN_S, OPERATION_S, ExpectedTime
from harness.lab.matrix import decode_matrix
from harness.lab.nightly_state import CellOutcome
from harness.run.plan import find_plan

MATRIX = decode_matrix(
    'repeat = 2\n[[guest]]\nname = "host"\n[[plan]]\nplan = "veto"\n[[plan]]\nplan = "reset"\n',
    name="x",
    base=Path(),
)
VETO, RESET = (next(cell for cell in MATRIX.cells if cell.plan == plan) for plan in ("veto", "reset"))


def done(cell: str, seconds: float, state: str = "done") -> CellOutcome:
    """A cell that is over."""
    return CellOutcome(cell=cell, state=state, seconds=seconds)  # type: ignore[arg-type]


def test_the_nearest_runs_tell() -> None:
    """Tonight's of the point on average, else earlier nights', else the plan; skipped cells tell nothing."""
    expected = ExpectedTime(MATRIX, {VETO.point: 40.0})
    guess = BEGIN_S["process"] + OPERATION_S * len(find_plan("reset").do)
    before = [expected.of(VETO), expected.of(RESET), expected.known]
    expected.note(done(f"{VETO.point}.1", 10.0))
    expected.note(done(f"{VETO.point}.2", 30.0))
    expected.note(done(f"{RESET.point}.1", 0.0, "skipped"))
    expected.note(done("of.another.matrix.x.1", 1.0))
    assert ([40.0, guess, True], 20.0, guess) == (before, expected.of(VETO), expected.of(RESET))


def test_nothing_is_known_at_first() -> None:
    """A guess is no knowledge: no end is foretold from it."""
    expected = ExpectedTime(MATRIX)
    assert [False, True] == [expected.known, expected.of(VETO) > 0]
