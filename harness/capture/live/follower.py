# SPDX-License-Identifier: MIT
"""Follows files that QEMU appends to, on the kernel's notice of each write.

QEMU writes a file chardev without waiting, so a slow harness never stalls the guest. The follower reads new data as
soon as inotify reports it. It does not poll, except for three things that the kernel does not report:

- A file over its budget is cut back every :data:`CUT_EVERY` seconds while it is written to.
- A sink that holds something back gets its turn :data:`QUIET` seconds later.
- Every :data:`LOOK_EVERY` seconds the disk's free space is checked, because QEMU silently drops what a full disk refuses.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import inotify_simple
from inotify_simple import INotify, flags

from harness import locks
from harness.capture.live.budget import ChannelBudget
from harness.errors import InfrastructureError
from harness.history.reserve import check_room
from harness.interrupts import uninterrupted

CHUNK = 1 << 16

CUT_EVERY = 0.02
"""Seconds between two cuts of a file that is written to beyond its budget."""

QUIET = 0.25
"""Seconds that a sink may hold something back."""

LOOK_EVERY = 1.0
"""Seconds between two checks of the disk's free space."""

inotify_simple._libc = ctypes.CDLL(None, use_errno=True)  # noqa: SLF001 - otherwise it runs ldconfig to find the library
"""The C library, which this process has: inotify_simple looks for it only if it is not set."""

TakeBytes = Callable[[bytes], None]
TellHeld = Callable[[], bool]
"""A function that passes on what a sink held back; it returns whether it may hold something back again soon."""


@dataclass(slots=True)
class _Followed:
    path: Path
    fd: int
    take: TakeBytes | None
    settle: TellHeld | None
    budget: ChannelBudget | None
    place: int = 0
    held_since: float = 0.0
    watched: bool = True


def _instance() -> INotify:
    try:
        return INotify()
    except OSError as error:
        if error.errno == errno.EMFILE:
            # It is the process that has too many files open, not the user too many instances, if this fails too
            # (inotify_init1(2)).
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            raise InfrastructureError(
                "this user has no inotify instance left, of which each guest needs one",
                hint="Run fewer guests at once, or allow more, for instance: sudo sysctl fs.inotify.max_user_instances=1024",
            ) from error
        raise


class Follower:
    """Passes the bytes appended to each file to its sink, in order, on one thread.

    Raises InfrastructureError if the user has no inotify instance left. Files must exist when added. An exception
    of a sink stops the following and is kept in ``error``, as is the InfrastructureError for a full disk.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._inotify = _instance()
        self._wake_out, self._wake_in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._files: dict[int, _Followed] = {}
        self._turn = locks.turn("follower")
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._closed = False

    def add(
        self,
        path: Path,
        sink: TakeBytes | None,
        *,
        settle: TellHeld | None = None,
        budget: ChannelBudget | None = None,
    ) -> None:
        """Follow ``path`` from its beginning. Call before :meth:`start`.

        Data beyond the ``budget`` is not passed on, and the file is cut back. ``settle`` is called :data:`QUIET`
        seconds after bytes came, and by :meth:`drain`. Without a sink the file is only kept within its budget.
        """
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        watch = self._inotify.add_watch(str(path), flags.MODIFY)
        self._files[watch] = _Followed(path, fd, sink, settle, budget)

    def start(self) -> None:
        """Begin to follow."""
        # A signal in the midst of it would leave a thread that close() does not know to run.
        with uninterrupted():
            self._thread.start()

    def check(self) -> None:
        """Raise the error that stopped the following, if any."""
        if self.error is not None:
            raise self.error

    def drain(self) -> None:
        """Pass on everything that was written before this call, on the calling thread.

        Raises what a sink raised, here or on the follower's own thread.
        """
        with self._turn, self._keeping_error():
            self.check()
            for one in self._files.values():
                self._read(one)
                self._settle(one)

    def close(self) -> None:
        """Drain, stop and close. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._thread.is_alive():
            os.write(self._wake_in, b"x")
            self._thread.join()
        try:
            self.drain()
        finally:
            for one in self._files.values():
                os.close(one.fd)
            self._inotify.close()
            os.close(self._wake_out)
            os.close(self._wake_in)

    @contextlib.contextmanager
    def _keeping_error(self) -> Iterator[None]:
        """Keep the error that stops the following, on any thread."""
        try:
            yield
        except BaseException as error:
            self.error = error
            raise

    def _read(self, one: _Followed) -> None:
        """Pass on what is there now, and no more: a writer that never stops must not keep this call for ever."""
        size = os.fstat(one.fd).st_size if one.budget is None else one.budget.fit(one.fd)
        while (
            one.take is not None
            and one.place < size
            and (data := os.read(one.fd, min(CHUNK, size - one.place)))
        ):
            one.place += len(data)
            if not one.held_since:
                one.held_since = time.monotonic()
            one.take(data)
            if one.budget is not None:
                size = min(size, one.budget.fit(one.fd))

    def _settle(self, one: _Followed) -> None:
        one.held_since = 0.0
        if one.settle is not None and one.settle():
            one.held_since = time.monotonic()

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._inotify.fd, select.POLLIN)
        poller.register(self._wake_out, select.POLLIN)
        looked = 0.0
        # drain() raises the kept error again.
        with contextlib.suppress(Exception), self._keeping_error():
            self.drain()
            while True:
                ready = {fd for fd, _event in poller.poll(1000 * self._pause())}
                if self._inotify.fd in ready:
                    watches = {event.wd for event in self._inotify.read(timeout=0)}
                    with self._turn:
                        for watch in watches & self._files.keys():
                            self._read(self._files[watch])
                if (now := time.monotonic()) >= looked + LOOK_EVERY:
                    looked = now
                    self._look()
                with self._turn:
                    self._tidy(now)
                if self._wake_out in ready:
                    return

    def _pause(self) -> float:
        """Return the seconds until something is due that the kernel does not report."""
        files = self._files.values()
        if any(one.budget is not None and one.budget.full for one in files):
            return CUT_EVERY
        return QUIET if any(one.settle and one.held_since for one in files) else LOOK_EVERY

    def _tidy(self, now: float) -> None:
        for watch, one in self._files.items():
            if one.budget is not None and one.budget.full:
                if one.watched:
                    # Each write would wake this thread, and the file is checked anyway.
                    self._inotify.rm_watch(watch)
                    one.watched = False
                one.budget.fit(one.fd)
            if one.held_since and now >= one.held_since + QUIET:
                self._settle(one)

    def _look(self) -> None:
        for folder in {one.path.parent for one in self._files.values()}:
            check_room(folder)
