# SPDX-License-Identifier: MIT
"""Leases: the share of a host that one machine holds while it runs, out of a budget that all users of the host share.

There is no daemon, and no lock that all share, because a process that holds such a lock for ever would stop all others. A
lease is a file in a directory where every user may write but may not remove other users' files
(:mod:`harness.host.lease_directory`). It counts as long as its owner holds the locks on it
(:mod:`harness.host.lease_file`). Age and process numbers prove nothing and are ignored.

A lease begins as a place in the queue. It is granted when it fits in with everything that is granted already *and*
with all earlier requests: first come, first served, so a large machine is never starved by small ones. The order comes
from the host's clock since boot, read once the file is visible. So a later request has a later time. A process that is
about to write its time is awaited (L. Lamport, A New Solution of Dijkstra's Concurrent Programming Problem, 1974).

Other users' files are not trusted: no link is followed, only small regular files are read, and their content
is numbers that are checked. A user who claims the whole host keeps the others waiting, like one who fills the host's
memory. A claim can do no more, and ``--private-leases`` ignores the others.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import msgspec

from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError
from harness.host import lease_file
from harness.host.budget import HostBudget, ResourceRequest, host_budget, size_text
from harness.host.former_leases import former_leases
from harness.host.lease_directory import LeaseDirectory, lease_directory, private_directory, user_name
from harness.host.lease_file import LeaseClaim, LeaseFile, LeaseSweep
from harness.host.reservations import Reservations, described
from harness.interrupts import uninterrupted
from harness.invocation import invocation
from harness.setup.lease_directory import VARIABLE

INTERVAL = 0.1
"""Seconds between two checks of the queue; each takes about a millisecond."""

PATIENCE = 2.0
"""Seconds to wait for a process that is about to write its time of arrival. That takes microseconds."""

SLOW = PATIENCE / 2
"""Seconds: a process that took longer than this to write its time may have been passed over, and enters again."""


class LeasesUnusable(InfrastructureError):
    """The directory of leases is unusable for every user: it is full, or cannot be written to."""


class HeldLease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease that is held, or waited for; ``uid`` is the owner of its file, from the kernel."""

    name: str
    uid: int
    granted: bool
    claim: LeaseClaim


class QueuePlace(msgspec.Struct, frozen=True, kw_only=True):
    """A machine's place in the queue: the first is next. It waits because of what is granted to others, and the budget."""

    number: int
    waiting: int
    request: ResourceRequest
    granted: ResourceRequest
    budget: HostBudget

    def __str__(self) -> str:
        return (
            f"place {self.number} of {self.waiting} in the queue: needs {self.request.vcpus} processors and "
            f"{size_text(self.request.memory)}; {self.granted.vcpus} of {self.budget.vcpus} processors, "
            f"{size_text(self.granted.memory)} of {size_text(self.budget.memory)} are taken"
        )


TellPlace = Callable[[QueuePlace], None]


class Lease:
    """A place in the queue, or the right to run a machine, until :meth:`release`; a context manager."""

    def __init__(self, directory: LeaseDirectory, name: str, descriptor: int, claim: LeaseClaim) -> None:
        self.directory = directory
        self.name = name
        self.claim = claim
        self.granted = False
        self._descriptor = descriptor
        self._entering: set[str] | None = None
        self._until = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def grant(self) -> None:
        """Make it the right to run a machine."""
        lease_file.grant(self._descriptor)
        self.granted = True

    def waits_for(self, entering: set[str]) -> bool:
        """Return whether another process may still have come before; ``entering`` are those that have not written a time.

        A process that was not there at the first check comes later in any case.
        """
        if self._entering is None:
            self._entering, self._until = entering, time.monotonic() + PATIENCE
        self._entering &= entering
        return bool(self._entering) and time.monotonic() < self._until

    def release(self) -> None:
        """Give the lease up. A second call does nothing."""
        with uninterrupted():
            if self._descriptor >= 0:
                with contextlib.suppress(OSError):
                    (self.directory.path / self.name).unlink()
                os.close(self._descriptor)
                self._descriptor = -1


class Leases:
    """All leases in a directory, by default in the one that counts for this user. It is made if it does not exist."""

    def __init__(self, directory: LeaseDirectory | Path | None = None) -> None:
        if isinstance(directory, Path):
            directory = LeaseDirectory(path=directory)
        self.place = directory or lease_directory(os.environ)
        self.directory = self.place.path

    def take(
        self,
        request: ResourceRequest,
        budget: HostBudget,
        deadline: Deadline,
        *,
        place: Path | None = None,
        waiting: TellPlace = lambda _: None,
    ) -> Lease:
        """Return a lease of ``request`` once it is this one's turn; ``place`` is where the disk space is taken.

        ``waiting`` is called with the place in the queue whenever it changed. Any end of the wait, Ctrl-C included, gives
        the place up. Raises UsageError for an impossible request, InfrastructureError when the deadline passes or the
        directory is unsafe, LeasesUnusable if it cannot be used.
        """
        lease = self.enter(request, budget, deadline, place=place)
        told = ""

        def granted() -> bool:
            nonlocal told
            where = self._decide(lease, budget)
            if where is not None and (text := str(where)) != told:
                told = text
                waiting(where)
            return lease.granted

        try:
            deadline.poll(granted, interval=INTERVAL, error=lambda: self._too_late(deadline, told))
        except BaseException:
            lease.release()
            raise
        return lease

    def enter(
        self, request: ResourceRequest, budget: HostBudget, deadline: Deadline, *, place: Path | None = None
    ) -> Lease:
        """Return a place at the end of the queue; :meth:`look` reports when it has become a lease. Raises as :meth:`take`."""
        fitting = budget.fitting(request)
        device = _device(place)
        return deadline.poll(
            lambda: self._enter(fitting, device),
            interval=INTERVAL,
            error=lambda: InfrastructureError(
                f"{deadline.what}: this process is too slow to enter the queue in {self.directory}",
                hint="The host is overloaded. Run this again once it is not.",
            ),
        )

    def look(self, lease: Lease, budget: HostBudget) -> QueuePlace | None:
        """Return the lease's place in the queue, or None once it is granted; it stays granted."""
        deadline = Deadline(2 * PATIENCE, "look at the queue")

        def decided() -> list[QueuePlace | None] | None:
            where = self._decide(lease, budget)
            return [where] if where is not None or lease.granted else None

        return deadline.poll(decided, interval=0.01, error=lambda: self._too_late(deadline, ""))[0]

    def held(self) -> list[HeldLease]:
        """Return the leases that are held or waited for, in the order in which they came."""
        return [] if not self.place.exists() else _held(self.look_at().files)

    def look_at(self) -> lease_file.LeaseFolder:
        """Return the content of the directory, up to the limit. Raises InfrastructureError."""
        with self._opened() as folder:
            return lease_file.look(folder)

    def remarks(self) -> list[str]:
        """Return sentences for people about the directory: files that are not leases, and their number."""
        if not self.place.exists():
            return []
        found = self.look_at()
        lines = []
        if found.flooded:
            lines.append(f"{_flooded(self.directory, found)}; further files are not counted")
        elif found.others:
            lines.append(f"files that claim nothing: {_owners(found.others)}; they count for nothing")
        return lines

    def sweep(self, *, dry: bool = False) -> LeaseSweep:
        """Remove this user's files of leases whose holder died; as root, all files that are not live leases."""
        if not self.place.exists():
            return LeaseSweep(removed=0, others={})
        with self._opened() as folder:
            return lease_file.sweep(folder, dry=dry)

    def _enter(self, request: ResourceRequest, device: int) -> Lease | None:
        """Queue up. Return None if that took so long that others may have continued without waiting for this one."""
        lease: Lease | None = None
        try:
            with self._opened() as folder, uninterrupted():
                self._remove_own(folder)
                name, descriptor = lease_file.create(folder)
                claim = LeaseClaim(
                    # Only now, when all others can see the new entry.
                    since=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
                    pid=os.getpid(),
                    vcpus=request.vcpus,
                    memory=request.memory,
                    disk=request.disk,
                    device=device,
                )
                lease = Lease(self.place, name, descriptor, claim)
                lease_file.enter(descriptor, claim)
        except BaseException:
            if lease is not None:
                lease.release()
            raise
        if time.clock_gettime_ns(time.CLOCK_BOOTTIME) - claim.since > SLOW * 1e9:
            lease.release()
            return None
        return lease

    def _decide(self, lease: Lease, budget: HostBudget) -> QueuePlace | None:
        """Grant the lease if it is its turn. Return its place in the queue; None if it is granted, or not yet known."""
        if lease.granted:
            return None
        found = self.look_at()
        if found.flooded:
            raise LeasesUnusable(
                _flooded(self.directory, found),
                hint=f"Root removes files that are not leases: sudo {invocation('gc')}",
            )
        live = [file for file in found.files if file.alive and file.name != lease.name]
        if lease.waits_for({file.name for file in live if file.entering}):
            return None
        others, own = _held(live), (lease.claim.since, lease.name)
        granted = [held.claim for held in others if held.granted]
        before = [held.claim for held in others if not held.granted and (held.claim.since, held.name) < own]
        request = ResourceRequest(vcpus=lease.claim.vcpus, memory=lease.claim.memory, disk=lease.claim.disk)
        here = [*granted, *before]
        disk = sum(claim.disk for claim in here if claim.device == lease.claim.device)
        if (
            sum(claim.vcpus for claim in here) + request.vcpus <= budget.vcpus
            and sum(claim.memory for claim in here) + request.memory <= budget.memory
            and disk + request.disk <= budget.disk
        ):
            lease.grant()
            return None
        return QueuePlace(
            number=len(before) + 1,
            waiting=len(others) - len(granted) + 1,
            request=request,
            granted=ResourceRequest(
                vcpus=sum(claim.vcpus for claim in granted),
                memory=sum(claim.memory for claim in granted),
                disk=disk,
            ),
            budget=budget,
        )

    def _remove_own(self, folder: int) -> None:
        """Remove the files of this user's dead processes."""
        for file in lease_file.look(folder).files:
            if not file.alive and file.uid == os.geteuid():
                with contextlib.suppress(OSError):
                    os.unlink(file.name, dir_fd=folder)

    def _opened(self) -> contextlib.AbstractContextManager[int]:
        return self.place.opened(
            lambda error: LeasesUnusable(
                f"cannot use the leases in {self.directory}: {error.strerror}",
                hint=f"To go on without them: --private-leases, or {VARIABLE} names another directory.",
            )
        )

    def _too_late(self, deadline: Deadline, told: str) -> HarnessError:
        holders = [
            f"process {held.claim.pid} of {user_name(held.uid)} ({held.claim.vcpus} processors, {size_text(held.claim.memory)})"
            for held in self.held()
            if held.granted
        ]
        return InfrastructureError(
            f"{deadline.what}: no room on this host within {deadline.seconds:.3g} s; {told or 'the queue never moved'}",
            hint=f"Held by {'; '.join(holders[:8]) or 'no process any more'}. More: {invocation('ps')}",
        )


def take_lease(
    request: ResourceRequest,
    place: Path,
    *,
    what: str,
    private: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Lease:
    """Return a lease of this host's budget for a machine that writes to ``place``; ``what`` is its name for people.

    ``private`` takes it from the user's own leases, as if those of the host were absent or unusable; ``say`` reports that
    in one line, the place in the queue, and other users' reservations. Raises as :meth:`Leases.take`. The budget sets the time limit.
    """
    budget = host_budget(os.environ, place)
    deadline = Deadline(budget.wait, f"a lease for {what}")
    directory = lease_directory(os.environ, private=private)
    if count := former_leases():
        say(f"leases of an older version, which are not counted: {count}")

    def taken(directory: LeaseDirectory) -> Lease:
        if directory.private:
            say(f"only this user's machines count: {directory.private}")
        _say_reservations(directory, say)
        return Leases(directory).take(
            request, budget, deadline, place=place, waiting=lambda where: say(str(where))
        )

    try:
        return taken(directory)
    except LeasesUnusable as error:
        if directory.private:
            raise
        return taken(private_directory(os.environ, error.message))


def _say_reservations(directory: LeaseDirectory, say: Callable[[str], None]) -> None:
    """Say who else has reserved the host: that keeps no machine from running."""
    with contextlib.suppress(InfrastructureError):
        for each in Reservations(directory).current():
            if each.uid != os.geteuid():
                say(f"this host is {described(each)}")


def _held(files: list[LeaseFile]) -> list[HeldLease]:
    """Return the live leases among files, in the order in which they came."""
    found = [
        HeldLease(name=file.name, uid=file.uid, granted=file.granted, claim=file.claim)
        for file in files
        if file.alive and file.claim is not None
    ]
    return sorted(found, key=lambda held: (held.claim.since, held.name))


def _flooded(directory: Path, found: lease_file.LeaseFolder) -> str:
    count = Counter(found.others) + Counter(file.uid for file in found.files)
    return f"more than {lease_file.MOST_FILES} files lie in {directory}, most of {user_name(count.most_common(1)[0][0])}"


def _owners(count: Mapping[int, int]) -> str:
    """Return how many files each user has, the largest number first."""
    named = [f"{number} of {user_name(uid)}" for uid, number in Counter(count).most_common(5)]
    return ", ".join([*named, "…"] if len(count) > len(named) else named)


def others_left(sweep: LeaseSweep) -> str:
    """Return a sentence on the files that a sweep left because other users own them, "" if there are none."""
    if not sweep.others:
        return ""
    return (
        f"Not this user's to remove: files of dead leases, {_owners(sweep.others)}. They count for nothing, and go with "
        f"their owner's {invocation('gc')}, or root's."
    )


def _device(place: Path | None) -> int:
    """Return the number of the file system of ``place``, which may not exist yet; 0 for None."""
    if place is not None:
        for path in (place, *place.absolute().parents):
            with contextlib.suppress(OSError):
                return path.stat().st_dev
    return 0
