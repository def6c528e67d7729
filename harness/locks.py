# SPDX-License-Identifier: MIT
"""All locks of the harness, made by name, so that the tests can check the order in which locks are taken.

docs/threads.md says what each protects, and has the order and the rules. The functions are called as
``locks.lock(…)``: the tests replace them by functions whose locks record their holders.
"""

from __future__ import annotations

import threading


def turn(_name: str) -> threading.RLock:
    """Return a turn: a reentrant lock whose holder acts and calls back, one thread at a time."""
    return threading.RLock()


def lock(_name: str) -> threading.Lock:
    """Return a lock, held for a few lines that call no callback and do not wait."""
    return threading.Lock()


def condition(_name: str) -> threading.Condition:
    """Return a condition. Its lock is like :func:`lock`'s. A wait releases it."""
    return threading.Condition()


def gate(_name: str) -> threading.Lock:
    """Return a closed gate: the waiting thread acquires it, another one opens it by releasing it."""
    closed = threading.Lock()
    closed.acquire()
    return closed
