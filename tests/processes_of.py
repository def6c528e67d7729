# SPDX-License-Identifier: MIT
"""Which processes belong to a folder: their command names something in it, or it has the output of a forked run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def words_of(pid: int) -> list[str]:
    """Return the command line of a process, [] if it is gone or a zombie."""
    with contextlib.suppress(OSError):
        return [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]
    return []


def forked_output(pid: int) -> str:
    """Return the file that a run writes its result to which a fork server has forked, "" for any other process.

    Its command line is the server's (:mod:`harness.forking`), whose own output is /dev/null.
    """
    if "harness.forking" in words_of(pid):
        with contextlib.suppress(OSError):
            output = str(Path(f"/proc/{pid}/fd/1").readlink())
            return "" if output == os.devnull else output
    return ""


def processes_of(folder: str) -> Iterator[int]:
    """Yield the processes that belong to a folder, given as the beginning of its path."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            pid = int(entry.name)
            if any(folder in word for word in (*words_of(pid), forked_output(pid))):
                yield pid
