# SPDX-License-Identifier: MIT
"""The monitor: QMP on a listening unix socket, with every message in the history in true order.

``qemu.qmp`` connects, negotiates, frames and parses. It splits replies and events into different queues, so
their order is only visible where its client sends and receives messages: records are written there. The client runs in
one background thread with its own event loop. A caller on another thread hands it a message, which is sent in that
same turn of the loop, and sleeps on a lock that the reply opens. The queues in between would cost a third of the round trip.
Command ids continue over reconnects, so that one id means one command in a whole history.

One coroutine, the keeper, connects, and reconnects whenever the connection drops while QEMU lives. QEMU's events are lost
while there is no connection: it keeps none for a later client (QEMU: docs/interop/qmp-spec). The
greeting with the next ``monitor`` number shows the gap.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qemu.qmp import Message, QMPError, Runstate

from harness.deadline import Deadline
from harness.errors import CommandRefused, HarnessError, MonitorLost
from harness.history.writer import HistoryWriter
from harness.machine.event_log import EventLog
from harness.machine.machine import Drop
from harness.machine.qmp_client import Client, MessageFault, Reply

RETRY = 0.001, 0.05
"""Seconds between attempts to connect: the first, and the longest after doubling."""

ASKING = frozenset({"qom-list", "qom-get", "qom-list-types", "qom-list-properties", "device-list-properties"})

LAST_WORDS = 1.0
"""Seconds to read what QEMU sent before it ended. All of it is already in the socket."""


def is_query(command: str) -> bool:
    """Return whether a command only asks, so that it may be sent twice."""
    return command.startswith("query-") or command in ASKING


class Monitor:
    """One QEMU's QMP connection. ``failure`` makes the error for a QEMU that is gone. All methods block.

    ``connections`` counts them, 2 is the first reconnect. ``log`` is an existing log of the machine. A second client of its
    QEMU, and the QEMU to which its guest migrates, report to the same one.
    """

    def __init__(
        self,
        path: Path,
        writer: HistoryWriter,
        *,
        failure: Callable[[str], HarnessError],
        log: EventLog | None = None,
    ) -> None:
        self.path = path
        self.connections = 0
        self._fault = MessageFault()
        self.log = log or EventLog(writer, self.check_over)
        self.failure = failure
        self._changed = self.log.changed
        self._client: Client | None = None
        self._waiting: set[Reply] = set()
        self._last = False
        self._over = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name=f"monitor {path.parent.name}", daemon=True)

    # The background thread.

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(self._unheard)
        self._keeper = loop.create_task(self._keep())
        self._loop = loop
        try:
            loop.run_until_complete(self._keeper)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001  raised where the caller is, not on this thread
            self.log.fail(error)
        loop.run_until_complete(self._settle())
        loop.close()
        self._over = True
        self.log.wake()
        # A command handed over while the loop was closing is unknown to every client.
        for reply in list(self._waiting):
            reply.open(None)

    async def _settle(self) -> None:
        """Finish what a cancelled keeper left: the client's own tasks, in the midst of their disconnect."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _unheard(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle an error that no task awaited. A dropped connection leaves some behind; any other is reported."""
        error = context.get("exception")
        if isinstance(error, Exception) and not isinstance(error, EOFError | OSError):
            self.log.fail(error)

    async def _keep(self) -> None:
        pause, longest = RETRY
        while not (self._over or self._last):
            client = Client(self.log.joined(), self.log.passed, self._fault)
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.setblocking(False)
            try:
                connection.connect(str(self.path))
                await client.connect(connection)
            except (OSError, QMPError, asyncio.CancelledError) as error:
                # Also when it is cancelled before QEMU's greeting: the next QEMU's connection is to have this number.
                self.log.vanished(client.number)
                connection.close()
                if isinstance(error, asyncio.CancelledError):
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)
                continue
            pause = RETRY[0]
            self.connections += 1
            self._client = client
            self.log.wake()
            try:
                while client.runstate is Runstate.RUNNING:
                    await client.runstate_changed()
            finally:
                self._client = None
                self.log.wake()
                client.ended()
                # The reason for the drop is not used: QEMU's process reports its own end.
                with contextlib.suppress(Exception):
                    await client.disconnect()

    # Any other thread.

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def end(self) -> None:
        """Record that QEMU is gone: read its last messages, stop connecting, then wake all waiting callers."""
        self._last = True
        # Its end of the socket is closed, so the keeper soon ends by itself.
        self._call(lambda: asyncio.get_running_loop().call_later(LAST_WORDS, self._cancel))

    def close(self, seconds: float) -> None:
        """Stop connecting, wake all waiting callers, and wait for the thread."""
        self._last = self._over = True
        self.log.wake()
        self._call(self._cancel)
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _call(self, act: Callable[[], object]) -> bool:
        """Call ``act`` on the monitor's thread. Return False if that does not run yet or has ended."""
        if self._loop is None:
            return False
        try:
            self._loop.call_soon_threadsafe(act)
        except RuntimeError:
            return False
        return True

    def _cancel(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()

    def check_over(self, doing: str) -> None:
        """Raise the error of ``failure`` if this QEMU is gone."""
        if self._over:
            raise self.failure(doing)

    def _check(self, doing: str) -> None:
        """Raise the error that broke the recording, or that this QEMU is gone. Another QEMU's end is not checked."""
        if self.log.broken is not None:
            raise self.log.broken
        self.check_over(doing)

    def reconnected(self, seconds: float) -> bool:
        """Return whether there is a connection. Wait for one only if there was one before."""
        with self._changed:
            self._changed.wait_for(lambda: self._client or self._over, seconds if self.connections else 0)
            return self._client is not None

    def wait_connected(self, deadline: Deadline, doing: str) -> Client:
        """Return the connected client. Raises MonitorLost when the deadline passes first."""
        client = self._client
        if client is not None and not self._over and self.log.broken is None:
            return client
        while True:
            version = self.log.version
            self._check(doing)
            if (client := self._client) is not None:
                return client
            if deadline.expired:
                raise MonitorLost(
                    f"{doing}: no QMP connection at {self.path} within {deadline.seconds:.3g} s",
                    hint="QEMU's process runs but its monitor does not answer; see qemu.log.",
                )
            self.log.wait_change(version, deadline.remaining())

    def execute(
        self,
        command: str,
        deadline: Deadline,
        arguments: Mapping[str, Any],
        *,
        descriptor: int | None = None,
    ) -> Any:
        """Send a command and return what it returned; see :meth:`harness.machine.machine.Machine.execute`.

        An open file is sent with it as ``descriptor``; the caller still owns it.
        """
        while True:
            client = self.wait_connected(deadline, command)
            content: dict[str, object] = {"execute": command}
            if arguments:
                content["arguments"] = arguments
            content["id"] = f"harness-{next(self.log.ids)}"
            reply = Reply()
            self._waiting.add(reply)
            message = Message(content)
            try:
                if not self._call(functools.partial(client.submit, message, reply, descriptor)):
                    # The machine was closed, or QEMU died.
                    continue
                answered = reply.wait(deadline.remaining())
            finally:
                self._waiting.discard(reply)
            if not answered:
                self._check(command)
                raise MonitorLost(
                    f"{command}: QEMU did not answer within {deadline.seconds:.3g} s",
                    hint="QEMU's process runs but its main loop is stuck; see qemu.log.",
                )
            if self.log.broken is not None:
                raise self.log.broken
            if reply.message is not None:
                return outcome(command, reply.message)
            self.wait_connected(deadline, command)
            if reply.sent and not is_query(command):
                raise MonitorLost(
                    f"{command}: the QMP connection dropped before the reply; it is restored",
                    hint="QEMU may or may not have carried the command out: ask it before sending it again.",
                )

    def begin(self, command: str, deadline: Deadline, arguments: Mapping[str, Any]) -> Callable[[], Any]:
        """Send a command, only once, and return a function that waits for its outcome as :meth:`execute` does."""
        client = self.wait_connected(deadline, command)
        reply = Reply()
        self._waiting.add(reply)
        content = {"execute": command, "arguments": arguments, "id": f"harness-{next(self.log.ids)}"}
        self._call(functools.partial(client.submit, Message(content), reply))

        def wait() -> Any:
            try:
                reply.wait(deadline.remaining())
            finally:
                self._waiting.discard(reply)
            if reply.message is None:
                self._check(command)
                raise MonitorLost(
                    f"{command}: there was no reply within {deadline.seconds:.3g} s, or the connection dropped",
                    hint="QEMU may or may not have carried the command out: ask it before sending it again.",
                )
            return outcome(command, reply.message)

        return wait

    def quit(self) -> None:
        """Send ``quit`` if connected, without waiting: the end of the process is the answer."""
        client = self._client
        if client is not None:
            message = Message({"execute": "quit", "id": f"harness-{next(self.log.ids)}"})
            self._call(functools.partial(client.submit, message, Reply()))

    def drop(self, when: Drop) -> None:
        """Drop the connection: now, or in place of sending the next command, or of reading the next reply."""
        if when != "now":
            self._fault.when = when
            return
        with self._changed:
            client = self._client
            if client is None:
                return
            # The lost connection must not be used, not even before its own tasks notice.
            self._client = None
        if threading.current_thread() is self._thread:
            client.abort()
        else:
            self._call(client.abort)


def outcome(command: str, reply: Mapping[str, Any]) -> Any:
    """Return a command's result. Raises CommandRefused with QEMU's own words if it was refused."""
    if "error" not in reply:
        return reply.get("return")
    error = reply["error"] if isinstance(reply["error"], Mapping) else {}
    description = str(error.get("desc", "no reason given"))
    raise CommandRefused(
        f"QEMU refused {command}: {description}",
        command=command,
        error_class=str(error.get("class", "")),
        description=description,
    )
