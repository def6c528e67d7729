# SPDX-License-Identifier: MIT
"""The shutdown ladder: quit over QMP, SIGTERM, SIGKILL, each with its grace; no interrupt stops it half-way."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from harness.deadline import Deadline
from harness.machine.monitor import Monitor
from harness.machine.process import ExitReport, Process

RECONNECT_GRACE = 0.5
"""Seconds for a monitor that just dropped to come back: QEMU 7.2 can hang when SIGTERM meets a client that connects."""

QUIT_GRACE = 3.0
TERM_GRACE = 3.0
KILL_GRACE = 10.0
"""Seconds that each step gets. SIGKILL needs more only when the host itself hangs in the kernel."""


HELD_BACK = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def uninterrupted() -> Iterator[threading.Event]:
    """Hold back Ctrl-C and a polite end while the block runs; they set the event, and take effect when the block is left.

    Only the main thread receives signals (Python: signal), on any other this does nothing. A signal that the program
    ignores (a shell's job in the background ignores Ctrl-C), or that ends it at once, stays as it is.
    """
    hurry = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield hurry
        return
    came: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        hurry.set()

    before = {number: signal.getsignal(number) for number in HELD_BACK}
    before = {number: handler for number, handler in before.items() if callable(handler)}
    for number in before:
        signal.signal(number, hold)
    try:
        yield hurry
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def descend(process: Process, monitor: Monitor, hurry: threading.Event) -> ExitReport | None:
    """End ``process``, gently if it lets itself; return how it ended. Bounded by the sum of the graces.

    ``hurry`` cuts every grace but the last short.
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
    if process.running:
        process.ask("SIGKILL")
        process.signal(signal.SIGKILL)
        process.wait(KILL_GRACE)
    return process.report()
