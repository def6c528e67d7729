# SPDX-License-Identifier: MIT
"""The history: writes records to ``history.jsonl``, one line each, in the order in which they became known."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from harness import locks
from harness.errors import MAKE_ROOM, InfrastructureError
from harness.history import write_lock
from harness.history.private import open_private
from harness.history.record import Channel, Clock, End, Header, Record, RunFailure, Stage
from harness.history.reserve import FULL, Reserve
from harness.history.run_directory import history_file

Listener = Callable[[Record], None]

LAST_WORDS = (Header, Clock, Stage, Channel, RunFailure, End)
"""Records that say which run this is and how it ended. Only they may use the reserve."""


class HistoryWriter:
    """Append-only writer of the history at ``path``, a run directory or the file itself, usable from any thread.

    Each record leaves the process with a single ``write`` before :meth:`write` returns, so that a killed run leaves
    a readable history that ends with what was known. Every listener hears every record once, in the order of ``n``,
    after it was written. Raises InfrastructureError when the file cannot be written (directory gone, file too large);
    the records written before stay, and nothing is written after.

    A full disk is noticed before its last space is used. Then every record is refused with InfrastructureError, except for
    :data:`LAST_WORDS`, which go into the reserve.

    One thread at a time writes and delivers. A listener may write: its records directly follow the one that it hears, and
    are delivered when all listeners have heard that one. A thread that writes holds no lock that a listener takes.
    """

    def __init__(self, path: Path) -> None:
        self.path = history_file(path)
        self._turn = locks.turn("history")
        self._unheard: list[tuple[Record, tuple[Listener, ...]]] = []
        self._delivering = False
        self._encoder = msgspec.json.Encoder()
        self._listeners: list[Listener] = []
        self._written = 0, 0
        self._failed: InfrastructureError | None = None
        self._full = False
        try:
            self._fd = open_private(self.path, os.O_WRONLY | os.O_EXCL | os.O_APPEND)
        except OSError as error:
            raise InfrastructureError(
                f"cannot create the history {self.path}: {error.strerror}",
                hint=MAKE_ROOM if error.errno in FULL else "Give another place with --runs DIR.",
            ) from error
        write_lock.take(self._fd)
        self._reserve = Reserve(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def count(self) -> int:
        """The number of records written."""
        return self._written[0]

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener`` with every record written from now on, on the writing thread. It must return quickly."""
        self._listeners.append(listener)

    def write(self, record: Record, *, host_ns: int = 0) -> Record:
        """Append ``record`` and return it as written. ``host_ns`` is when it was observed, by default now.

        When it returns, every listener has heard the record and what listeners wrote in response. Within a listener, it
        returns at once. What a listener raised is raised here after that, an interruption before any other error. The
        record is written all the same.
        """
        with self._turn:
            stamped = self._append(record, host_ns or time.monotonic_ns())
            self._unheard.append((stamped, tuple(self._listeners)))
            if not self._delivering:
                self._deliver()
            return stamped

    def _append(self, record: Record, host_ns: int) -> Record:
        if self._failed is not None:
            raise self._failed
        try:
            if (size := os.lseek(self._fd, 0, os.SEEK_CUR)) != self._written[1]:
                # Ctrl-C came after a record was written and before it was counted; both are one assignment.
                self._written = self._written[0] + 1, size
            stamped = msgspec.structs.replace(record, n=self._written[0] + 1, host_ns=host_ns)
            line = self._encoder.encode(stamped) + b"\n"
            self._full = self._full or not self._reserve.covers(size + len(line))
            if self._full and not isinstance(record, LAST_WORDS):
                raise self._refused(os.strerror(errno.ENOSPC))
            if os.write(self._fd, line) != len(line):
                # Part of a line would look like a run that was killed.
                os.ftruncate(self._fd, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._failed = self._refused(error.strerror or str(error))
            raise self._failed from error
        self._written = stamped.n, size + len(line)
        return stamped

    def _refused(self, why: str) -> InfrastructureError:
        return InfrastructureError(
            f"cannot write record {self._written[0] + 1} of {self.path}: {why}",
            hint=f"The history up to there is kept. {MAKE_ROOM}",
        )

    def _deliver(self) -> None:
        raised: list[BaseException] = []
        try:
            self._delivering = True
            while self._unheard:
                record, listeners = self._unheard.pop(0)
                for listener in listeners:
                    try:
                        listener(record)
                    except BaseException as error:  # noqa: BLE001  raised once all have heard
                        raised.append(error)
        finally:
            self._delivering = False
        if raised:
            raise min(raised, key=lambda error: isinstance(error, Exception))

    def close(self) -> None:
        """Flush to disk and close. A second call does nothing."""
        with self._turn:
            if self._fd >= 0:
                with contextlib.suppress(OSError):
                    self._reserve.release()
                    os.fsync(self._fd)
                os.close(self._fd)
                self._fd = -1
