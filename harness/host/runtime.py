# SPDX-License-Identifier: MIT
"""The runtime directory: a short, private place for sockets, whose paths may have at most 107 bytes (unix(7)).

Its owner holds flock(2) on it, which distinguishes a directory in use from one whose owner was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import time
import weakref
from pathlib import Path
from stat import S_ISDIR

from harness.errors import InfrastructureError

LONGEST_SOCKET_PATH = 107
LONGEST_NAME = 16
"""Bytes kept for the longest socket name in the directory, with its slash."""


PREFIX = "hotplug-"
"""The prefix of every runtime directory's name."""


def remove(path: Path) -> None:
    """Remove a runtime directory and the sockets in it. Other files, and files of other users, stay."""
    try:
        stat = path.lstat()
    except OSError:
        return
    if path.name.startswith(PREFIX) and S_ISDIR(stat.st_mode) and stat.st_uid == os.getuid():
        shutil.rmtree(path, ignore_errors=True)


RANDOM_BYTES = 8
"""Random bytes in the name: it cannot be guessed, and no two are ever the same."""

NEW = f"{PREFIX}new-"
"""The prefix of the name until the directory is locked. Then it gets its own name."""

NAME = re.compile(f"{PREFIX}(?:new-)?[0-9a-f]{{{2 * RANDOM_BYTES}}}")

UNLOCKED_AT_FIRST = 10.0
"""Seconds: a new directory this young may be about to be locked, which happens some microseconds after it was made."""


def abandoned() -> list[Path]:
    """Return the runtime directories of this user in the usual places whose owner is gone."""
    found = []
    for base in dict.fromkeys(_bases()):
        with contextlib.suppress(OSError):
            with os.scandir(base) as entries:
                paths = [base / entry.name for entry in entries if NAME.fullmatch(entry.name) and _own(entry)]
            found += [path for path in sorted(paths) if _ownerless(path)]
    return found


def _own(entry: os.DirEntry[str]) -> bool:
    """Return whether it belongs to this user. Other users may put any number of such names there."""
    try:
        return entry.stat(follow_symlinks=False).st_uid == os.getuid()
    except OSError:
        return False


def _ownerless(path: Path) -> bool:
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(folder)
        young = path.name.startswith(NEW) and time.time() - status.st_ctime < UNLOCKED_AT_FIRST
        if status.st_uid != os.getuid() or young:
            return False
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(folder)
    return True


def _bases() -> list[Path]:
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    usual = [Path("/run/user") / str(os.getuid()), Path("/tmp")]  # noqa: S108  the name is random, the mode private
    return [Path(named), *usual] if named.startswith("/") else usual


def _end(path: Path, new: Path, lock: list[int]) -> None:
    remove(path)
    remove(new)
    while lock:
        os.close(lock.pop())


class RuntimeDirectory:
    """A new directory with a random name and mode 0700 for the sockets of one machine.

    Raises InfrastructureError if none of the usual places takes one with a short enough path.
    """

    def __init__(self) -> None:
        tried: list[str] = []
        room = LONGEST_SOCKET_PATH - LONGEST_NAME - len(f"/{PREFIX}") - 2 * RANDOM_BYTES
        for base in _bases():
            if len(os.fsencode(base)) > room:
                tried.append(f"{base} (path too long)")
                continue
            # Two random words: a user who sees the first name must not be able to take the second.
            words = secrets.token_hex(RANDOM_BYTES), secrets.token_hex(RANDOM_BYTES)
            self.path, new = base / f"{PREFIX}{words[0]}", base / f"{NEW}{words[1]}"
            # Removed also when the machine is never closed. Arranged first, so that no interrupt comes in between.
            lock: list[int] = []
            self._removal = weakref.finalize(self, _end, self.path, new, lock)
            try:
                new.mkdir(mode=0o700)
                lock.append(os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                fcntl.flock(lock[0], fcntl.LOCK_EX)
                new.rename(self.path)
            except OSError as error:
                self._removal.detach()
                tried.append(f"{base} ({error.strerror})")
                continue
            return
        raise InfrastructureError(
            f"no place for the machine's sockets: tried {', '.join(tried)}",
            hint=f"Set XDG_RUNTIME_DIR to a writable directory whose path has at most {room} bytes.",
        )

    def remove(self) -> None:
        """Remove the directory and the sockets in it. A second call does nothing."""
        self._removal()
