# SPDX-License-Identifier: MIT
"""Executes a nightly run: several runs at once, each in its own process, until all have ended or it is interrupted.

Each machine takes its lease of the host itself, so runs beyond the host's room wait inside their own processes. An
attempt that was killed or crashed without a result is repeated once. A run whose infrastructure failed has repeated
itself already (``--retry``). A guest that failed to boot is not booted again on the same machine.
"""

from __future__ import annotations

import itertools
import selectors
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.errors import ExitCode
from harness.forking.fork_server import ForkServer
from harness.forking.service import GRACE
from harness.host.end_time import shown
from harness.interrupts import uninterrupted
from harness.lab.expected_time import ExpectedTime
from harness.lab.matrix import Cell, Matrix
from harness.lab.nightly_state import CellOutcome, NightlyState
from harness.lab.run_process import RunProcess, command
from harness.run.failure import ATTEMPTS, BootFailures

TICK = 0.5
"""Seconds between two checks of the time while nothing happens."""

Tell = Callable[[CellOutcome], None]


class Nightly:
    """One pass over the remaining cells of a nightly run. ``tell`` is called for each cell that ends, ``tick`` twice a
    second.

    ``hold`` says why no run can start now, "" if one can; ``held`` is its last answer. Runs under way continue.
    ``costs`` are the seconds of earlier runs, by point. A cell starts only if it is expected to end before ``until``,
    in seconds since the epoch. ``order`` has all cells, in another order than the matrix. ``ending`` is true while the
    runs under way are being ended.
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
        costs: Mapping[str, float] = {},
        until: float | None = None,
        order: Sequence[Cell] = (),
    ) -> None:
        self.parallel = parallel
        self.held = ""
        self.ending = False
        self.until = until
        self.running: list[RunProcess] = []
        self._matrix = matrix
        self._state = state
        self._tell = tell
        self._tick = tick
        self._hold = hold
        self._server = ForkServer()
        todo = [cell for cell in order or matrix.cells if cell.id not in state.outcomes]
        self._queue: deque[tuple[Cell, int, list[str]]] = deque((cell, 1, []) for cell in todo)
        self.expected = ExpectedTime(matrix, costs)
        self._boots = BootFailures()
        for outcome in state.outcomes.values():
            self._boots.note(outcome.boot)
            self.expected.note(outcome)

    @property
    def left(self) -> int:
        """The number of cells that have not ended."""
        return len(self._queue) + len(self.running)

    def look_held(self) -> str:
        """Return why nothing may start now, and keep it as ``held``."""
        self.held = self._hold()
        return self.held

    def coming(self, most: int) -> list[str]:
        """Return the names of the next ``most`` cells."""
        return [cell.id for cell, _, _ in itertools.islice(self._queue, most)]

    def run(self) -> None:
        """Run until all cells have ended, or none of the rest is expected to end in time.

        Raises KeyboardInterrupt after the runs under way have ended.
        """
        with self._server:
            try:
                with selectors.DefaultSelector() as selector:
                    while self._queue or self.running:
                        self._start(selector)
                        if not self.running and self._queue and self._next() is None:
                            self._state.out_of_time = f"not enough time before {shown(self.until or 0)}"
                            return
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
        """Return the expected seconds of the remaining cells, None while no run is known."""
        if not self.expected.known:
            return None
        now = time.monotonic()
        begun = sum(max(0.0, self.expected.of(child.cell) - (now - child.began)) for child in self.running)
        waiting = sum(self.expected.of(cell) for cell, _, _ in self._queue)
        return (begun + waiting) / max(1, min(self.parallel, self.left))

    def _next(self) -> int | None:
        """Return the position in the queue of the first cell that is expected to end in time, None if there is
        none."""
        if self.until is None:
            return 0 if self._queue else None
        rest = self.until - time.time()
        return next(
            (place for place, (cell, _, _) in enumerate(self._queue) if self.expected.of(cell) <= rest), None
        )

    def _start(self, selector: selectors.BaseSelector) -> None:
        while self._queue and len(self.running) < self.parallel:
            place = None if self.look_held() else self._next()
            if place is None:
                return
            cell, number, before = self._queue[place]
            del self._queue[place]
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
                # The run is noted as soon as it exists, so an interrupt at any moment ends it.
                child = RunProcess(
                    self._server, cell, words, self._state.directory,
                    number=number, seconds=self._matrix.document.timeout,
                )  # fmt: skip
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
        self.expected.note(outcome)
        self._tell(outcome)

    def _end_the_late(self) -> None:
        """End a run that has exceeded its time: SIGTERM, then SIGKILL after the grace."""
        now = time.monotonic()
        for child in self.running:
            if now > child.ends + GRACE:
                child.ask(signal.SIGKILL)
            elif now > child.ends and not child.late:
                child.late = True
                child.ask(signal.SIGTERM)

    def _end_all(self, hurry: threading.Event) -> None:
        """End the runs under way. Their records are kept. A continued nightly run repeats them.

        ``hurry`` sends SIGKILL at once; the kernel then kills their QEMUs.
        """
        self.ending = bool(self.running)
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
                self._tick()
                if hurry.is_set() or time.monotonic() > deadline:
                    for child in self.running:
                        child.ask(signal.SIGKILL)
