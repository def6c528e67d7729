# SPDX-License-Identifier: MIT
"""Deadline: the one object that limits how long something may take, passed down instead of bare timeouts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from harness.errors import GuestHang, HarnessError

T = TypeVar("T")


class Deadline:
    """A point on the host's monotonic clock, with the name of what must be done by then.

    ``seconds`` is the whole budget. A child made with :meth:`within` never outlives its parent.
    """

    def __init__(self, seconds: float, what: str, *, _end: float | None = None) -> None:
        self.seconds = seconds
        self.what = what
        self._end = time.monotonic() + seconds if _end is None else _end

    def __repr__(self) -> str:
        return f"Deadline({self.what!r}, {self.remaining():.3f} of {self.seconds:g} s left)"

    def within(self, seconds: float, what: str) -> Deadline:
        """Return a deadline for a part of this work: at most ``seconds`` from now, never past this one."""
        return Deadline(seconds, what, _end=min(self._end, time.monotonic() + seconds))

    def remaining(self) -> float:
        """Return the seconds left, 0.0 when the deadline has passed."""
        return max(0.0, self._end - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining() == 0.0

    def poll(
        self,
        probe: Callable[[], T | None],
        *,
        interval: float = 0.02,
        longest: float = 0.0,
        error: Callable[[], HarnessError] | None = None,
    ) -> T:
        """Call ``probe`` until it returns something other than None or False, and return that.

        This is the only place where the harness sleeps. Use it only where there is nothing to wait on: a queue, a condition
        or a file descriptor is better. Pauses take ``interval`` seconds. With ``longest`` they grow up to that, as
        :func:`pause_after` has it. Raises ``error()``, or GuestHang, when the deadline passes.
        """
        began = time.monotonic()
        while True:
            found = probe()
            if found is not None and found is not False:
                return found
            left = self.remaining()
            if left == 0.0:
                raise error() if error else GuestHang(f"{self.what}: nothing within {self.seconds:g} s")
            pause = pause_after(time.monotonic() - began, interval, longest) if longest else interval
            time.sleep(min(pause, left))


def pause_after(waited: float, shortest: float, longest: float) -> float:
    """Return the seconds until the next look at something that one has waited for since ``waited`` seconds.

    The pause is a quarter of that, so a wait never takes more than a quarter longer than its event, besides ``shortest``.
    """
    return min(max(shortest, waited / 4), longest)
