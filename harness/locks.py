# SPDX-License-Identifier: MIT
"""Every lock of the harness, made by its name, so that the tests can check in which order locks are taken.

docs/threads.md says what each protects, and gives the order and the rules. The functions are called as
``locks.lock(…)``: the tests put others in their place, whose locks note who holds what.
"""

from __future__ import annotations

import threading


def turn(_name: str) -> threading.RLock:
    """Return a turn: its holder acts and calls back, one thread at a time. The holder may take it again."""
    return threading.RLock()


def lock(_name: str) -> threading.Lock:
    """Return a lock, held for a few lines that call nothing back and wait for nothing."""
    return threading.Lock()


def condition(_name: str) -> threading.Condition:
    """Return a condition. Its lock is like :func:`lock`'s; a wait releases it."""
    return threading.Condition()


def gate(_name: str) -> threading.Lock:
    """Return a closed gate: the thread that waits acquires it, another one opens it by releasing it."""
    closed = threading.Lock()
    closed.acquire()
    return closed
