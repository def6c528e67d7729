# SPDX-License-Identifier: MIT
"""The live view of an exploration: plans, their rate and the time left on a terminal; a line a minute elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from harness.report.duration import duration
from harness.report.live_block import LiveBlock

if TYPE_CHECKING:
    from harness.explore.exploration import ExplorationReport

QUIET_S = 60.0
"""Seconds after which a stream that is not a terminal gets a line."""


class ExplorationView(LiveBlock):
    """Shows how far an exploration of ``seconds`` is. Use it in a ``with`` statement, whose end stops it."""

    def __init__(
        self,
        seconds: float,
        stream: TextIO | None = None,
        *,
        quiet: bool = False,
        terminal: bool | None = None,
    ) -> None:
        super().__init__(stream, quiet=quiet, terminal=terminal)
        self._seconds = seconds
        self._began = self._said = time.monotonic()
        self._report: ExplorationReport | None = None

    def now(self, report: ExplorationReport) -> None:
        """Show ``report``, which stays current."""
        with self._changed:
            self._report = report
            said = []
            if not self._terminal and time.monotonic() - self._said >= QUIET_S:
                self._said = time.monotonic()
                said = self._block()
            self._show(said)

    def _block(self) -> list[str]:
        if self._report is None:
            return []
        return [progress_line(self._report, time.monotonic() - self._began, self._seconds)]


def progress_line(report: ExplorationReport, elapsed: float, seconds: float) -> str:
    """Return the line after ``elapsed`` of ``seconds``."""
    count = f"{report.plans} plan{'' if report.plans == 1 else 's'}"
    rate = f" ({report.plans / elapsed * 60:.0f} a minute)" if report.plans and elapsed else ""
    failed = f", {report.failed} without a result" if report.failed else ""
    left = seconds - elapsed
    if any(not one.shrunk for one in report.findings):
        then = "shrinking the plan of a finding"
    else:
        then = f"{duration(left)} left" if left > 0 else "waiting for the plans under way"
    return f"… {count}{rate}{failed}; {then}"
