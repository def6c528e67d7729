# SPDX-License-Identifier: MIT
"""A forked process with the interface that tests know of subprocess.Popen."""

from __future__ import annotations

import contextlib
import signal
import subprocess

from harness.forking.forked_process import ForkedProcess


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
