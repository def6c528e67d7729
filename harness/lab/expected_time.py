# SPDX-License-Identifier: MIT
"""The expected time of a cell: by its point's runs of this nightly run, else by earlier ones, else by its guest and
its plan."""

from __future__ import annotations

from collections.abc import Mapping

from harness.lab.matrix import Cell, Matrix
from harness.lab.nightly_state import CellOutcome
from harness.run.options import is_process

BEGIN_S = {"process": 5.0, "twin": 60.0, "other": 600.0}
"""Seconds until a guest without known runs is ready: a process, the twin under TCG, and any other guest."""

OPERATION_S = 10.0
"""Seconds for one operation of a plan without known runs."""


class ExpectedTime:
    """The seconds that cells of ``matrix`` are expected to take. ``costs`` are the seconds of earlier runs, by
    point."""

    def __init__(self, matrix: Matrix, costs: Mapping[str, float] = {}) -> None:
        self._matrix = matrix
        self._costs = costs
        self._cells = {cell.id: cell for cell in matrix.cells}
        self._took: dict[str, tuple[float, int]] = {}
        self._guesses: dict[str, float] = {}

    @property
    def known(self) -> bool:
        """Whether any run is known, of this nightly run or of an earlier one."""
        return bool(self._took or self._costs)

    def note(self, outcome: CellOutcome) -> None:
        """Note what a cell took. A skipped cell took nothing."""
        cell = self._cells.get(outcome.cell)
        if cell is not None and outcome.state == "done":
            seconds, times = self._took.get(cell.point, (0.0, 0))
            self._took[cell.point] = seconds + outcome.seconds, times + 1

    def of(self, cell: Cell) -> float:
        """Return the seconds that a cell is expected to take."""
        if cell.point in self._took:
            seconds, times = self._took[cell.point]
            return seconds / times
        if cell.point in self._costs:
            return self._costs[cell.point]
        if cell.point not in self._guesses:
            self._guesses[cell.point] = self._guess(cell)
        return self._guesses[cell.point]

    def _guess(self, cell: Cell) -> float:
        """Return an estimate from the plan itself: its guest's start, and its operations."""
        begin = "process" if is_process(cell.guest) else cell.guest if cell.guest in BEGIN_S else "other"
        return BEGIN_S[begin] + OPERATION_S * len(self._matrix.requests[cell.point].plan.do)
