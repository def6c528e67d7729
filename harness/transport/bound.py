# SPDX-License-Identifier: MIT
"""An outer time limit for a library's work. Libraries have read timeouts, and a guest that sends a byte from time to
time, or answers "not yet" for ever, never exceeds one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar

from harness.deadline import Deadline
from harness.errors import GuestHang

T = TypeVar("T")

GRACE = 1.0
"""Seconds in which aborted work must end."""


def bounded(
    work: Callable[[], T], deadline: Deadline, *, abort: Callable[[], None], late: Callable[[], GuestHang]
) -> T:
    """Do ``work`` on a separate thread and return its result or raise its error.

    When the deadline passes, or the caller is interrupted, ``abort`` closes the work's connection, which ends the work.
    Then ``late()`` is raised. The caller waits at most :data:`GRACE` seconds longer than the deadline.
    """
    future: Future[T] = Future()

    def body() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            future.set_exception(error)

    thread = threading.Thread(target=body, name=f"bounded {deadline.what}"[:60], daemon=True)
    thread.start()
    try:
        return future.result(deadline.remaining())
    except FutureTimeout:
        # The work was done at the last moment, or raised a TimeoutError itself, which is the same class.
        if future.done():
            return future.result()
        abort()
        thread.join(GRACE)
        raise late() from None
    except BaseException:
        abort()
        raise


def too_late(name: str, deadline: Deadline, stage: str) -> GuestHang:
    """Return the error for work whose deadline passed; ``stage`` is the last one that it reached."""
    return GuestHang(
        f"{name}: {deadline.what}: not done within {deadline.seconds:g} s: last stage reached {stage!r}"
    )
