# SPDX-License-Identifier: MIT
"""How the host's scheduler treats a process: whether it is stopped, and how long it waits for a processor."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple


def is_stopped(pid: int) -> bool:
    """Return whether a signal or a debugger has stopped the process (proc_pid_stat(5): state ``T`` or ``t``)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return _state(stat) in (b"T", b"t")


def waiting_share(pid: int, seconds: float) -> float:
    """Watch the process for ``seconds`` and return the share of its demand that it spent waiting, 0.0 to 1.0.

    The demand is the time that its threads ran plus the time that they were ready and waited for a processor (Linux:
    scheduler/sched-stats.rst, ``/proc/<pid>/schedstat``). A process without demand has a share of 0.
    """
    before = _threads(pid)
    threading.Event().wait(seconds)
    ran = waited = 0
    for thread, now in _threads(pid).items():
        then = before.get(thread, now)
        ran += now.ran - then.ran
        waited += now.waited - then.waited
        if now == then and now.ready:
            # The kernel counts a wait when it ends: this one has lasted all the time.
            waited += int(seconds * 1e9)
    return waited / (ran + waited) if ran + waited else 0.0


class _Thread(NamedTuple):
    """Nanoseconds that a thread ran and waited, and whether it runs or is ready to run."""

    ran: int
    waited: int
    ready: bool


def _threads(pid: int) -> dict[str, _Thread]:
    found = {}
    for thread in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        try:
            ran, waited, _slices = (thread / "schedstat").read_text("ascii").split()
            state = _state((thread / "stat").read_bytes())
        except (OSError, ValueError):
            continue  # it ended, or the kernel has no such account
        found[thread.name] = _Thread(int(ran), int(waited), state == b"R")
    return found


def _state(stat: bytes) -> bytes:
    """Return the state in a ``stat`` file. It follows the name, which may contain any text."""
    return stat[stat.rfind(b")") + 2 :][:1]
