# SPDX-License-Identifier: MIT
"""Leases of versions that kept them in ``/run/lock`` or ``/tmp``: counted, to report that nothing waits for them any more."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import stat
from pathlib import Path

FORMER = (Path("/run/lock/hotplug-harness"), Path("/tmp/hotplug-harness"))  # noqa: S108 - only looked at
MOST_FILES = 1000


def former_leases() -> int:
    """Return how many leases are held by machines that an older version started. At most a thousand files are examined."""
    count = 0
    for directory in FORMER:
        with contextlib.suppress(OSError):
            folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                with os.scandir(folder) as entries:
                    names = [entry.name for entry in itertools.islice(entries, MOST_FILES)]
                count += sum(_is_held(folder, name) for name in names if name.endswith(".lease"))
            finally:
                os.close(folder)
    return count


def _is_held(folder: int, name: str) -> bool:
    """Return whether a process holds flock(2) on the file, by a shared lock that is released at once."""
    with contextlib.suppress(OSError):
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False
