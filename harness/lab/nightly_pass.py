# SPDX-License-Identifier: MIT
"""One pass over the remaining cells of a nightly run: its queue, its results and its expected time, wherever it runs."""

from __future__ import annotations

import abc
import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from harness.errors import ExitCode
from harness.lab.expected_time import ExpectedTime
from harness.lab.matrix import Cell, Matrix
from harness.lab.nightly_state import CellOutcome, NightlyState
from harness.run.failure import BootFailures


class UnderWay(Protocol):
    """A run that is under way, on this host or another. ``words`` are its command, empty on another host."""

    @property
    def cell(self) -> Cell: ...  # noqa: D102
    @property
    def number(self) -> int: ...  # noqa: D102
    @property
    def began(self) -> float: ...  # noqa: D102
    @property
    def words(self) -> list[str]: ...  # noqa: D102


class QueuedCell(msgspec.Struct):
    """A cell that is to run, at its attempt ``number``. ``runs`` are the run directories of the previous attempt.

    It must not go to the hosts ``without``.
    """

    cell: Cell
    number: int = 1
    runs: list[str] = []
    without: list[str] = []


class PassOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a pass runs its cells. ``parallel`` is the number of concurrent runs, of each host of a fleet.

    ``tell`` is called for each cell that ends, ``tick`` twice a second. ``costs`` are the seconds of earlier runs, by
    point. A cell starts only if it is expected to end before ``until``, in seconds since the epoch. ``order`` has all
    cells, in another order than the matrix.
    """

    parallel: int
    tell: Callable[[CellOutcome], None] = lambda _: None
    tick: Callable[[], None] = lambda: None
    costs: Mapping[str, float] = {}
    until: float | None = None
    order: Sequence[Cell] = ()


class NightlyPass(abc.ABC):
    """What a pass on this host and a pass on a fleet have in common.

    ``held`` says why no run can start now, "" if one can. ``ending`` is true while the runs under way are being ended.
    """

    def __init__(self, matrix: Matrix, state: NightlyState, options: PassOptions) -> None:
        self.parallel = options.parallel
        self.held = ""
        self.ending = False
        self.until = options.until
        self.expected = ExpectedTime(matrix, options.costs)
        self._matrix = matrix
        self._state = state
        self._tell = options.tell
        self._tick = options.tick
        todo = (cell for cell in options.order or matrix.cells if cell.id not in state.outcomes)
        self._queue = deque(QueuedCell(cell) for cell in todo)
        self._boots = BootFailures()
        for outcome in state.outcomes.values():
            self._boots.note(outcome.boot)
            self.expected.note(outcome)

    @property
    @abc.abstractmethod
    def running(self) -> Sequence[UnderWay]:
        """The attempts that are under way."""

    @property
    @abc.abstractmethod
    def _slots(self) -> int:
        """The number of attempts that can be under way at once."""

    @property
    def left(self) -> int:
        """The number of cells that have not ended."""
        return len(self._queue) + len(self.running)

    def coming(self, most: int) -> list[str]:
        """Return the names of the next ``most`` cells."""
        return [one.cell.id for one in itertools.islice(self._queue, most)]

    def estimate(self) -> float | None:
        """Return the expected seconds of the remaining cells, None while no run is known."""
        if not self.expected.known:
            return None
        now = time.monotonic()
        begun = sum(max(0.0, self.expected.of(one.cell) - (now - one.began)) for one in self.running)
        waiting = sum(self.expected.of(one.cell) for one in self._queue)
        return (begun + waiting) / max(1, min(self._slots, self.left))

    def _in_time(self, cell: Cell) -> bool:
        return self.until is None or self.expected.of(cell) <= self.until - time.time()

    def _skipped(self, queued: QueuedCell) -> CellOutcome | None:
        """Return the outcome of a cell that is left out because its guest failed to boot, None for any other."""
        failure = self._boots.of(queued.cell.guest, queued.cell.machine)
        if failure is None or queued.number > 1:
            return None
        return CellOutcome(
            cell=queued.cell.id, state="skipped", verdict="unknown", failure_class=failure.failure_class,
            reason=str(failure), exit_code=ExitCode.UNKNOWN,
        )  # fmt: skip

    def _settle(self, outcome: CellOutcome) -> None:
        outcome = self._record(outcome)
        self.expected.note(outcome)
        self._tell(outcome)

    def _record(self, outcome: CellOutcome) -> CellOutcome:
        """Write an outcome into the state, and return it as it was written."""
        self._state.record(outcome)
        return outcome
