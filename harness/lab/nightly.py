# SPDX-License-Identifier: MIT
"""Executes a nightly run: so many runs at once, each in a process of its own, until all are over or it is interrupted.

Every machine takes its lease of the host itself, so more runs than the host has room for wait inside their own process.
An attempt that left no result, because it was killed or crashed, is repeated once; one whose infrastructure failed has
repeated itself already (``--retry``). A guest that did not boot is not booted again on the same machine.
"""

from __future__ import annotations

import selectors
import signal
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from harness.errors import ExitCode
from harness.interrupts import uninterrupted
from harness.lab.matrix import Cell, Matrix
from harness.lab.nightly_state import CellOutcome, NightlyState
from harness.lab.run_process import RunProcess, command
from harness.run.failure import ATTEMPTS, BootFailures

TICK = 0.5
"""Seconds between two looks at the time when nothing happens."""

GRACE = 45.0
"""Seconds for a run that was asked to end: it ends its guest, judges what there is and leaves."""

Tell = Callable[[CellOutcome], None]


class Nightly:
    """One pass over what is left of a nightly run. ``tell`` hears of each cell that is over, ``tick`` twice a second.

    ``hold`` says why no run may start now, "" if one may; ``held`` is what it said last. What is under way goes on.
    """

    def __init__(
        self,
        matrix: Matrix,
        state: NightlyState,
        *,
        parallel: int,
        tell: Tell = lambda _: None,
        tick: Callable[[], None] = lambda: None,
        hold: Callable[[], str] = lambda: "",
    ) -> None:
        self.parallel = parallel
        self.held = ""
        self.running: list[RunProcess] = []
        self._matrix = matrix
        self._state = state
        self._tell = tell
        self._tick = tick
        self._hold = hold
        self._queue: deque[tuple[Cell, int, list[str]]] = deque((cell, 1, []) for cell in state.todo(matrix))
        self._cells = {cell.id: cell for cell in matrix.cells}
        self._boots = BootFailures()
        for outcome in state.outcomes.values():
            self._boots.note(outcome.boot)

    @property
    def left(self) -> int:
        """How many cells are not over."""
        return len(self._queue) + len(self.running)

    def run(self) -> None:
        """Go on until all cells are over. Raises KeyboardInterrupt after the runs under way were ended."""
        try:
            with selectors.DefaultSelector() as selector:
                while self._queue or self.running:
                    self._start(selector)
                    for key, _ in selector.select(TICK):
                        child: RunProcess = key.data
                        selector.unregister(child.descriptor)
                        self._over(child)
                    self._end_the_late()
                    self._tick()
        finally:
            with uninterrupted() as hurry:
                self._end_all(hurry)

    def estimate(self) -> float | None:
        """Return the seconds that the rest will take, None while nothing is known."""
        took: dict[str, list[float]] = {}
        for outcome in self._state.outcomes.values():
            if outcome.state == "done" and outcome.cell in self._cells:
                took.setdefault(self._cells[outcome.cell].point, []).append(outcome.seconds)
        if not took:
            return None
        usual = statistics.fmean(seconds for times in took.values() for seconds in times)

        def expected(cell: Cell) -> float:
            return statistics.fmean(took.get(cell.point, [usual]))

        now = time.monotonic()
        begun = sum(max(0.0, expected(child.cell) - (now - child.began)) for child in self.running)
        waiting = sum(expected(cell) for cell, _, _ in self._queue)
        return (begun + waiting) / max(1, min(self.parallel, self.left))

    def _start(self, selector: selectors.BaseSelector) -> None:
        while self._queue and len(self.running) < self.parallel:
            self.held = self._hold()
            if self.held:
                return
            cell, number, before = self._queue.popleft()
            machine = cell.machine
            failure = self._boots.of(cell.guest, machine)
            if failure is not None and number == 1:
                self._settle(
                    CellOutcome(
                        cell=cell.id, state="skipped", verdict="unknown", failure_class=failure.failure_class,
                        reason=str(failure), exit_code=ExitCode.UNKNOWN,
                    )
                )  # fmt: skip
                continue
            words = command(self._matrix, cell, self._state.directory)
            if before:
                words += ["--retry-of", Path(before[-1]).name]
            with uninterrupted():
                # Known as soon as it runs, whenever an interrupt comes.
                child = RunProcess(
                    cell, words, self._state.directory, number=number, seconds=self._matrix.document.timeout
                )
                self.running.append(child)
                selector.register(child.descriptor, selectors.EVENT_READ, child)

    def _over(self, child: RunProcess) -> None:
        self.running.remove(child)
        outcome, again = child.outcome(child.reap(), child.cell.machine)
        if again and child.number < ATTEMPTS:
            self._queue.appendleft((child.cell, child.number + 1, outcome.runs))
            return
        self._boots.note(outcome.boot)
        self._settle(outcome)

    def _settle(self, outcome: CellOutcome) -> None:
        self._state.record(outcome)
        self._tell(outcome)

    def _end_the_late(self) -> None:
        """End a run whose time is over: by SIGTERM, and by SIGKILL after the grace."""
        now = time.monotonic()
        for child in self.running:
            if now > child.ends + GRACE:
                child.ask(signal.SIGKILL)
            elif now > child.ends and not child.late:
                child.late = True
                child.ask(signal.SIGTERM)

    def _end_all(self, hurry: threading.Event) -> None:
        """End the runs under way; what they have recorded is kept, and they are done again when the nightly run continues.

        ``hurry`` ends them hard, and the kernel their QEMUs with them.
        """
        for child in self.running:
            child.ask(signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        with selectors.DefaultSelector() as selector:
            for child in self.running:
                selector.register(child.descriptor, selectors.EVENT_READ, child)
            while self.running:
                for key, _ in selector.select(TICK):
                    ended: RunProcess = key.data
                    selector.unregister(ended.descriptor)
                    ended.reap()
                    self.running.remove(ended)
                if hurry.is_set() or time.monotonic() > deadline:
                    for child in self.running:
                        child.ask(signal.SIGKILL)
