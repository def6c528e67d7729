# SPDX-License-Identifier: MIT
"""A lock on a file, between processes. It ends with the process that holds it, even if that is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError, UsageError


@contextlib.contextmanager
def locked(path: Path, doing: str, deadline: Deadline, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock at ``path``, made if missing; ``doing`` is the holder's activity: "building the twin's image".

    ``say`` is called once if another process holds it. Raises InfrastructureError when the deadline passes first.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    told = False

    def take() -> bool:
        nonlocal told
        if taken(descriptor):
            return True
        if not told:
            say(f"another run is {doing}; waiting for it")
        told = True
        return False

    def too_late() -> HarnessError:
        return InfrastructureError(
            f"another run has been {doing} for {deadline.seconds:g} s and still holds {path}",
            hint="Wait for it, or end it.",
        )

    try:
        deadline.poll(take, interval=0.05, error=too_late)
        yield
    finally:
        os.close(descriptor)


def taken(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file until ``descriptor`` is closed. Return False if another process holds the lock."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def locked_or_refused(descriptor: int, taken: str, *, hint: str) -> None:
    """Lock an open file or directory until ``descriptor`` is closed.

    Raises UsageError with ``taken`` as its message if another process holds the lock, and closes ``descriptor``.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UsageError(taken, hint=hint) from error
