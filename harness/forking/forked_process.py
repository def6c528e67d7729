# SPDX-License-Identifier: MIT
"""A process that a fork server has forked: its signals, its end and its exit status."""

from __future__ import annotations

import contextlib
import os
import signal
import socket

from harness.forking.message import Ended, receive
from harness.program import readable

PATIENCE = 45.0
"""Seconds that a process gets to end itself after its server died, which sent it SIGTERM."""


class ForkedProcess:
    """``descriptor`` becomes readable when it has ended. Call :meth:`wait` in the end, which closes it.

    ``orphaned`` says, after :meth:`wait`, that the server died first, and took the exit status with it.
    """

    def __init__(self, pid: int, descriptor: int, channel: socket.socket) -> None:
        self.pid = pid
        self.descriptor = descriptor
        self.orphaned = False
        self._channel = channel
        self._status: int | None = None

    def ask(self, number: signal.Signals) -> None:
        """Send a signal to the process; SIGKILL to its whole session. Nothing happens if it has ended."""
        if self._status is not None:
            return
        if number is signal.SIGKILL:
            with contextlib.suppress(OSError):
                # The server has not reaped it, so no other session can have its number.
                self._channel.send(bytes([number]))
                return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, number)

    def ended(self, seconds: float) -> bool:
        """Return whether it has ended, at the latest after ``seconds``."""
        return self._status is not None or readable(self.descriptor, seconds)

    def wait(self) -> int:
        """Wait for its end, and return its exit status, negative for a signal; -SIGKILL if it is ``orphaned``."""
        if self._status is not None:
            return self._status
        end, _ = receive(self._channel, Ended)
        if end is None:
            self.orphaned = True
            if not self.ended(PATIENCE):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)
                self.ended(PATIENCE)
        self._status = -signal.SIGKILL if end is None else end.status
        self._channel.close()
        os.close(self.descriptor)
        return self._status
