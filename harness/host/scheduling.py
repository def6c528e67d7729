# SPDX-License-Identifier: MIT
"""What the host's scheduler does with a process: whether it is stopped, and how long it waits for a processor."""

from __future__ import annotations

import threading
from pathlib import Path


def is_stopped(pid: int) -> bool:
    """Return whether a signal or a debugger has stopped the process (proc_pid_stat(5): state ``T`` or ``t``)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat[stat.rfind(b")") + 2 :][:1] in (b"T", b"t")


def waiting_share(pid: int, seconds: float) -> float:
    """Watch the process for ``seconds`` and return the share of its wish to run that it spent waiting, 0.0 to 1.0.

    The wish is the time that its threads ran and the time that they were ready to run and waited for a processor (Linux:
    scheduler/sched-stats.rst, ``/proc/<pid>/schedstat``). A process that wants nothing waits for nothing.
    """
    before = _spent(pid)
    threading.Event().wait(seconds)
    ran = waited = 0
    for thread, (run, wait) in _spent(pid).items():
        run_before, wait_before = before.get(thread, (run, wait))
        ran += run - run_before
        waited += wait - wait_before
    return waited / (ran + waited) if ran + waited else 0.0


def _spent(pid: int) -> dict[str, tuple[int, int]]:
    """Return for each thread the nanoseconds it ran and those it waited for a processor."""
    spent = {}
    for thread in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        try:
            run, wait, _slices = (thread / "schedstat").read_text("ascii").split()
        except (OSError, ValueError):
            continue  # it ended, or the kernel keeps no such account
        spent[thread.name] = int(run), int(wait)
    return spent
