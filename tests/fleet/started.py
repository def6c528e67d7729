# SPDX-License-Identifier: MIT
"""Commands of a fleet as processes that are forked from one which has loaded the engine once.

A new interpreter takes 0.3 s of processor time to load the engine, more than most commands of a small fleet take then.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from harness.forking.fork_server import ForkServer
from harness.forking.forked_process import ForkedProcess

ROOT = Path(__file__).resolve().parents[2]
MODULES = (
    "alembic.command",
    "distributed",
    "fsspec.implementations.local",
    "harness.cli.readiness:make_ready",
    "harness.fleet.nightly",
    "harness.fleet.scheduler",
    "harness.fleet.worker",
    "harness.store.database",
    "sqlalchemy.dialects.sqlite",
)
"""What the commands of a fleet load."""


class StartedProcess:
    """A forked process. Its methods are those of subprocess.Popen."""

    def __init__(self, forked: ForkedProcess) -> None:
        self.pid = forked.pid
        self.returncode: int | None = None
        self._forked = forked

    def poll(self) -> int | None:
        """Return its exit status, None if it has not ended."""
        if self.returncode is None and self._forked.ended(0):
            self.returncode = self._forked.wait()
        return self.returncode

    def wait(self, timeout: float = 3600) -> int:
        """Wait for its end and return its exit status. Raises subprocess.TimeoutExpired."""
        if not self._forked.ended(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        self.returncode = self._forked.wait()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, and no other process of its session."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._forked.descriptor, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def loaded_engine() -> Iterator[ForkServer]:
    """Start the process that commands are forked from when the first is started."""
    with pytest.MonkeyPatch.context() as patch, ForkServer(MODULES) as server:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        # It is started now: its variables are those of this moment.
        server.start(f"{__name__}:nothing").wait()
        patch.undo()
        yield server


def start(
    server: ForkServer,
    words: list[str],
    log: Path,
    *,
    place: Path,
    environment: Mapping[str, str],
    program: str = "",
) -> StartedProcess:
    """Start a command of the harness in the directory ``place``, or a program that is Python; what it says is added to a
    file."""
    with log.open("ab") as output:
        given = [str(place), json.dumps(dict(environment)), program, *words]
        return StartedProcess(server.start(f"{__name__}:begin", given, output=(output, output)))


def nothing() -> int:
    """End at once."""
    return 0


def begin() -> int:
    """Become the command or the program, in the forked process."""
    place, environment, program, *words = sys.argv[1:]
    os.chdir(place)
    os.environ.clear()
    os.environ.update(json.loads(environment))
    sys.argv[1:] = words
    if program:
        exec(program, {"__name__": "__main__"})
        return 0
    from harness.__main__ import main

    return main()
