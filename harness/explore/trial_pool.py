# SPDX-License-Identifier: MIT
"""The trial pool: processes that execute generated plans concurrently, each guest under the leases of its host."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Self

from harness.explore.legality import OperationSequence
from harness.explore.trial import Trial
from harness.explore.trial_process import MODULES, TrialProcess, TrialSetting
from harness.forking.fork_server import ForkServer
from harness.interrupts import uninterrupted

RECENT = 0.1
"""The weight of the newest plan in the usual seconds of a plan, a moving average."""

PATIENCE = 30.0
"""Seconds that the processes get to end their guests."""


class TrialPool:
    """Executes plans. Leaving the block ends the guests that still run, and waits for their end.

    ``submit`` takes any number of plans. ``results`` returns each trial with its ticket, in the order in which they
    end. No plan begins while ``held`` returns true. ``usual_seconds`` is how long a plan took lately, 0 before the first.
    """

    def __init__(
        self, setting: TrialSetting, *, processes: int, held: Callable[[], bool] = lambda: False
    ) -> None:
        self._setting = setting
        self._held = held
        self._count = processes
        self._crew: list[TrialProcess] = []
        self._server = ForkServer(MODULES)
        self._waiting: deque[tuple[int, OperationSequence, int]] = deque()
        self._ticket = 0
        self.usual_seconds = 0.0

    def __enter__(self) -> Self:
        try:
            for _ in range(self._count):
                self._crew.append(TrialProcess(self._server, self._setting))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with uninterrupted(), self._server:
            for one in self._crew:
                one.ask_to_end()
            deadline = time.monotonic() + PATIENCE
            for one in self._crew:
                one.end(deadline)

    @property
    def busy(self) -> int:
        """The number of plans that wait or run."""
        return len(self._waiting) + sum(one.job is not None for one in self._crew)

    def submit(self, operations: OperationSequence, *, seed: int = 0) -> int:
        """Add a plan to the queue. Return its ticket."""
        self._ticket += 1
        self._waiting.append((self._ticket, operations, seed))
        self._feed()
        return self._ticket

    def forget_waiting(self) -> set[int]:
        """Remove the plans that have not started, and return their hashes."""
        forgotten = {hash(operations) for _, operations, _ in self._waiting}
        self._waiting.clear()
        return forgotten

    def results(self, seconds: float) -> list[tuple[int, Trial]]:
        """Return the trials that have ended, each with its ticket. Wait at most ``seconds`` for the first.

        The trial of a process that ended suddenly has failed. Raises InfrastructureError if no process can be started
        in its place.
        """
        self._feed()
        found: list[tuple[int, Trial]] = []
        busy = {one.connection: one for one in self._crew if one.job is not None}
        for connection in wait(list(busy), seconds):
            one = busy[connection]  # type: ignore[index]
            job = one.job
            assert job is not None
            took = time.monotonic() - one.began
            self.usual_seconds += (took - self.usual_seconds) * (RECENT if self.usual_seconds else 1)
            trial = one.take()
            if trial is None:
                one.replace(time.monotonic() + PATIENCE)
                trial = Trial(
                    operations=job[1], failed=True, reason="the process that executed the plan died"
                )
            self._feed()
            found.append((job[0], trial))
        return found

    def _feed(self) -> None:
        for one in self._crew:
            if one.job is None and self._waiting and not self._held():
                one.give(self._waiting.popleft())
