# SPDX-License-Identifier: MIT
"""Executes a nightly run: several runs at once, each in its own process, until all have ended or it is interrupted.

Each machine takes its lease of the host itself, so runs beyond the host's room wait inside their own processes. An
attempt that was killed or crashed without a result is repeated once. A run whose infrastructure failed has repeated
itself already (``--retry``). A guest that failed to boot is not booted again on the same machine.
"""

from __future__ import annotations

import selectors
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from harness.forking.fork_server import ForkServer
from harness.forking.service import GRACE
from harness.host.end_time import shown
from harness.interrupts import uninterrupted
from harness.lab.matrix import Matrix
from harness.lab.nightly_pass import NightlyPass, PassOptions, QueuedCell
from harness.lab.nightly_state import NightlyState
from harness.lab.run_process import RunProcess, command
from harness.run.failure import ATTEMPTS

TICK = 0.5
"""Seconds between two checks of the time while nothing happens."""


class Nightly(NightlyPass):
    """One pass over the remaining cells of a nightly run, on this host.

    ``hold`` says why no run can start now, "" if one can; ``held`` is its last answer. Runs under way continue.
    """

    def __init__(
        self,
        matrix: Matrix,
        state: NightlyState,
        options: PassOptions,
        *,
        hold: Callable[[], str] = lambda: "",
    ) -> None:
        super().__init__(matrix, state, options)
        self._hold = hold
        self._server = ForkServer()
        self._children: list[RunProcess] = []

    @property
    def running(self) -> list[RunProcess]:
        """The runs that are under way."""
        return self._children

    @property
    def _slots(self) -> int:
        return self.parallel

    def look_held(self) -> str:
        """Return why nothing may start now, and keep it as ``held``."""
        self.held = self._hold()
        return self.held

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

    def _next(self) -> int | None:
        """Return the position in the queue of the first cell that is expected to end in time, None if there is
        none."""
        return next((place for place, one in enumerate(self._queue) if self._in_time(one.cell)), None)

    def _start(self, selector: selectors.BaseSelector) -> None:
        while self._queue and len(self.running) < self.parallel:
            place = None if self.look_held() else self._next()
            if place is None:
                return
            queued = self._queue[place]
            del self._queue[place]
            if (skipped := self._skipped(queued)) is not None:
                self._settle(skipped)
                continue
            cell, first = queued.cell, Path(queued.runs[-1]).name if queued.runs else ""
            words = command(
                cell, self._matrix.requests[cell.point].options.words(), self._state.directory, first
            )
            with uninterrupted():
                # The run is noted as soon as it exists, so an interrupt at any moment ends it.
                child = RunProcess(
                    self._server, cell, words, self._state.directory,
                    number=queued.number, seconds=self._matrix.document.timeout,
                )  # fmt: skip
                self.running.append(child)
                selector.register(child.descriptor, selectors.EVENT_READ, child)

    def _over(self, child: RunProcess) -> None:
        self.running.remove(child)
        outcome, again = child.outcome(child.reap(), child.cell.machine)
        if again and child.number < ATTEMPTS:
            self._queue.appendleft(QueuedCell(child.cell, child.number + 1, outcome.runs))
            return
        self._boots.note(outcome.boot)
        self._settle(outcome)

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
