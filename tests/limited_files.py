# SPDX-License-Identifier: MIT
"""A limit on the size of files, where a test is about one that is too large: a tmpfs takes any size (Linux: mm/shmem.c)."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def limited_files(most: int) -> Iterator[None]:
    """Let this process, and what it starts, make no file of more than ``most`` bytes within the block."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
