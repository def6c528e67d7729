# SPDX-License-Identifier: MIT
"""Shutdown: quit over QMP, SIGTERM, SIGKILL, each with its grace."""

from __future__ import annotations

import signal
import threading

from harness.deadline import Deadline
from harness.machine.monitor import Monitor
from harness.machine.process import ExitReport, Process

RECONNECT_GRACE = 0.5
"""Seconds for a monitor that just dropped to come back: QEMU 7.2 can hang when SIGTERM meets a client that connects."""

QUIT_GRACE = 3.0
TERM_GRACE = 3.0
KILL_GRACE = 10.0
"""Seconds for each step. SIGKILL needs more only when the host itself hangs in the kernel."""


def descend(process: Process, monitor: Monitor, hurry: threading.Event) -> ExitReport | None:
    """End ``process``, by quit where possible; return how it ended. Bounded by the sum of the graces.

    ``hurry`` shortens every grace but the last.
    """

    def gone(seconds: float) -> bool:
        deadline = Deadline(seconds, "shutdown")
        while not deadline.expired and not hurry.is_set():
            if process.wait(min(0.1, deadline.remaining())):
                return True
        return not process.running

    process.settle()
    if process.running and not hurry.is_set() and monitor.reconnected(RECONNECT_GRACE):
        process.ask("quit")
        monitor.quit()
        gone(QUIT_GRACE)
    if process.running:
        process.ask("SIGTERM")
        process.signal(signal.SIGTERM)
        gone(TERM_GRACE)
    process.end((signal.SIGKILL, KILL_GRACE))
    return process.report()
