# SPDX-License-Identifier: MIT
"""The trial pool: processes that execute generated plans concurrently, each guest under the leases of its host."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Self

from harness.errors import ExitCode, InfrastructureError
from harness.explore.legality import Legality, OperationSequence
from harness.explore.trial import Trial, run_trial
from harness.interrupts import ENDING, interruptible, uninterrupted
from harness.run.options import RunOptions
from harness.run.request import RunRequest

PATIENCE = 30.0
"""Seconds that a process gets to end its guest."""


@dataclasses.dataclass(frozen=True)
class TrialSetting:
    """The settings of all trials: the options of their runs, the folder for runs, and the folder of built things."""

    options: RunOptions
    runs: Path
    cache: Path


class TrialPool:
    """Executes plans. Leaving the block ends the guests that still run, and waits for their end.

    ``submit`` takes any number of plans. ``results`` returns each trial with its ticket, in the order in which they
    end. No plan begins while ``held`` returns true.
    """

    def __init__(
        self, setting: TrialSetting, *, processes: int, held: Callable[[], bool] = lambda: False
    ) -> None:
        self._setting = setting
        self._held = held
        self._count = processes
        self._crew: list[_TrialProcess] = []
        self._waiting: deque[tuple[int, OperationSequence, int]] = deque()
        self._ticket = 0

    def __enter__(self) -> Self:
        try:
            for _ in range(self._count):
                # Each process is noted before the next one starts, so that an interrupt knows all of them.
                self._crew.append(_TrialProcess(self._setting))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with uninterrupted():
            for one in self._crew:
                one.ask_to_end()
            for one in self._crew:
                one.end()

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
            trial = one.take()
            if trial is None:
                one.replace()
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


class _TrialProcess:
    """One process. ``job`` is its current ticket, operations and seed, None if it is idle."""

    def __init__(self, setting: TrialSetting) -> None:
        self._setting = setting
        self._start()

    def _start(self) -> None:
        self.job: tuple[int, OperationSequence, int] | None = None
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._setting), daemon=True)
        # The child inherits blocked signals until it has set its handlers. Ctrl-C belongs to its parent.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            self._process.start()
        except OSError as error:
            raise InfrastructureError(
                f"cannot start a process for trials: {error.strerror}", hint="Give --jobs 1."
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        theirs.close()

    def give(self, job: tuple[int, OperationSequence, int]) -> None:
        """Execute a plan."""
        self.job = job
        # :meth:`take` finds out whether the process still exists.
        with suppress(OSError):
            self.connection.send(job[1:])

    def take(self) -> Trial | None:
        """Return the trial, None if the process has died."""
        self.job = None
        try:
            trial: Trial = self.connection.recv()
        except (EOFError, OSError):
            return None
        return trial

    def replace(self) -> None:
        """Start a new process in place of a dead one."""
        self.end()
        self._start()

    def ask_to_end(self) -> None:
        """Send SIGTERM: the process ends its guest, then itself."""
        self.connection.close()
        with suppress(ProcessLookupError, AttributeError):
            self._process.terminate()

    def end(self) -> None:
        """Wait for its end. Kill it if it does not end in time."""
        with suppress(OSError):
            self.ask_to_end()
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _work(connection: Connection, setting: TrialSetting) -> None:
    """Execute plans until the connection ends. SIGTERM ends the guest first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end-trials-with-parent", daemon=True).start()
    options = dataclasses.replace(setting.options, runs=setting.runs)
    try:
        with interruptible():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            while True:
                operations, seed = connection.recv()
                connection.send(run_trial(operations, partial(_request, setting, options, operations, seed)))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def _request(
    setting: TrialSetting, options: RunOptions, operations: OperationSequence, seed: int
) -> RunRequest:
    return RunRequest(
        **{**vars(options), "seed": seed},
        plan=Legality(setting.options).plan(operations),
        cache=setting.cache,
        argv=["harness", "explore"],
    )


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        # A guest that does not end keeps the process no longer than this.
        threading.Event().wait(PATIENCE)
        os._exit(ExitCode.INTERRUPTED)
