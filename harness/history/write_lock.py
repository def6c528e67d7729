# SPDX-License-Identifier: MIT
"""The lock on a history that is being written. It ends with the process that writes it, even if that is killed.

A reader distinguishes by it a run that goes on from one that was killed. It excludes nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path

from harness.history.private import open_regular


def take(descriptor: int) -> None:
    """Lock an open history until it is closed. On a file system without locks (flock(2)) nothing is locked."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Return whether a process writes the history at ``path``, as far as its file system can tell."""
    try:
        with open_regular(path) as file:
            # Shared, so that two readers do not take each other for the writer.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
