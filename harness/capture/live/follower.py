# SPDX-License-Identifier: MIT
"""Follows files that QEMU appends to, on the kernel's notice of each write.

QEMU writes a file chardev without waiting for anyone, so a slow harness never stalls the guest; the follower reads
what is new as soon as inotify tells of it. No polling: the thread sleeps until there is something to read.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

from inotify_simple import INotify, flags

from harness import locks

CHUNK = 1 << 16

TakeBytes = Callable[[bytes], None]


class Follower:
    """Hands the bytes appended to each file to its sink, in order, on one thread.

    Files must exist when added. An exception of a sink stops the following and is kept in ``error``.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._inotify = INotify()
        self._wake_out, self._wake_in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._files: dict[int, tuple[int, TakeBytes]] = {}
        self._turn = locks.turn("follower")
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._closed = False

    def add(self, path: Path, sink: TakeBytes) -> None:
        """Follow ``path`` from its beginning. Call before :meth:`start`."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        watch = self._inotify.add_watch(str(path), flags.MODIFY)
        self._files[watch] = (fd, sink)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def drain(self) -> None:
        """Hand on everything that was written before this call, on the calling thread.

        Raises what a sink raised, here or on the follower's own thread.
        """
        with self._turn:
            if self.error is not None:
                raise self.error
            for fd, sink in self._files.values():
                self._read(fd, sink)

    def close(self) -> None:
        """Drain, stop and close; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._thread.is_alive():
            os.write(self._wake_in, b"x")
            self._thread.join()
        try:
            self.drain()
        finally:
            for fd, _sink in self._files.values():
                os.close(fd)
            self._inotify.close()
            os.close(self._wake_out)
            os.close(self._wake_in)

    def _read(self, fd: int, sink: TakeBytes) -> None:
        try:
            while data := os.read(fd, CHUNK):
                sink(data)
        except BaseException as error:
            self.error = error
            raise

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._inotify.fd, select.POLLIN)
        poller.register(self._wake_out, select.POLLIN)
        with contextlib.suppress(Exception):  # kept in ``error``, raised again by whoever drains
            self.drain()
            while True:
                ready = {fd for fd, _event in poller.poll()}
                if self._inotify.fd in ready:
                    watches = {event.wd for event in self._inotify.read(timeout=0)}
                    with self._turn:
                        for watch in watches:
                            if watch in self._files:
                                self._read(*self._files[watch])
                if self._wake_out in ready:
                    return
