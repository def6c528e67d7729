# SPDX-License-Identifier: MIT
"""The timer of a test with a guest, in place of pytest-timeout's: when it expires, the guest is ended and the run judged.

pytest-timeout's method ``thread`` exits the process at once (``os._exit``), and leaves the guest, a history
without an end, and no verdict. Here both methods raise in the test, on the main thread; ``thread`` exits only
if the test does not end after that.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from harness.run.run import Run

GRACE = 45.0
"""Seconds, besides those for collecting evidence, for a test whose time is over to end its guest and judge
its history."""

TIMER = pytest.StashKey["TimeLimit"]()
"""The timer of a test."""

RUN_SO_FAR: pytest.StashKey[Run] = pytest.StashKey()
"""The run of a test, from before its guest boots."""


class TimeoutSettings(Protocol):
    """pytest-timeout's settings of a test (pytest_timeout.Settings). ``timeout`` is in seconds."""

    timeout: float
    method: str
    disable_debugger_detection: bool


class TimeLimit:
    """Ends a test that takes too long. ``method`` is pytest-timeout's: ``signal`` counts by SIGALRM, ``thread`` by a thread."""

    def __init__(self, item: pytest.Item, settings: TimeoutSettings) -> None:
        self._item = item
        self._settings = settings
        self._threaded = settings.method == "thread"
        self._number = signal.SIGVTALRM if self._threaded else signal.SIGALRM
        self._before: Any = None
        self._stopped, self._over = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the timer. Call this on the main thread: only it receives signals (Python: signal)."""
        self._before = signal.signal(self._number, self._late)
        if self._threaded:
            self._thread = threading.Thread(target=self._count, name="test-timer", daemon=True)
            self._thread.start()
        else:
            signal.setitimer(signal.ITIMER_REAL, self._settings.timeout)

    def stop(self) -> None:
        """Stop the timer. A test that was already interrupted keeps only its grace time."""
        self._stopped.set()
        if not self._threaded:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def again(self) -> TimeLimit:
        """End it, and return a new timer for the second attempt."""
        self.end()
        other = TimeLimit(self._item, self._settings)
        self._item.cancel_timeout = other.stop  # type: ignore[attr-defined]
        other.start()
        return other

    def end(self) -> None:
        """End the timer: the test and its guest have ended."""
        self._over.set()
        self.stop()
        if self._thread is not None:
            self._thread.join()
        signal.signal(self._number, signal.SIG_DFL if self._before is None else self._before)

    def _count(self) -> None:
        if self._stopped.wait(self._settings.timeout):
            return
        run = self._item.stash.get(RUN_SO_FAR, None)
        signal.pthread_kill(threading.main_thread().ident or 0, self._number)
        if not self._over.wait(GRACE + (run.request.budget.evidence if run is not None else 0)):
            import pytest_timeout

            # Exits the process. `harness gc` finds the machine.
            pytest_timeout.timeout_timer(self._item, self._settings)

    def _late(self, _number: int, _frame: FrameType | None) -> None:
        import pytest_timeout

        if self._over.is_set():
            return
        run = self._item.stash.get(RUN_SO_FAR, None)
        if run is not None and (
            self._settings.disable_debugger_detection or not pytest_timeout.is_debugging()
        ):
            run.given_up = f"the time for the test, {self._settings.timeout:g} s, was over (pytest-timeout)"
        # Shows where every thread is, and raises.
        pytest_timeout.timeout_sigalrm(self._item, self._settings)
