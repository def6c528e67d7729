# SPDX-License-Identifier: MIT
"""A place: the directory that holds one root, locked while it is used and removed afterwards.

What a killed program left is removed by the next one. Nothing is removed across a mount: what is mounted below a place
is unmounted first, and a place with a mount that does not go stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.host.file_lock import locked
from harness.interrupts import uninterrupted
from harness.program import run_program

PREFIX = "root-"
SPACE_NEEDED = 6 << 30
"""Bytes: the root with its packages, the Python environment, the runs of all tests."""


def mounts_below(place: Path, mountinfo: str) -> list[Path]:
    """Return what is mounted at or below a directory, by the text of ``/proc/self/mountinfo``; the latest first."""
    points = [line.split(" ")[4] for line in mountinfo.splitlines() if line.count(" ") > 4]
    # proc(5) escapes space, tab, newline and backslash in octal.
    plain = [Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)) for point in points]
    return [point for point in reversed(plain) if point.is_relative_to(place)]


def remove(place: Path) -> None:
    """Unmount what is mounted below a directory, then remove it. Raises InfrastructureError if either fails."""
    mountinfo = Path("/proc/self/mountinfo")
    for point in mounts_below(place, mountinfo.read_text()):
        run_program(["umount", "--no-canonicalize", point], Deadline(30, f"unmounting {point}"))
    if left := mounts_below(place, mountinfo.read_text()):
        raise InfrastructureError(
            f"{place} is not removed: {left[0]} is still mounted",
            hint=f"Find who uses it: fuser -vm {left[0]}",
        )
    problems: list[OSError] = []

    def gone() -> bool:
        try:
            shutil.rmtree(place)
        except FileNotFoundError:
            return not place.exists()
        except OSError as error:
            # A process that is being killed may still have written.
            problems[:] = [error]
            return False
        return True

    Deadline(10, "removing a root").poll(
        gone, interval=0.2, error=lambda: InfrastructureError(f"{place} cannot be removed: {problems[0]}")
    )


def _sweep(base: Path, say: Callable[[str], None]) -> None:
    """Remove the places below ``base`` that nobody uses: their programs were killed, or asked to keep them."""
    for place in sorted(base.glob(f"{PREFIX}*")):
        with contextlib.suppress(BlockingIOError), _locked(place):
            say(f"removing what an earlier run left: {place}")
            remove(place)


@contextlib.contextmanager
def new_place(base: Path, say: Callable[[str], None], *, keep: bool = False) -> Iterator[tuple[Path, int]]:
    """Remove what earlier runs left, then yield a new directory and the descriptor of its lock, for children to inherit.

    The directory is removed afterwards unless ``keep``; then the next run removes it.
    """
    base.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        with locked(base / "lock", "making a root", Deadline(120, "the lock of the roots"), say):
            _sweep(base, say)
            _check_space(base)
            place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
            lock = held.enter_context(_locked(place))
        try:
            yield place, lock
        finally:
            if not keep:
                with uninterrupted():
                    remove(place)


def _check_space(base: Path) -> None:
    free = shutil.disk_usage(base).free
    if free < SPACE_NEEDED:
        raise InfrastructureError(
            f"{base} has {free / (1 << 30):.1f} GiB free; a root needs {SPACE_NEEDED >> 30} GiB",
            hint="Free some space, or set HOTPLUG_HARNESS_CACHE to a directory on a larger disk.",
        )


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[int]:
    """Hold the lock of a place; it ends with its last holder. Raises BlockingIOError if another holds it."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)
