# SPDX-License-Identifier: MIT
"""Reservations: which user has this host until when, and why. Nightly runs start nothing on a reserved host.

A reservation does not stop other commands. A user can start any run, and sees a note about another user's reservation.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from harness.errors import InfrastructureError, UsageError
from harness.host import reservation_file
from harness.host.end_time import shown
from harness.host.lease_directory import LeaseDirectory, lease_directory, user_name
from harness.host.lease_file import MOST_FILES
from harness.host.reservation_file import LONGEST, LONGEST_WHY, Reservation, ReservationClaim
from harness.invocation import invocation

MOST_OWN = 16
"""The most reservations of a host that one user can have at once."""


class Reservations:
    """All reservations of this host, in the directory of leases. The default directory is the one that counts for this
    user."""

    def __init__(self, directory: LeaseDirectory | Path | None = None) -> None:
        if isinstance(directory, Path):
            directory = LeaseDirectory(path=directory)
        self.place = directory or lease_directory(os.environ)

    def current(self) -> list[Reservation]:
        """Return the reservations that count now, the one with the latest end first. Raises InfrastructureError."""
        if not self.place.exists():
            return []
        with self._opened() as folder:
            return self._current(folder)

    def make(self, *, until: float, why: str, now: float) -> Reservation:
        """Reserve the host for this user. Times are in seconds since the epoch.

        Raises UsageError for an end time that is too late, or an invalid reason. Raises InfrastructureError if it
        cannot be written.
        """
        if until - now > LONGEST:
            raise UsageError(
                f"a reservation lasts {LONGEST // 86_400} days at most: {shown(until)} is later",
                hint="Reserve the host again after that time.",
            )
        if not why.strip() or len(why) > LONGEST_WHY or not why.isprintable():
            raise UsageError(
                f"--why needs a reason of 1 to {LONGEST_WHY} printable characters",
                hint="For example --why 'a debugger is attached'",
            )
        claim = ReservationClaim(until=int(until), why=why.strip())
        with self._opened() as folder:
            if sum(each.uid == os.geteuid() for each in self._current(folder)) >= MOST_OWN:
                raise UsageError(
                    f"you already have {MOST_OWN} reservations of this host",
                    hint=f"Release them: {invocation('reserve', '--release')}",
                )
            self._remove_over(folder)
            return Reservation(name=reservation_file.create(folder, claim), uid=os.geteuid(), claim=claim)

    def release(self) -> list[Reservation]:
        """Release this user's reservations, as root those of all users. Return them. Raises InfrastructureError."""
        if not self.place.exists():
            return []
        root = os.geteuid() == 0
        with self._opened() as folder:
            found = [each for each in self._current(folder) if root or each.uid == os.geteuid()]
            for each in found:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(each.name, dir_fd=folder)
            self._remove_over(folder)
        return found

    def _all(self, folder: int) -> list[Reservation]:
        with os.scandir(folder) as entries:
            names = [entry.name for entry, _ in zip(entries, range(MOST_FILES), strict=False)]
        return [each for name in names if (each := reservation_file.read(folder, name)) is not None]

    def _current(self, folder: int) -> list[Reservation]:
        found = [each for each in self._all(folder) if reservation_file.counts(each)]
        return sorted(found, key=lambda each: (-each.claim.until, each.name))

    def _remove_over(self, folder: int) -> None:
        """Remove this user's reservations that have ended."""
        for each in self._all(folder):
            if each.uid == os.geteuid() and not reservation_file.counts(each):
                with contextlib.suppress(OSError):
                    os.unlink(each.name, dir_fd=folder)

    def _opened(self) -> contextlib.AbstractContextManager[int]:
        return self.place.opened(
            lambda error: InfrastructureError(
                f"cannot use the reservations in {self.place.path}: {error.strerror}",
                hint="They are kept with the leases. Run 'harness doctor' to check those.",
            )
        )


def described(each: Reservation) -> str:
    """Return a reservation as one line."""
    return f"reserved by {user_name(each.uid)} until {shown(each.claim.until)}: {each.claim.why}"


def why_reserved(place: LeaseDirectory) -> str:
    """Return the reservation with the latest end as one line, "" for none.

    Where leases cannot be used, there are no reservations. Starting a machine reports what is wrong there.
    """
    try:
        found = Reservations(place).current()
    except InfrastructureError:
        return ""
    return described(found[0]) if found else ""
