# SPDX-License-Identifier: MIT
"""Trying again, with growing pauses, what can be done twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from harness.deadline import Deadline
from harness.errors import GuestHang, GuestUnreachable

T = TypeVar("T")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds; each pause is twice as long as the one before."""


def persist(work: Callable[[int], T], deadline: Deadline, *, name: str, idempotent: bool) -> T:
    """Call ``work(attempt)``, attempt 1 first, until it does not raise GuestUnreachable, and return what it returns.

    Work that is not ``idempotent`` is tried again only after an error that says nothing was sent. Raises GuestHang
    when the deadline passes between two tries, with the last error's words.
    """
    pause = FIRST_PAUSE
    attempt = 0
    while True:
        attempt += 1
        try:
            return work(attempt)
        except GuestUnreachable as error:
            if error.sent and not idempotent:
                raise
            rest = Deadline(pause, f"pause before another try of {deadline.what}")
            given_up = GuestHang(
                f"{name}: {deadline.what} not done within {deadline.seconds:g} s, in {attempt} tries; the last one: "
                f"{error.message}",
                hint=error.hint,
            )
            deadline.poll(lambda rest=rest: rest.expired, error=lambda given_up=given_up: given_up)  # type: ignore[misc]
            pause = min(2 * pause, LONGEST_PAUSE)
