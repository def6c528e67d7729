# SPDX-License-Identifier: MIT
"""The service of a fork server: one process without a thread, which forks a process for each request and reaps it.

A forked process leads a session of its own. It has none of the server's descriptors and is sent SIGTERM when the server ends
for any reason. The end of the client, also by SIGKILL, closes the control socket: the server then ends its processes, and itself.
The signals that end a command are the client's: a batch system that sends them to every process of a job must not take the exit
statuses of the others.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from harness.forking.leash import end_with
from harness.forking.message import Ended, Forked, Request, receive, send
from harness.interrupts import ENDING
from harness.invocation import MODULE

GRACE = 45.0
"""Seconds from SIGTERM to SIGKILL, in which a process ends its guest and judges its history."""

Entry = Callable[[], object]


class Service:
    """Serves the client at the other end of ``control``."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, tuple[int, socket.socket]] = {}
        self._selector = selectors.DefaultSelector()
        self._handlers = {number: signal.getsignal(number) for number in ENDING}

    def serve(self) -> Entry | None:
        """Serve until the client is gone. Return None then; in each forked process, what it has to call."""
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        self._selector.register(self._control, selectors.EVENT_READ)
        ends = 0.0
        while not ends or self._children:
            for key, _ in self._selector.select(max(0.0, ends - time.monotonic()) if ends else None):
                if isinstance(key.data, int):
                    self._signal(key.data, key.fileobj)
                elif key.fileobj is not self._control:
                    self._reap(key.fd)
                elif (entry := self._answer()) is not None:
                    return entry
            if self._control.fileno() < 0 and not ends:
                ends = time.monotonic() + GRACE
                self._end_all(signal.SIGTERM)
            elif ends and time.monotonic() > ends:
                self._end_all(signal.SIGKILL)
        return None

    def _answer(self) -> Entry | None:
        request, descriptors = receive(self._control, Request)
        if request is None:
            self._selector.unregister(self._control)
            self._control.close()
            return None
        channel = socket.socket(fileno=descriptors.pop(0))
        server = os.getpid()
        # None of these signals is ignored in the process, not even in its first moment.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            if pid := os.fork():
                self._note(pid, channel)
        except OSError as error:
            pid = -1
            with contextlib.suppress(OSError):
                send(channel, Forked(0, failure=error.errno or 0), [])
            channel.close()
        if not pid:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            end_with(server, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if not pid:
            channel.close()
            return self._become(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return None

    def _become(self, request: Request, descriptors: list[int]) -> Entry:
        """Leave the server behind, in the forked process."""
        os.setsid()
        self._selector.close()
        self._control.close()
        for watch, (_, channel) in self._children.items():
            os.close(watch)
            channel.close()
        if request.output:
            for stream in (1, 2):
                given = descriptors.pop(0)
                os.dup2(given, stream)
                os.close(given)
        sys.argv = [str(MODULE), *request.words]
        module, _, name = request.entry.partition(":")
        found: Callable[..., object] = getattr(importlib.import_module(module), name)
        return lambda: found(*descriptors)

    def _note(self, pid: int, channel: socket.socket) -> None:
        try:
            watch = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self._children[watch] = pid, channel
        self._selector.register(watch, selectors.EVENT_READ)
        self._selector.register(channel, selectors.EVENT_READ, pid)
        with contextlib.suppress(OSError):
            send(channel, Forked(pid), [watch])

    def _signal(self, pid: int, channel: Any) -> None:
        """Send the signal that came to a process's session; it is not reaped, so its number is its own."""
        number = b""
        with contextlib.suppress(OSError):
            number = channel.recv(1)
        if not number:
            self._selector.unregister(channel)
            return
        _kill_session(pid, number[0])

    def _reap(self, watch: int) -> None:
        pid, channel = self._children.pop(watch)
        self._selector.unregister(watch)
        with contextlib.suppress(KeyError):
            self._selector.unregister(channel)
        os.close(watch)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(OSError):
            send(channel, Ended(os.waitstatus_to_exitcode(status)), [])
        channel.close()

    def _end_all(self, number: signal.Signals) -> None:
        for pid, _ in self._children.values():
            if number is signal.SIGKILL:
                _kill_session(pid, number)
            else:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)


def _kill_session(pid: int, number: int) -> None:
    """Send a signal to a process's session, or to the process alone, which may not lead one yet. It is not reaped."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            os.kill(pid, number)


def main(words: Sequence[str]) -> int:
    """Serve the client of the control socket whose descriptor is the first word, after it has imported the
    modules that the others name, and called what stands after a colon."""
    control = socket.socket(fileno=int(words[0]))
    control.set_inheritable(False)
    # What is imported here is never freed. Searching it for garbage takes a fifth of the time, and would write to the pages
    # that the forked processes share (Python: gc.freeze).
    gc.disable()
    for name in words[1:]:
        module, _, function = name.partition(":")
        found = importlib.import_module(module)
        if function:
            getattr(found, function)()
    gc.freeze()
    gc.enable()
    entry = Service(control).serve()
    if entry is None:
        return 0
    code = entry()
    return code if isinstance(code, int) else 0
