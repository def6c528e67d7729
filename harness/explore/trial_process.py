# SPDX-License-Identifier: MIT
"""A trial process: executes one generated plan after another. It is forked, and idle between two plans."""

from __future__ import annotations

import dataclasses
import signal
import time
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from harness.errors import HarnessError, InfrastructureError
from harness.explore.legality import Legality, OperationSequence
from harness.explore.trial import Trial, run_trial
from harness.forking.fork_server import ForkServer
from harness.interrupts import interruptible
from harness.run.options import RunOptions
from harness.run.request import RunRequest

ENTRY = "harness.explore.trial_process:work"
MODULES = ("harness.explore.trial_process", "harness.contract.checker", "harness.run.judging")
"""What the process that forks trial processes imports first."""


@dataclasses.dataclass(frozen=True)
class TrialSetting:
    """The settings of all trials: the options of their runs, the folder for runs, and the folder of built things."""

    options: RunOptions
    runs: Path
    cache: Path


class TrialProcess:
    """One process. ``job`` is its current ticket, operations and seed, None if it is idle. It ``began`` at that time of the
    monotonic clock.

    Raises InfrastructureError if it cannot be started.
    """

    def __init__(self, server: ForkServer, setting: TrialSetting) -> None:
        self._server = server
        self._setting = setting
        self._start()

    def _start(self) -> None:
        self.job: tuple[int, OperationSequence, int] | None = None
        self.began = 0.0
        self.connection, theirs = Pipe()
        try:
            with theirs:
                self._process = self._server.start(ENTRY, descriptors=[theirs.fileno()])
        except HarnessError as error:
            raise InfrastructureError(
                f"cannot start a process for trials: {error.message}", hint="Give --jobs 1."
            ) from error
        # :meth:`take` finds out whether the process still exists.
        with suppress(OSError):
            self.connection.send(self._setting)

    def give(self, job: tuple[int, OperationSequence, int]) -> None:
        """Execute a plan."""
        self.job = job
        self.began = time.monotonic()
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

    def replace(self, deadline: float) -> None:
        """Start a new process in place of a dead one."""
        self.ask_to_end()
        self.end(deadline)
        self._start()

    def ask_to_end(self) -> None:
        """Send SIGTERM: the process ends its guest, then itself."""
        self.connection.close()
        self._process.ask(signal.SIGTERM)

    def end(self, deadline: float) -> None:
        """Wait for its end. Kill it if it does not end before ``deadline``, on the monotonic clock."""
        if not self._process.ended(max(0.0, deadline - time.monotonic())):
            self._process.ask(signal.SIGKILL)
        self._process.wait()


def work(descriptor: int) -> None:
    """Execute the plans that come through ``descriptor``, until it ends. SIGTERM ends the guest first."""
    connection = Connection(descriptor)
    try:
        with interruptible():
            setting: TrialSetting = connection.recv()
            options = dataclasses.replace(setting.options, runs=setting.runs)
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
