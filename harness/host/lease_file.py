# SPDX-License-Identifier: MIT
"""The file of a lease: its content, and the locks on it that only its owner can hold.

The file's content is written once. Its state is shown by locks on three of its bytes. They are taken before any other user
can open the file, and released one by one: a lock that is only ever released cannot be kept from its owner. They are write
locks of an open file description (fcntl(2), F_OFD_SETLK). Taking one needs the right to write the file, testing for one
needs none. The kernel releases them with the process that holds them, even if it is killed. So no other user can
make a dead lease look alive, or keep a live one from being granted.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import stat
import struct
import time
from typing import Annotated

import msgspec

from harness.history.json_file import read_open
from harness.host import reservation_file

ALIVE, WAITING, ENTERING = range(3)
"""The bytes that are locked: while the lease is held or waited for, until it is granted, and until it has its time."""

LARGEST_FILE = 1024
MOST_FILES = 4096
"""Entries of a directory that are examined. In a larger one the held leases cannot be counted."""

NAME = re.compile(r"[0-9a-f]{16}\.lease")
DRAFT = re.compile(r"[0-9a-f]{16}\.new")

UNLOCKED_AT_FIRST = 10.0
"""Seconds: a draft this young may be about to be locked, which happens some microseconds after it was made."""

_LOCK = "hhqqi4x"
"""``struct flock`` of 64-bit Linux: type, whence, start, length, process."""

Amount = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class LeaseClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A lease's content. ``since`` is nanoseconds of the host's clock since boot, ``device`` where the disk space is."""

    since: Amount
    pid: Amount
    vcpus: Amount
    memory: Amount
    disk: Amount
    device: Amount


class LeaseFile(msgspec.Struct, frozen=True, kw_only=True):
    """A lease's file as it was found. ``uid`` is its owner, from the kernel. ``claim`` is None if it has none.

    ``alive`` while it is held or waited for; ``entering`` until it has its time of arrival.
    """

    name: str
    uid: int
    alive: bool
    entering: bool = False
    granted: bool = False
    claim: LeaseClaim | None = None


class LeaseFolder(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a directory of leases. ``others`` counts other files by owner; ``flooded`` if not all were examined."""

    files: list[LeaseFile]
    others: dict[int, int]
    flooded: bool


class LeaseSweep(msgspec.Struct, frozen=True, kw_only=True):
    """How many files were removed, and how many remain, by owner: their owner may remove them, or root."""

    removed: int
    others: dict[int, int]


def create(folder: int) -> tuple[str, int]:
    """Make a lease's file with all its locks held; return its name and its descriptor. Raises OSError."""
    return reservation_file.publish(
        folder, ".lease", lambda descriptor: _set(descriptor, fcntl.F_WRLCK, ALIVE, ENTERING + 1)
    )


def enter(descriptor: int, claim: LeaseClaim) -> None:
    """Write the content, and make the file count from now on. Raises OSError."""
    data = msgspec.json.encode(claim)
    if os.pwrite(descriptor, data, 0) != len(data):
        raise OSError(28, "No space left on device")
    _set(descriptor, fcntl.F_UNLCK, ENTERING)


def grant(descriptor: int) -> None:
    """Show that the lease is granted."""
    _set(descriptor, fcntl.F_UNLCK, WAITING)


def look(folder: int) -> LeaseFolder:
    """Return the content of a directory of leases. Raises OSError."""
    files: dict[tuple[int, int], LeaseFile] = {}
    others: dict[int, int] = {}
    with os.scandir(folder) as entries:
        names = [entry.name for entry, _ in zip(entries, range(MOST_FILES + 1), strict=False)]
    for name in names[:MOST_FILES]:
        inode, found = _look(folder, name)
        if isinstance(found, LeaseFile):
            # Another name for a lease counts no more than the lease.
            files.setdefault(inode, found)
        elif found is not None:
            others[found] = others.get(found, 0) + 1
    return LeaseFolder(files=list(files.values()), others=others, flooded=len(names) > MOST_FILES)


def _look(folder: int, name: str) -> tuple[tuple[int, int], LeaseFile | int | None]:
    """Return a file's inode, and its lease, or the owner of another file; None for one that is gone, or just begins."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        inode = status.st_dev, status.st_ino
        if not NAME.fullmatch(name) or not stat.S_ISREG(status.st_mode):
            other = DRAFT.fullmatch(name) or reservation_file.read(folder, name) is not None
            return inode, None if other else status.st_uid
        # It may be another file by now, a FIFO or a link, which must not be waited for or followed.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return (0, 0), None
    except OSError:
        return inode, status.st_uid
    try:
        status = os.fstat(descriptor)
        inode = status.st_dev, status.st_ino
        if not stat.S_ISREG(status.st_mode):
            return inode, status.st_uid
        if not _is_locked(descriptor, ALIVE):
            return inode, LeaseFile(name=name, uid=status.st_uid, alive=False)
        if _is_locked(descriptor, ENTERING):
            return inode, LeaseFile(name=name, uid=status.st_uid, alive=True, entering=True)
        claim = read_open(descriptor, LeaseClaim, largest=LARGEST_FILE)
        if claim is None:
            return inode, status.st_uid
        granted = not _is_locked(descriptor, WAITING)
        return inode, LeaseFile(name=name, uid=status.st_uid, alive=True, granted=granted, claim=claim)
    finally:
        os.close(descriptor)


def sweep(folder: int, *, dry: bool) -> LeaseSweep:
    """Remove this user's files of dead leases; as root, all files that are not live leases. ``dry`` only counts them.

    Raises OSError if the directory cannot be read.
    """
    root = os.geteuid() == 0
    removed, others = 0, dict[int, int]()
    with os.scandir(folder) as entries:
        for entry in itertools.islice(entries, None if root else MOST_FILES):
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                lease = NAME.fullmatch(entry.name) or reservation_file.RESERVATION.fullmatch(entry.name)
                if _is_held(folder, entry.name, status):
                    continue
                if root or (status.st_uid == os.geteuid() and (lease or DRAFT.fullmatch(entry.name))):
                    if not dry:
                        (os.rmdir if stat.S_ISDIR(status.st_mode) else os.unlink)(entry.name, dir_fd=folder)
                    removed += 1
                else:
                    others[status.st_uid] = others.get(status.st_uid, 0) + 1
    return LeaseSweep(removed=removed, others=others)


def _is_held(folder: int, name: str, status: os.stat_result) -> bool:
    """Return whether the file is a live lease, or is about to become one, or a reservation that counts."""
    if not stat.S_ISREG(status.st_mode):
        return False
    if reservation_file.counts(reservation_file.read(folder, name)):
        return True
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        young = DRAFT.fullmatch(name) is not None and time.time() - status.st_ctime < UNLOCKED_AT_FIRST
        return young or _is_locked(descriptor, ALIVE)
    finally:
        os.close(descriptor)


def _set(descriptor: int, kind: int, start: int, length: int = 1) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(_LOCK, kind, os.SEEK_SET, start, length, 0))


def _is_locked(descriptor: int, byte: int) -> bool:
    """Return whether a process holds a write lock on a byte. The test takes no lock."""
    asked = struct.pack(_LOCK, fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0)
    kind: int = struct.unpack(_LOCK, fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0]
    return kind != fcntl.F_UNLCK
