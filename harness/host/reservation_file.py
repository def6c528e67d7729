# SPDX-License-Identifier: MIT
"""The file of a reservation, in the directory of leases: its contents, and the time until which it counts.

No process holds a reservation open. It counts until its end time, even if its maker's process has ended. Its owner is
the file's owner. The contents are not trusted: no link is followed, and only small regular files are read. A claim of
more than :data:`LONGEST` from now on does not count.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable
from typing import Annotated

import msgspec

from harness.history.json_file import read_open

RESERVATION = re.compile(r"[0-9a-f]{16}\.reservation")

LONGEST = 7 * 86_400
"""The longest reservation in seconds from now on. A user who needs the host for longer reserves it again."""

LONGEST_WHY = 200
"""The most characters of a reason."""

LARGEST_FILE = 2048


class ReservationClaim(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of a reservation's file: ``until`` in seconds since the epoch, and ``why``, for people."""

    until: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
    why: Annotated[str, msgspec.Meta(max_length=LONGEST_WHY)]


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation. ``uid`` is the owner of its file, as the kernel reports it."""

    name: str
    uid: int
    claim: ReservationClaim


def create(folder: int, claim: ReservationClaim) -> str:
    """Make a reservation's file and return its name. Raises OSError."""

    def write(descriptor: int) -> None:
        data = msgspec.json.encode(claim)
        if os.write(descriptor, data) != len(data):
            raise OSError(28, "No space left on device")

    name, descriptor = publish(folder, ".reservation", write)
    os.close(descriptor)
    return name


def publish(folder: int, suffix: str, prepare: Callable[[int], None]) -> tuple[str, int]:
    """Make a file that other users can see only after ``prepare`` has had its descriptor. Raises OSError.

    Return its name, random and ending in ``suffix``, and the descriptor.
    """
    draft, name = f"{secrets.token_hex(8)}.new", f"{secrets.token_hex(8)}{suffix}"
    descriptor = os.open(
        draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
    )
    try:
        prepare(descriptor)
        # Others may read the content, whatever the umask. Only now can they test its locks.
        os.fchmod(descriptor, 0o644)
        # A second random name, which no other user can guess and take.
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        os.close(descriptor)
        raise
    return name, descriptor


def read(folder: int, name: str) -> Reservation | None:
    """Return the reservation of that name in a directory, None if the file is not a reservation.

    :func:`counts` says whether it has ended.
    """
    if not RESERVATION.fullmatch(name):
        return None
    try:
        # The file may be a FIFO or a link. Opening it must not block or follow the link.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    try:
        uid = os.fstat(descriptor).st_uid
        claim = read_open(descriptor, ReservationClaim, largest=LARGEST_FILE)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if claim is None or claim.until > time.time() + LONGEST or not claim.why.isprintable():
        return None
    return Reservation(name=name, uid=uid, claim=claim)


def counts(each: Reservation | None) -> bool:
    """Return whether a reservation counts now."""
    return each is not None and each.claim.until > time.time()
