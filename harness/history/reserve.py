# SPDX-License-Identifier: MIT
"""The reserve: disk space that a history keeps for the records that end its run.

A file's blocks can be allocated before they are written (fallocate(2), FALLOC_FL_KEEP_SIZE). A history always has some
after its end, so a full disk is noticed while its consequences can still be recorded.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from harness.errors import MAKE_ROOM, InfrastructureError

SIZE = 256 << 10
"""Bytes that stay free for a run's last records, its verdict and its facts."""

STEP = 256 << 10
"""Bytes that are allocated at once."""

LEAST = 64 << 10
"""Bytes on a disk below which it counts as full: data that QEMU appends may already be lost."""

KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE (linux/falloc.h)."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The system's errors for a full disk, or an exhausted quota."""

_libc = ctypes.CDLL(None, use_errno=True)


class Reserve:
    """Allocates room after the end of the open file ``descriptor``, where the file system supports it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._allocated = 0
        self._able = True

    def covers(self, end: int) -> bool:
        """Return whether the file may grow to ``end`` bytes without use of the reserve. Raises OSError."""
        while self._able and end + SIZE > self._allocated:
            try:
                self._allocate(self._allocated, STEP)
            except OSError as error:
                if error.errno in FULL:
                    return False
                # Only some file systems support it, and the others report different errors.
                self._able = False
                break
            self._allocated += STEP
        return True

    def _allocate(self, offset: int, length: int) -> None:
        done = _libc.fallocate(self._descriptor, KEEP_SIZE, ctypes.c_long(offset), ctypes.c_long(length))
        if done:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def release(self) -> None:
        """Give back the space that was not written. Raises OSError."""
        os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size)
        self._able = False


def check_room(folder: Path) -> None:
    """Raise InfrastructureError if the disk of ``folder`` is full."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return  # the next write there raises the reason
    free = (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail) * disk.f_frsize
    if disk.f_blocks and free < LEAST:
        raise InfrastructureError(
            f"the host's disk is full: {free} bytes are free for {folder}", hint=MAKE_ROOM
        )
