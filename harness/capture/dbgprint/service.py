# SPDX-License-Identifier: MIT
"""The reader's process: serves one port until QEMU closes it or the harness ends it.

It is a process of its own because the guest stands still until each packet is acknowledged: nothing in the harness
may delay that. It only acknowledges and appends lines to a file. The harness holds the other end of its standard input,
the leash, so the service ends when the harness ends for any reason.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from pathlib import Path

from harness.capture.dbgprint import entry
from harness.capture.dbgprint.entry import PortEntry, ReaderAccount
from harness.capture.dbgprint.host import DebuggerHost, Event

CHUNK = 1 << 16

MOST_CHUNKS = 64
"""Most chunks read after the harness let go: more than a socket holds."""

MOST_BYTES = 256 << 20
"""Size of the file after which events are only counted. A guest may print for ever."""

LEASH = 0
"""The descriptor whose end of file ends the service."""


class PortJournal:
    """Appends entries to a file, each batch with one write. What cannot be written is counted, never fatal."""

    def __init__(self, path: Path, *, most: int = MOST_BYTES) -> None:
        self.dropped = 0
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._room = most
        self._torn = False

    def write(self, events: list[Event | ReaderAccount]) -> None:
        """Append ``events``, all with the present time."""
        now = time.monotonic_ns()
        lines = b"".join(entry.encode(PortEntry(now, event)) + b"\n" for event in events)
        if self._torn:
            lines = b"\n" + lines
        if len(lines) > self._room and not isinstance(events[-1], ReaderAccount):
            self.dropped += len(events)
            return
        try:
            written = os.write(self._fd, lines)
        except OSError:
            self.dropped += len(events)
            return
        self._room -= written
        if written < len(lines):
            # The disk is full: an unknown part of this batch is there, the last line of it perhaps torn.
            self.dropped += len(events)
            self._torn = True
        else:
            self._torn = False

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def serve(port: socket.socket, journal: PortJournal) -> str:
    """Serve the target on ``port`` until it or the leash ends; return which ended."""
    host = DebuggerHost()
    outgoing = b""
    port.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(port, selectors.EVENT_READ)
        selector.register(LEASH, selectors.EVENT_READ)
        why = ""
        while not why:
            wake = host.wake
            ready = selector.select(None if wake is None else max(0.0, wake - time.monotonic()))
            events: list[Event | ReaderAccount] = []
            for key, mask in ready:
                if key.fd == LEASH and not os.read(LEASH, CHUNK):
                    why = "asked to"
                elif key.fileobj is port and mask & selectors.EVENT_READ:
                    data = _read(port)
                    if data is None:
                        why = "the port was closed"
                    elif data:
                        events += host.receive(data, time.monotonic())
            if why == "asked to":
                # Read what the guest sent before the harness let go, and nothing that it sends later.
                for _ in range(MOST_CHUNKS):
                    events += host.receive(_read(port) or b"", time.monotonic())
            events += host.tick(time.monotonic())
            # Before the acknowledgement: when the guest continues, its output is in the file.
            if events:
                journal.write(events)
            # A target that does not read gets no second copy: nothing is added to unsent data.
            outgoing = _write(port, outgoing or host.take())
            if not outgoing:
                outgoing = _write(port, host.take())
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if outgoing else 0)
            if selector.get_key(port).events != wanted:
                selector.modify(port, wanted)
    journal.write([ReaderAccount(counts=host.counts, dropped=journal.dropped, why=why)])
    return why


def _read(port: socket.socket) -> bytes | None:
    """Return the bytes that came, b"" if none did, None at the end."""
    try:
        return port.recv(CHUNK) or None
    except BlockingIOError:
        return b""
    except OSError:
        return None


def _write(port: socket.socket, data: bytes) -> bytes:
    """Send what the port takes and return the rest."""
    if data:
        with contextlib.suppress(BlockingIOError):
            try:
                return data[port.send(data) :]
            except BlockingIOError:
                raise
            except OSError:
                return b""  # the port is closed, which the next read reports
    return data
