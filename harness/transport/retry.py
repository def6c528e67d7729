# SPDX-License-Identifier: MIT
"""Retries, with growing pauses, of work that can be done twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from harness.deadline import Deadline
from harness.errors import GuestHang, GuestRefused, GuestUnreachable, HarnessError

T = TypeVar("T")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds; each pause is twice as long as the one before."""


class FileInUse(GuestRefused):
    """*WinRM to 127.0.0.1:5986: the file is in use by another process*. The refused operation has changed nothing."""


class Pauses:
    """Pauses between attempts, each twice as long as the previous one, none past ``deadline``."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._next = FIRST_PAUSE

    def reset(self) -> None:
        """Begin again with the shortest pause."""
        self._next = FIRST_PAUSE

    def wait(self, error: Callable[[], HarnessError] | None = None) -> None:
        """Wait for the next pause. Raises ``error()``, or GuestHang, when the deadline passes before its end."""
        rest = Deadline(self._next, f"pause before another try of {self._deadline.what}")
        self._next = min(2 * self._next, LONGEST_PAUSE)
        self._deadline.poll(lambda: rest.expired, error=error)


def persist(work: Callable[[int], T], deadline: Deadline, *, name: str, idempotent: bool) -> T:
    """Call ``work(attempt)``, attempt 1 first, until it raises neither GuestUnreachable nor FileInUse; return its result.

    Work that is not ``idempotent`` is repeated only after an error without anything sent. Raises GuestHang
    when the deadline passes between two attempts, with the last error's message.
    """
    pauses = Pauses(deadline)
    attempt = 0
    while True:
        attempt += 1
        try:
            return work(attempt)
        except (GuestUnreachable, FileInUse) as error:
            if isinstance(error, GuestUnreachable) and error.sent and not idempotent:
                raise
            given_up = GuestHang(
                f"{name}: {deadline.what} not done within {deadline.seconds:g} s, in {attempt} tries; the last one: "
                f"{error.message}",
                hint=error.hint,
            )
            pauses.wait(lambda given_up=given_up: given_up)  # type: ignore[misc]
