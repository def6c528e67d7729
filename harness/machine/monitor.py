# SPDX-License-Identifier: MIT
"""The monitor: QMP on a listening unix socket, with every message on the tape in true order.

``qemu.qmp`` splits replies and events into different queues; their order is only visible where its client receives
and sends messages, so the tape hangs there. The client lives in one background thread with its own event loop;
callers on any other thread block on a future or on a condition. One coroutine, the keeper, connects, and connects
again whenever the connection drops while QEMU lives. What QEMU announces while nobody is connected is lost: QEMU
keeps no events for a later client (QEMU: docs/interop/qmp-spec). The greeting with the next ``monitor`` number shows
the gap.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any, Literal

from qemu.qmp import ConnectError, ExecInterruptedError, ExecuteError, Message, QMPClient, QMPError, Runstate

from harness.deadline import Deadline
from harness.errors import CommandRefused, GuestHang, HarnessError, MonitorLost
from harness.history.record import Qmp
from harness.history.tape import Tape
from harness.machine.machine import QmpEvent

KEPT_EVENTS = 65536
"""Events kept for waiting; a guest that causes more pushes out the oldest. All of them are on the tape."""

RETRY = 0.001, 0.05
"""Seconds between attempts to connect: the first, and the longest after doubling."""

ASKING = frozenset({"qom-list", "qom-get", "qom-list-types", "qom-list-properties", "device-list-properties"})

Drop = Literal["now", "before-command", "before-reply"]


def is_query(command: str) -> bool:
    """Return whether a command only asks, so that it may be sent twice."""
    return command.startswith("query-") or command in ASKING


class _Client(QMPClient):
    """qemu.qmp's client with our hooks: what crosses the socket is told to the monitor first."""

    def __init__(self, monitor: Monitor, number: int) -> None:
        super().__init__()
        self._monitor = monitor
        self.number = number

    def _cb_outbound(self, msg: Message) -> Message:
        if self._monitor.dropping == "before-command" and self.runstate is Runstate.RUNNING:
            self._monitor.dropping = None
            raise ConnectionAbortedError("dropped before the command was sent")
        self._monitor.passed("out", dict(msg), self.number)
        return msg

    async def _do_recv(self) -> Message:
        message = await super()._do_recv()
        if self._monitor.dropping == "before-reply" and "event" not in message and "QMP" not in message:
            self._monitor.dropping = None
            raise ConnectionAbortedError("dropped before the reply was read")
        return message

    def _cb_inbound(self, msg: Message) -> Message:
        self._monitor.passed("in", dict(msg), self.number)
        return msg

    def abort(self) -> None:
        """Close our side of the socket at once, unsent bytes and all."""
        if self._writer is not None:
            self._writer.transport.abort()


class Monitor:
    """One machine's QMP connection. ``failure`` makes the error for a QEMU that is gone; all methods are blocking.

    ``greeting`` is QEMU's latest; ``connections`` counts them, 2 is the first reconnect.
    """

    def __init__(self, path: Path, tape: Tape, *, failure: Callable[[str], HarnessError]) -> None:
        self.path = path
        self.connections = 0
        self.greeting: dict[str, Any] = {}
        self.dropping: Drop | None = None
        self._tape = tape
        self._failure = failure
        self._changed = threading.Condition()
        self._client: _Client | None = None
        self._serial = 0
        self._events: collections.deque[QmpEvent] = collections.deque(maxlen=KEPT_EVENTS)
        self._over = False
        self._broken: Exception | None = None
        self._loop = asyncio.new_event_loop()
        self._keeper: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name=f"monitor {path.parent.name}", daemon=True)

    # The background thread.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._keeper = self._loop.create_task(self._keep())
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._keeper)
        self._loop.close()

    async def _keep(self) -> None:
        pause, longest = RETRY
        while not self._over:
            client = _Client(self, self.connections + 1)
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.setblocking(False)
            try:
                connection.connect(str(self.path))
                await client.connect(connection)
            except (OSError, ConnectError, QMPError):
                connection.close()
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)
                continue
            pause = RETRY[0]
            with self._changed:
                self._client = client
                self.connections = client.number
                self._changed.notify_all()
            try:
                while client.runstate is Runstate.RUNNING:
                    await client.runstate_changed()
            finally:
                with self._changed:
                    self._client = None
                    self._changed.notify_all()
                # The reason for the drop is of no interest: QEMU's own end is told by its process.
                with contextlib.suppress(Exception):
                    await client.disconnect()

    def passed(self, direction: Literal["in", "out"], message: dict[str, Any], number: int) -> None:
        """Put a message on the tape and, if it is an event, before those who wait for it. For the client only."""
        host_ns = time.monotonic_ns()
        if self._broken is None:
            try:
                self._tape.write(Qmp(direction=direction, message=message, monitor=number), host_ns=host_ns)
            except Exception as error:  # noqa: BLE001  raised where the caller is, not on this thread
                self._broken = error
        with self._changed:
            self._serial += 1
            if "event" in message:
                stamp = message.get("timestamp", {})
                self._events.append(
                    QmpEvent(
                        name=message["event"],
                        data=message.get("data", {}),
                        serial=self._serial,
                        host_ns=host_ns,
                        qemu_us=stamp.get("seconds", 0) * 1_000_000 + stamp.get("microseconds", 0),
                    )
                )
                self._changed.notify_all()
            elif "QMP" in message:
                self.greeting = message["QMP"]

    # Any other thread.

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def end(self) -> None:
        """QEMU is gone, or will be: wake everybody who waits, and connect no more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()

    def close(self, seconds: float) -> None:
        """End and wait for the thread."""
        self.end()
        if self._thread.is_alive():
            self._thread.join(seconds)
        elif not self._loop.is_closed() and self._thread.ident is None:
            self._loop.close()

    def _check(self, doing: str) -> None:
        if self._broken is not None:
            raise self._broken
        if self._over:
            raise self._failure(doing)

    def wait_connected(self, deadline: Deadline, doing: str) -> _Client:
        """Return the connected client. Raises MonitorLost when the deadline passes first."""
        client = self._client
        if client is not None and not self._over and self._broken is None:
            return client
        with self._changed:
            while True:
                self._check(doing)
                if self._client is not None:
                    return self._client
                if not self._changed.wait(deadline.remaining()) and deadline.expired:
                    raise MonitorLost(
                        f"{doing}: no QMP connection at {self.path} within {deadline.seconds:.3g} s",
                        hint="QEMU's process runs but its monitor does not answer; see qemu.log.",
                    )

    def execute(self, command: str, deadline: Deadline, arguments: Mapping[str, Any]) -> Any:
        """Send a command and return what it returned; see :meth:`harness.machine.machine.Machine.execute`."""
        while True:
            client = self.wait_connected(deadline, command)
            reply: Future[object] = asyncio.run_coroutine_threadsafe(
                client.execute(command, arguments or None), self._loop
            )
            try:
                found = reply.result(deadline.remaining())
            except ExecuteError as error:
                raise CommandRefused(
                    f"QEMU refused {command}: {error}",
                    command=command,
                    error_class=error.error_class,
                    description=str(error),
                ) from None
            except FutureTimeout:
                reply.cancel()
                self._check(command)
                raise MonitorLost(
                    f"{command}: QEMU did not answer within {deadline.seconds:.3g} s",
                    hint="QEMU's process runs but its main loop is stuck; see qemu.log.",
                ) from None
            except ExecInterruptedError:
                self.wait_connected(deadline, command)
                if is_query(command):
                    continue
                raise MonitorLost(
                    f"{command}: the QMP connection dropped before the reply; it is restored",
                    hint="QEMU may or may not have carried the command out: ask it before sending it again.",
                ) from None
            except QMPError:
                # The client was no longer connected, so nothing was sent: wait for the next connection.
                continue
            if self._broken is not None:
                raise self._broken
            return found

    def serial(self) -> int:
        """Return the serial of the last message."""
        return self._serial

    def events(self, name: str, after: int = 0) -> list[QmpEvent]:
        """Return the events called ``name`` later than ``after``."""
        with self._changed:
            return [event for event in self._events if event.serial > after and event.name == name]

    def wait_event(self, name: str, deadline: Deadline, *, after: int, match: Mapping[str, Any]) -> QmpEvent:
        """Return the first event that matches; see :meth:`harness.machine.machine.Machine.wait_event`."""
        wanted = " ".join([name, *(f"{key}={expected}" for key, expected in match.items())])
        seen = after
        with self._changed:
            while True:
                for event in reversed(self._newer(seen)):
                    if event.name == name and matches(event.data, match):
                        return event
                seen = self._serial
                self._check(f"waiting for {wanted}")
                if not self._changed.wait(deadline.remaining()) and deadline.expired:
                    raise GuestHang(
                        f"{deadline.what}: no {wanted} within {deadline.seconds:.3g} s",
                        hint="The guest did nothing that makes QEMU send it; see console.log.",
                    )

    def _newer(self, serial: int) -> list[QmpEvent]:
        """Return the events after ``serial``, the newest first."""
        found = []
        for event in reversed(self._events):
            if event.serial <= serial:
                break
            found.append(event)
        return found

    def drop(self, when: Drop) -> None:
        """Lose the connection: now, or in place of sending the next command, or of reading the next reply."""
        if when != "now":
            self.dropping = when
            return
        with self._changed:
            client = self._client
            if client is None:
                return
            # Nobody may use the lost connection, not even before its own tasks notice.
            self._client = None
        done: Future[None] = Future()

        def abort() -> None:
            client.abort()
            done.set_result(None)

        if threading.current_thread() is self._thread:
            abort()
        else:
            self._loop.call_soon_threadsafe(abort)
            done.result(5)


def matches(data: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether ``data`` holds every wanted value; a dot in a key leads into a nested object."""
    for key, expected in wanted.items():
        found: Any = data
        for part in key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return False
            found = found[part]
        if found != expected:
            return False
    return True
