# SPDX-License-Identifier: MIT
"""The file of a reservation, which lies among the leases: what it says, and until when it counts.

Nobody holds a reservation open: it counts until the time that it says, however long ago its maker's process ended. Its owner is
whom the kernel says. What others write there is not trusted: no link is followed, only small regular files are read, and one that
claims more than :data:`LONGEST` from now on counts for nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from typing import Annotated

import msgspec

from harness.history.json_file import read_open

RESERVATION = re.compile(r"[0-9a-f]{16}\.reservation")

LONGEST = 7 * 86_400
"""Seconds that a reservation may last, from now on. Who needs a host for longer says so again."""

LONGEST_WHY = 200
"""Characters of a reason."""

LARGEST_FILE = 2048


class ReservationClaim(msgspec.Struct, frozen=True, kw_only=True):
    """What a reservation's file says: ``until`` in seconds since the epoch, and ``why``, for people."""

    until: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
    why: Annotated[str, msgspec.Meta(max_length=LONGEST_WHY)]


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation; ``uid`` is the owner of its file, as the kernel says."""

    name: str
    uid: int
    claim: ReservationClaim


def create(folder: int, claim: ReservationClaim) -> str:
    """Make a reservation's file and return its name. Raises OSError."""
    draft, name = f"{secrets.token_hex(8)}.new", f"{secrets.token_hex(8)}.reservation"
    descriptor = os.open(
        draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
    )
    try:
        data = msgspec.json.encode(claim)
        if os.write(descriptor, data) != len(data):
            raise OSError(28, "No space left on device")
        os.fchmod(descriptor, 0o644)
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        raise
    finally:
        os.close(descriptor)
    return name


def read(folder: int, name: str) -> Reservation | None:
    """Return the reservation of that name in a directory, None if the file is not a reservation.

    :func:`counts` says whether it is over.
    """
    if not RESERVATION.fullmatch(name):
        return None
    try:
        # What lies there may be a FIFO or a link: that must not be waited for or followed.
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
    """Tell whether a reservation counts now."""
    return each is not None and each.claim.until > time.time()
