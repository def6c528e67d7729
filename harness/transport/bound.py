# SPDX-License-Identifier: MIT
"""An outer end for work that a library does: libraries know read timeouts, and a guest that sends a byte now and
then, or answers "not yet" for ever, satisfies every one of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar

from harness.deadline import Deadline
from harness.errors import HarnessError

T = TypeVar("T")

GRACE = 1.0
"""Seconds that aborted work gets to notice."""


def bounded(
    work: Callable[[], T], deadline: Deadline, *, abort: Callable[[], None], late: Callable[[], HarnessError]
) -> T:
    """Do ``work`` on a thread of its own and return what it returns or raise what it raises.

    When the deadline passes, or the caller is interrupted, ``abort`` takes the work's connection away, which ends it;
    then ``late()`` is raised. The caller waits at most :data:`GRACE` seconds longer than the deadline.
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
        # Done at the last moment, or the work itself raised a TimeoutError, which is the same class.
        if future.done():
            return future.result()
        abort()
        thread.join(GRACE)
        raise late() from None
    except BaseException:
        abort()
        raise
