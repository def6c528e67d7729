# SPDX-License-Identifier: MIT
"""Leases: the share of a host that one machine holds while it runs, out of a budget that all users of the host share.

There is no daemon. A lease is a file in a directory that everybody may write to but where nobody can remove what is
another's (its sticky bit), and it counts for as long as its owner holds flock(2) on it: the kernel lets go of the lock
however the owner dies, so age and process numbers prove nothing and are not looked at. The directory itself is the
mutex: whoever reads or changes the set of leases holds flock on it for that millisecond.

A lease begins as a place in the queue. It is granted when it fits in with everything that is granted already *and*
with everybody who came before: first come, first served, so a large machine is never starved by small ones. Who came when
is told by the host's clock since boot, read under the mutex.

What other users write there is not trusted: no link is followed, only small regular files are read, and what they say
is numbers that are checked. A user who claims the whole host keeps the others waiting, as one who fills the host's
memory would; no more can be done with it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Self, TypeVar

import msgspec

from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError
from harness.host.budget import HostBudget, ResourceRequest, host_budget, size_text
from harness.interrupts import uninterrupted
from harness.invocation import invocation

T = TypeVar("T")

VARIABLE = "HOTPLUG_HARNESS_LEASES"
"""Environment variable: another directory for the leases. All who share a host must name the same."""

SUFFIX = ".lease"
LARGEST_FILE = 1024
MOST_FILES = 10_000
INTERVAL = 0.1
"""Seconds between two looks at the queue; each takes about a millisecond."""

ABOUT = """The machines of the hotplug harness that run on this host, one file each; a file counts while it is locked.
'harness ps' lists them. Everybody may make files here and nobody can remove another's (mode 1777).
"""

GRACE = 30.0
"""Seconds to wait for the mutex where only that is waited for; it is held for milliseconds."""

Amount = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class LeaseClaim(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease's file says. ``since`` is nanoseconds of the host's clock since boot, ``device`` where the disk space is."""

    since: Amount
    pid: Amount
    vcpus: Amount
    memory: Amount
    disk: Amount
    device: Amount
    granted: bool = False


class HeldLease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease somebody has, or waits for; ``uid`` is the owner of its file, as the kernel says."""

    name: str
    uid: int
    claim: LeaseClaim


class QueuePlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where in the queue a machine is: the first is next. What is granted to others, and the budget, say why it waits."""

    number: int
    waiting: int
    request: ResourceRequest
    granted: ResourceRequest
    budget: HostBudget

    def __str__(self) -> str:
        return (
            f"place {self.number} of {self.waiting} in the queue: needs {self.request.vcpus} processors and "
            f"{size_text(self.request.memory)}; taken are {self.granted.vcpus} of {self.budget.vcpus} processors, "
            f"{size_text(self.granted.memory)} of {size_text(self.budget.memory)}"
        )


TellPlace = Callable[[QueuePlace], None]


class Lease:
    """A place in the queue, or the right to run a machine, until :meth:`release`; a context manager."""

    def __init__(self, leases: Leases, name: str, descriptor: int, claim: LeaseClaim) -> None:
        self.name = name
        self.claim = claim
        self._leases = leases
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def write(self, claim: LeaseClaim) -> None:
        """Have the file say ``claim``. Under the mutex only."""
        data = msgspec.json.encode(claim)
        os.pwrite(self._descriptor, data, 0)
        os.ftruncate(self._descriptor, len(data))
        self.claim = claim

    def release(self) -> None:
        """Let others have it; a second call does nothing."""
        with uninterrupted():
            if self._descriptor >= 0:
                with contextlib.suppress(OSError):
                    (self._leases.directory / self.name).unlink()
                os.close(self._descriptor)
                self._descriptor = -1


class Leases:
    """All leases of this host. ``directory`` overrides the place; it is made if it does not exist."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or usual_directory()

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

        ``waiting`` hears of the place in the queue whenever that changed. Whatever ends the wait, Ctrl-C included, gives
        the place up. Raises UsageError for what can never be had, InfrastructureError when the deadline passes or the
        directory cannot be used.
        """
        lease = self.enter(request, budget, deadline, place=place)
        told = ""

        def granted() -> bool:
            nonlocal told
            where = self._try(lambda folder: self._decide(folder, lease, budget))
            if isinstance(where, QueuePlace) and (text := str(where)) != told:
                told = text
                waiting(where)
            return where is True

        try:
            deadline.poll(granted, interval=INTERVAL, error=lambda: self._too_late(deadline, told))
        except BaseException:
            lease.release()
            raise
        return lease

    def enter(
        self, request: ResourceRequest, budget: HostBudget, deadline: Deadline, *, place: Path | None = None
    ) -> Lease:
        """Return a place at the end of the queue; :meth:`look` says when it has become a lease. Raises as :meth:`take`."""
        fitting = budget.fitting(request)
        return self._under_mutex(deadline, lambda folder: self._join(folder, fitting, place))

    def look(self, lease: Lease, budget: HostBudget) -> QueuePlace | None:
        """Return the lease's place in the queue, or None once it is granted; it stays granted."""
        deadline = Deadline(GRACE, "look at the queue")
        where = self._under_mutex(deadline, lambda folder: self._decide(folder, lease, budget))
        return where if isinstance(where, QueuePlace) else None

    def held(self) -> list[HeldLease]:
        """Return the leases that somebody has or waits for, in the order in which they came."""
        if not self.directory.is_dir():
            return []
        return self._under_mutex(Deadline(GRACE, "read the leases"), lambda folder: self._live(folder))

    def sweep(self, *, dry: bool = False) -> list[str]:
        """Remove the files of leases whose holder died, as far as they are this user's; return their names."""
        if not self.directory.is_dir():
            return []
        return self._under_mutex(
            Deadline(GRACE, "sweep the leases"), lambda folder: self._remove_dead(folder, dry=dry)
        )

    # Under the mutex.

    def _join(self, folder: int, request: ResourceRequest, place: Path | None) -> Lease:
        """Queue up: the file is locked before anybody else can look for it."""
        self._remove_dead(folder, dry=False)
        claim = LeaseClaim(
            since=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            pid=os.getpid(),
            vcpus=request.vcpus,
            memory=request.memory,
            disk=request.disk,
            device=_device(place),
        )
        name = f"{secrets.token_hex(8)}{SUFFIX}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
        lease = Lease(self, name, descriptor, claim)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lease.write(claim)
            # Others read what it says, whatever the umask; only now can they touch its lock.
            os.fchmod(descriptor, 0o644)
        except BaseException:
            lease.release()
            raise
        return lease

    def _decide(self, folder: int, lease: Lease, budget: HostBudget) -> QueuePlace | bool:
        """Grant the lease and return True, or return its place in the queue."""
        if lease.claim.granted:
            return True
        request = ResourceRequest(vcpus=lease.claim.vcpus, memory=lease.claim.memory, disk=lease.claim.disk)
        others = [held for held in self._live(folder) if held.name != lease.name]
        granted = [held.claim for held in others if held.claim.granted]
        before = [
            held.claim for held in others if not held.claim.granted and held.claim.since < lease.claim.since
        ]
        here = [*granted, *before]
        disk = sum(claim.disk for claim in here if claim.device == lease.claim.device)
        if (
            sum(claim.vcpus for claim in here) + request.vcpus <= budget.vcpus
            and sum(claim.memory for claim in here) + request.memory <= budget.memory
            and disk + request.disk <= budget.disk
        ):
            lease.write(msgspec.structs.replace(lease.claim, granted=True))
            return True
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

    def _live(self, folder: int) -> list[HeldLease]:
        found = [held for held, dead in self._files(folder) if held is not None and not dead]
        return sorted(found, key=lambda held: (held.claim.since, held.name))

    def _remove_dead(self, folder: int, *, dry: bool) -> list[str]:
        removed = []
        # The directory is there, so that what one who was killed had made of it is of no use to anybody.
        for draft in self.directory.parent.glob(f"{self._draft}*"):
            with contextlib.suppress(OSError):
                if draft.lstat().st_uid == os.geteuid():
                    if not dry:
                        shutil.rmtree(draft)
                    removed.append(draft.name)
        for name, mine in [(name, mine) for name, mine, dead, _ in self._looked_at(folder) if dead]:
            if mine:
                with contextlib.suppress(OSError):
                    if not dry:
                        os.unlink(name, dir_fd=folder)
                    removed.append(name)
        return removed

    def _files(self, folder: int) -> Iterator[tuple[HeldLease | None, bool]]:
        for _, _, dead, held in self._looked_at(folder):
            yield held, dead

    def _looked_at(self, folder: int) -> Iterator[tuple[str, bool, bool, HeldLease | None]]:
        """Yield each lease's file: its name, whether it is this user's, whether its holder is dead, and what it says."""
        with os.scandir(folder) as entries:
            names = [entry.name for entry, _ in zip(entries, range(MOST_FILES), strict=False)]
        for name in names:
            if not name.endswith(SUFFIX):
                continue
            with contextlib.suppress(OSError, msgspec.DecodeError):
                # A device or a FIFO that somebody put here must not be waited for.
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(name, flags, dir_fd=folder)
                try:
                    status = os.fstat(descriptor)
                    if not stat.S_ISREG(status.st_mode):
                        continue
                    mine = status.st_uid == os.geteuid()
                    if not _locked(descriptor):
                        yield name, mine, True, None
                        continue
                    claim = msgspec.json.decode(os.read(descriptor, LARGEST_FILE), type=LeaseClaim)
                    yield name, mine, False, HeldLease(name=name, uid=status.st_uid, claim=claim)
                finally:
                    os.close(descriptor)

    # The mutex.

    def _under_mutex(self, deadline: Deadline, act: Callable[[int], T]) -> T:
        """Return what ``act`` returns, called with a descriptor of the directory while nobody else looks at it."""
        # poll() goes on until it is given something, which what act returns need not be.
        done = deadline.poll(
            lambda: self._try(lambda folder: [act(folder)]),
            interval=0.01,
            error=lambda: InfrastructureError(
                f"another process kept the leases in {self.directory} locked for {deadline.seconds:.3g} s",
                hint=f"See which, it may be stopped: fuser -v {self.directory}",
            ),
        )
        return done[0]

    def _try(self, act: Callable[[int], T]) -> T | None:
        """Call ``act`` under the mutex; None if another has it. No interrupt comes in between."""
        with self._errors(), uninterrupted():
            folder = self._open()
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return act(folder)
            except BlockingIOError:
                return None
            finally:
                os.close(folder)

    def _open(self) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return _checked(os.open(self.directory, flags))
        except FileNotFoundError:
            self._make()
            return _checked(os.open(self.directory, flags))

    def _make(self) -> None:
        """Make the directory, finished before it bears its name, so that nobody meets it half-made.

        A directory can be renamed onto one that is empty. It is not: what says what it is for lies in it from the first.
        """
        draft = self.directory.with_name(f"{self._draft}{secrets.token_hex(4)}")
        draft.mkdir(mode=0o700)
        note = draft / "README"
        try:
            note.write_text(ABOUT, encoding="utf-8")
            note.chmod(0o644)
            draft.chmod(0o1777)
            draft.rename(self.directory)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            # Another may have been quicker, and have removed this draft: which is done where the directory is there.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT):
                raise

    @property
    def _draft(self) -> str:
        return f".{self.directory.name}-"

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InfrastructureError(
                f"cannot use the leases in {self.directory}: {error.strerror}",
                hint=f"It must be a directory of mode 1777, and no link; {VARIABLE} names another, the same for all users.",
            ) from error

    def _too_late(self, deadline: Deadline, told: str) -> HarnessError:
        holders = [
            f"process {held.claim.pid} of user {held.uid} ({held.claim.vcpus} processors, {size_text(held.claim.memory)})"
            for held in self.held()
            if held.claim.granted
        ]
        return InfrastructureError(
            f"{deadline.what}: no room on this host within {deadline.seconds:.3g} s; {told or 'the queue never moved'}",
            hint=f"Held by {'; '.join(holders[:8]) or 'nobody any more'}. More: {invocation('ps')}",
        )


def take_lease(
    request: ResourceRequest, place: Path, *, what: str, waiting: TellPlace = lambda _: None
) -> Lease:
    """Return a lease of this host's budget for a machine that writes to ``place``; ``what`` is it, for people.

    Raises and tells of the queue as :meth:`Leases.take`; how long it may take is part of the budget.
    """
    budget = host_budget(os.environ, place)
    deadline = Deadline(budget.wait, f"a lease for {what}")
    return Leases().take(request, budget, deadline, place=place, waiting=waiting)


def usual_directory() -> Path:
    """Return where the leases of this host are: the same for every user, in a directory of root's with a sticky bit."""
    named = os.environ.get(VARIABLE, "")
    if named.startswith("/"):
        return Path(named)
    # Some distributions let nobody but root write to /run/lock. Root sees the same and goes to the same place.
    for base in (Path("/run/lock"), Path("/tmp")):  # noqa: S108 - the directory in it is checked
        with contextlib.suppress(OSError):
            status = base.stat()
            if status.st_uid == 0 and status.st_mode & 0o1002 == 0o1002:
                return base / "hotplug-harness"
    return Path("/tmp/hotplug-harness")  # noqa: S108


def _checked(folder: int) -> int:
    """Return the descriptor of a directory in which nobody can remove what is another's; raise OSError otherwise."""
    mode = os.fstat(folder).st_mode
    if mode & 0o002 and not mode & stat.S_ISVTX:
        os.close(folder)
        raise OSError(errno.EPERM, "everybody may remove what is another's there (no sticky bit)")
    return folder


def _locked(descriptor: int) -> bool:
    """Return whether somebody holds the lock. Asked with a shared lock, so that two who ask do not hear each other."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _device(place: Path | None) -> int:
    """Return the number of the file system that ``place`` is on, or will be made on; 0 for none."""
    if place is not None:
        for path in (place, *place.absolute().parents):
            with contextlib.suppress(OSError):
                return path.stat().st_dev
    return 0
