# SPDX-License-Identifier: MIT
"""Run directories of nightly runs: which ones are kept, and how one is removed.

Only a directory in ``runs/`` of a nightly run is considered. No link is followed: files are removed relative to an
open directory. A nightly run under way is locked and not touched. Neither is a run whose machine still runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from harness.errors import InfrastructureError
from harness.history.run_directory import FACTS
from harness.host.registry import Registry
from harness.lab.lab_document import KeepRow
from harness.lab.nightly_state import LARGEST_STATE, STATE, read_state
from harness.lab.summary import word

DAY_S = 86_400.0


DOOMED = ".removed"
"""The suffix of a run directory that is being removed. The next pruning removes one that an interruption left."""


class KeptRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run directory of a nightly run that began ``at``, in seconds since the epoch.

    ``told``: the nightly run's state has its result. ``held``: its verdict holds. ``size``: bytes on the disk.
    """

    night: Path
    name: str
    at: float
    told: bool
    held: bool
    size: int

    @property
    def path(self) -> Path:
        """The directory's path."""
        return self.night / "runs" / self.name


@contextlib.contextmanager
def kept_runs(into: Path) -> Iterator[list[KeptRun]]:
    """Give the run directories of all nightly runs in ``into`` that are not in use. They stay locked meanwhile.

    Raises InfrastructureError if ``into`` cannot be read.
    """
    try:
        names = sorted(os.listdir(into))  # noqa: PTH208
    except FileNotFoundError:
        names = []
    except OSError as error:
        raise InfrastructureError(f"cannot read {into}: {error.strerror}") from error
    used = {os.path.realpath(entry.directory) for entry in Registry().entries() if entry.harness.alive()}
    with contextlib.ExitStack() as held:
        found: list[KeptRun] = []
        for name in names:
            state = _locked_state(into / name, held)
            if state is not None:
                found += _of_night(into / name, state, used)
        yield found


def _locked_state(night: Path, held: contextlib.ExitStack) -> bytes | None:
    """Return the state of a nightly run, locked. None if it is not a nightly run, or is under way."""
    try:
        if not stat.S_ISDIR(night.lstat().st_mode):
            return None
        descriptor = os.open(night / STATE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    held.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with open(descriptor, "rb", closefd=False) as opened:
            return opened.read(LARGEST_STATE)
    except OSError:
        return None


def _of_night(night: Path, state: bytes, used: set[str]) -> list[KeptRun]:
    try:
        header, outcomes, _ = read_state(state)
        at = datetime.fromisoformat(header.started).timestamp()
    except (ValueError, OverflowError):
        return []
    held: dict[str, bool] = {}
    for outcome in outcomes.values():
        for run in outcome.runs:
            held[Path(run).name] = word(outcome) == "holds" and run == outcome.runs[-1]
    found = []
    with contextlib.suppress(OSError), _opened(night) as folder:
        for name in sorted(os.listdir(folder)):  # noqa: PTH208 - of a descriptor
            path = night / "runs" / name
            if os.path.realpath(path) in used or not _is_run(folder, name):
                continue
            found.append(
                KeptRun(
                    night=night, name=name, at=at, told=name in held, held=held.get(name, False), size=_size(path),
                )
            )  # fmt: skip
    return found


def _is_run(folder: int, name: str) -> bool:
    """Return whether a directory is a run, or the rest of one whose removal was interrupted."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return False
    if name.startswith(".") and name.endswith(DOOMED):
        return True
    try:
        return stat.S_ISREG(os.stat(f"{name}/{FACTS}", dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _size(path: Path) -> int:
    """Return the bytes that a directory takes on its disk. The targets of its links are not counted."""
    total = 0
    for place, folders, files in os.walk(path):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118
    return total


def doomed(runs: Iterable[KeptRun], keep: KeepRow, *, now: float) -> list[KeptRun]:
    """Return the runs to remove, oldest first: those too old, then as many as are needed for the rest to fit.

    If the total is too large, runs that held are removed before others.
    """
    rest = sorted(runs, key=lambda run: (run.at, run.name))
    gone = [run for run in rest if run.name.endswith(DOOMED) or _too_old(run, keep, now)]
    if keep.total is not None:
        named = {run.path for run in gone}
        left = [run for run in rest if run.path not in named]
        over = sum(run.size for run in left) - int(keep.total)
        for run in sorted(left, key=lambda run: (not run.held, run.at, run.name)):
            if over <= 0:
                break
            gone.append(run)
            over -= run.size
    return gone


def _too_old(run: KeptRun, keep: KeepRow, now: float) -> bool:
    days = keep.days if run.held else keep.failed_days
    return days is not None and run.at < now - days * DAY_S


def remove_runs(runs: Sequence[KeptRun]) -> dict[str, str]:
    """Remove run directories. Return the reason for each that is still there, by name."""
    failed: dict[str, str] = {}
    for run in runs:
        try:
            with _opened(run.night) as folder:
                name = run.name
                if not name.endswith(DOOMED):
                    # From now on no process takes it for a run, although half of its files may be gone.
                    name = f".{run.name}{DOOMED}"
                    os.rename(run.name, name, src_dir_fd=folder, dst_dir_fd=folder)
                shutil.rmtree(name, dir_fd=folder)
        except OSError as error:
            failed[run.name] = error.strerror or str(error)
    return failed


@contextlib.contextmanager
def _opened(night: Path) -> Iterator[int]:
    """Give a descriptor of a nightly run's ``runs``. A link is refused. Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    above = os.open(night, flags)
    try:
        folder = os.open("runs", flags, dir_fd=above)
    finally:
        os.close(above)
    try:
        yield folder
    finally:
        os.close(folder)
