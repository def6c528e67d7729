# SPDX-License-Identifier: MIT
"""Files that only their owner may read, whatever the umask: a guest's output, and the record of its run."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def keep_private(path: Path) -> None:
    """Make an empty file of mode 0600, or give an existing one that mode. Raises OSError."""
    os.close(open_private(path, os.O_WRONLY))


def open_private(path: Path, flags: int) -> int:
    """Open a file of mode 0600, creating it if needed; return its descriptor. Raises OSError."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises OSError."""
    if path.exists() and not path.is_file():
        # Opening a named pipe would wait for a writer for ever.
        raise OSError(errno.EINVAL, "not a regular file")
    return path.open("rb")


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Yield a file to write that becomes ``path`` at the end: of mode 0600, complete or not at all. Raises OSError.

    With ``durable`` it is on the disk before it becomes ``path``, so that a power failure leaves the old or the new one.
    It is written under a random name, so a link that another user planted there is not followed. An existing ``path`` that
    is not a file, such as ``/dev/stdout`` or a FIFO, is written directly.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    fresh = path.with_name(f".{secrets.token_hex(8)}.new")
    descriptor = open_private(fresh, os.O_WRONLY | os.O_EXCL | os.O_NOFOLLOW)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def write_private(path: Path, data: bytes | str, *, durable: bool = False) -> None:
    """Write a file as :func:`replacing` does; text as UTF-8. Raises OSError."""
    with replacing(path, durable=durable) as file:
        file.write(data.encode("utf-8", "replace") if isinstance(data, str) else data)
