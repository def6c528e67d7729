# SPDX-License-Identifier: MIT
"""Files that only their owner may read, whatever the umask: what a guest said, and what was done to it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO


def keep_private(path: Path) -> None:
    """Make an empty file of mode 0600 if there is none; one that is there is made so. Raises OSError."""
    os.close(open_private(path, os.O_WRONLY))


def open_private(path: Path, flags: int) -> int:
    """Open a file, made if it is not there, of mode 0600; return its descriptor. Raises OSError."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read it. Raises OSError."""
    if path.exists() and not path.is_file():
        # Opening a named pipe would wait for a writer for ever.
        raise OSError(errno.EINVAL, "not a regular file")
    return path.open("rb")
