# SPDX-License-Identifier: MIT
"""Copies of many files, of which most are read: a file's bytes take 0.3 ms of processor time to copy, a link to it 0.02 ms."""

from __future__ import annotations

import contextlib
import os
import shutil


def link_or_copy(source: str, copy: str, *, follow_symlinks: bool = True) -> None:
    """Make ``copy`` another name of a file that nobody writes into; a copy where that is on another file system.

    A file that is replaced, as Python and pytest replace what they compiled, is replaced under one name alone.
    """
    if not os.path.islink(source):  # noqa: PTH114
        with contextlib.suppress(OSError):
            os.link(source, copy)
            return
    shutil.copy2(source, copy, follow_symlinks=follow_symlinks)
