# SPDX-License-Identifier: MIT
"""Delicate code: Python code of the standard library where an exception of a signal handler would leave something behind.

A handler runs between two bytecodes of the main thread (Python: signal). Between a lock that ``Condition.__enter__`` has
taken and the ``with`` block that would release it, an exception leaves a lock that nobody releases, and the next thread
that wants it waits for ever. Between what ``ExitStack.enter_context`` has entered and its note, nothing is left again.
A callback of the garbage collector, as Hypothesis has one, loses the exception: Python prints and ignores it.
"""

from __future__ import annotations

import _thread
import contextlib
import gc
import os
import threading
from types import CodeType, FrameType

SOON = 0.001
"""Seconds after which a signal is sent once more."""

NEAREST = 8
"""How many frames, from the innermost outwards, are looked at for protected code."""

CONTEXTS = contextlib.ExitStack.__exit__.__code__.co_filename
IMPORTS = "<frozen importlib._bootstrap>"
LOCKS = {threading.Condition.__enter__.__code__, threading.Condition.__exit__.__code__}
WAIT = threading.Condition.wait.__code__

_protected: set[CodeType] = set()


def protect(*codes: CodeType) -> None:
    """Make code delicate, with all that it calls."""
    _protected.update(codes)


def is_delicate(frame: FrameType | None) -> bool:
    """Return whether an exception in this frame, the innermost of the main thread, would leave something behind."""
    if frame is None:
        return False
    code = frame.f_code
    if code.co_filename in (CONTEXTS, IMPORTS) or code in LOCKS:
        return True
    if code is WAIT and "gotit" not in frame.f_locals:
        # Its lock is released, or is about to be, and nothing takes it again yet.
        return True
    if any(getattr(callback, "__code__", None) is code for callback in gc.callbacks):
        return True
    inner: FrameType | None = frame
    for _ in range(NEAREST):
        if inner is None:
            return False
        if inner.f_code in _protected:
            return True
        inner = inner.f_back
    return False


def send_again(number: int) -> bool:
    """Send a signal to this process a moment later. Return False if that is not possible."""

    def later() -> None:
        threading.Event().wait(SOON)
        os.kill(os.getpid(), number)

    try:
        # Thread.start() takes locks, and so it is delicate itself.
        _thread.start_new_thread(later, ())
    except RuntimeError:
        return False
    return True
