# SPDX-License-Identifier: MIT
"""The twin's control channel: requests and replies as lines over the guest's second serial port.

The host sends ``ID VERB key=value…``, the guest answers ``ID ok key=value…`` or ``ID err message``; lines that start
with ``!`` are the guest's own events. Ids are never reused, so a late answer to an abandoned request is ignored.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from harness import locks
from harness.deadline import Deadline
from harness.errors import GuestCrash, GuestHang, GuestRefused, MachineFailed

LONGEST_LINE = 512
"""Bytes of a control line, newline included; longer lines are dropped and counted."""

_CONTROLS = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]|[\x00-\x1f\x7f]")
"""The sequences with which firmware clears a terminal on every serial port. OVMF writes them without a newline."""

_VALUE = re.compile(r"[!-~]{1,200}")


def parse_pairs(text: str) -> dict[str, str]:
    """Return the ``key=value`` words of a line; words without ``=`` are left out."""
    return dict(word.split("=", 1) for word in text.split() if "=" in word)


def _connected(path: Path) -> socket.socket:
    """Return a socket connected to ``path``. Raises MachineFailed."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise MachineFailed(
            f"cannot reach the guest's control port at {path}: {error.strerror}",
        ) from error
    return connection


class ControlChannel:
    """One connection to the guest's control port, read by a thread of its own.

    A reader thread calls ``on_event(name, detail)`` for every ``!`` line. Raises MachineFailed if the socket cannot be
    reached.

    When the guest continues in another QEMU, :meth:`follow` names its socket before the old one closes. The old socket is
    read to its end first, so no byte is lost. A line may begin in one and end in the other.
    """

    def __init__(self, path: Path, on_event: Callable[[str, str], None]) -> None:
        self.lines = 0
        self.last = ""
        self._ids = itertools.count(1)
        self._on_event = on_event
        self._answers: dict[str, str] = {}
        self._waiting: set[str] = set()
        self._changed = locks.condition("control channel")
        self._lost = ""
        self._next: socket.socket | None = None
        self._socket = _connected(path)
        self._thread = threading.Thread(target=self._read, name="control", daemon=True)
        self._thread.start()

    def request(
        self, verb: str, deadline: Deadline, *, alive: Callable[[], bool] | None = None, **values: str
    ) -> dict[str, str]:
        """Send a request and return the answer's values.

        Raises GuestRefused with the guest's message, GuestHang if no answer comes in time, GuestCrash if the guest
        reset meanwhile, MachineFailed if the port closed.
        """
        for key, value in values.items():
            if not _VALUE.fullmatch(value):
                raise ValueError(
                    f"{key}={value!r} cannot be sent: printable ASCII without spaces, at most 200 characters"
                )
        number = str(next(self._ids))
        line = " ".join([number, verb, *(f"{key}={value}" for key, value in values.items())]) + "\n"
        with self._changed:
            self._changed.wait_for(lambda: self._next is None or self._lost, deadline.remaining())
            self._raise_if_lost()
            if self._next is not None:
                raise GuestHang(
                    f"the control port that the guest leaves did not close within {deadline.seconds:g} s",
                    hint="Its old QEMU goes on; see qemu.log.",
                )
            self._waiting.add(number)
        try:
            self._socket.sendall(line.encode("ascii"))
        except OSError as error:
            self._abandon(str(error.strerror))
        answer = None
        while answer is None:
            with self._changed:
                if number not in self._answers:
                    self._raise_if_lost()
                    if number not in self._waiting:
                        raise GuestCrash(f"the guest reset while it was asked to {verb}")
                    if deadline.expired:
                        self._waiting.discard(number)
                        raise GuestHang(
                            f"the guest did not answer {verb!r} within {deadline.seconds:g} s ({deadline.what})",
                            hint=f"Its last line on the control port was {self.last[:120]!r}; see console.log.",
                        )
                    self._changed.wait(min(deadline.remaining(), 0.2))
                answer = self._answers.pop(number, None)
            if answer is None and alive is not None and not alive():
                self._abandon("QEMU ended")
        word, _, rest = answer.partition(" ")
        if word == "ok":
            return parse_pairs(rest)
        raise GuestRefused(f"the guest refused {verb!r}: {rest[:200] or 'no reason given'}")

    def forget(self) -> None:
        """Abandon all open requests: the guest was restarted and will not answer them."""
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()

    def follow(self, path: Path) -> None:
        """Continue with another socket once this one is closed. Raises MachineFailed if it cannot be reached."""
        following = _connected(path)
        with self._changed:
            before, self._next = self._next, following
        if before is not None:
            before.close()

    def close(self) -> None:
        """Close the connection; the reading thread ends."""
        self._abandon("closed by the harness")
        for each in (self._next, self._socket):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (self._next, self._socket):
            if each is not None:
                each.close()

    def _followed(self) -> bool:
        """Take the next socket after QEMU closed this one. Return whether there is one."""
        with self._changed:
            if self._next is None or self._lost:
                return False
            self._socket.close()
            self._socket, self._next = self._next, None
            self._changed.notify_all()
            return True

    def _abandon(self, why: str) -> None:
        with self._changed:
            self._lost = self._lost or why
            self._changed.notify_all()

    def _raise_if_lost(self) -> None:
        if self._lost:
            raise MachineFailed(
                f"the guest's control port is gone: {self._lost}",
                hint="See qemu.log.",
            )

    def _read(self) -> None:
        rest = b""
        skipping = False
        while True:
            try:
                data = self._socket.recv(1 << 14)
            except OSError:
                data = b""
            if not data:
                if self._followed():
                    continue
                self._abandon("closed by QEMU")
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if skipping or len(line) >= LONGEST_LINE:
                    skipping = False
                    continue
                self._take(_CONTROLS.sub("", line.decode("ascii", "replace")).strip())
            if len(rest) >= LONGEST_LINE:
                rest, skipping = b"", True

    def _take(self, line: str) -> None:
        if not line:
            return
        self.lines += 1
        self.last = line
        if line.startswith("! "):
            name, _, detail = line[2:].partition(" ")
            try:
                self._on_event(name, detail)
            except Exception as error:  # noqa: BLE001  the history's writer failed; the waiting caller gets the error
                self._abandon(f"recording an event failed: {error}")
            return
        number, _, answer = line.partition(" ")
        with self._changed:
            if number in self._waiting:
                self._waiting.discard(number)
                self._answers[number] = answer
                self._changed.notify_all()
