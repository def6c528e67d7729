# SPDX-License-Identifier: MIT
"""Every lock of the harness, made by its name, so that the tests can check in which order locks are taken.

docs/threads.md says what each protects, and gives the rules. The functions are called as ``locks.lock(…)``: the tests
put others in their place, whose locks note who holds what.
"""

from __future__ import annotations

import threading

TURNS = ("follower", "events", "tape")
"""Turns, outermost first. The holder of a turn may call back, and takes no turn that stands before it."""

LOCKS = (
    "machine",
    "libvirt connection",
    "libvirt loading",
    "event log",
    "watch",
    "twin",
    "control channel",
    "process machine",
    "process",
    "WinRM sockets",
    "stage view",
)
"""Locks in the order in which they are taken, all of them inside every turn."""

GATES = ("QMP reply",)
"""Gates: one thread waits for them, holding nothing, until another opens them."""


def turn(_name: str) -> threading.RLock:
    """Return a turn: its holder brings what it has to others, one thread at a time, and may take it again."""
    return threading.RLock()


def lock(_name: str) -> threading.Lock:
    """Return a lock, held for a few lines that call nothing back."""
    return threading.Lock()


def condition(_name: str) -> threading.Condition:
    """Return a condition, whose lock is as :func:`lock`'s. Waiting lets go of it, and nothing else may be held."""
    return threading.Condition()


def gate(_name: str) -> threading.Lock:
    """Return a gate, closed: who waits acquires it, and another thread opens it by releasing it."""
    closed = threading.Lock()
    closed.acquire()
    return closed
