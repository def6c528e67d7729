# SPDX-License-Identifier: MIT
"""One QMP connection: qemu.qmp's client, which reports each message, with replies that open a lock in another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

from qemu.qmp import Message, QMPClient, Runstate

from harness import locks
from harness.machine.machine import Drop

Passed = Callable[[Literal["in", "out"], dict[str, Any], int], None]
"""Called with every message: its direction, the message, the connection's number."""


class MessageFault:
    """The fault to inject into the next message, if any; shared by the connections of one monitor."""

    def __init__(self) -> None:
        self.when: Drop | None = None


class Reply:
    """What a caller sleeps on. ``message`` stays None when the connection dropped. ``sent``: the command was sent before."""

    __slots__ = ("_closed", "_opened", "message", "sent")

    def __init__(self) -> None:
        self.message: Message | None = None
        self.sent = False
        self._opened = False
        self._closed = locks.gate("QMP reply")

    def open(self, message: Message | None) -> None:
        """Wake the caller. Only the monitor's thread does so; only the first call counts."""
        if not self._opened:
            self._opened = True
            self.message = message
            self._closed.release()

    def wait(self, seconds: float) -> bool:
        """Return True once the reply is there or will never come, False after ``seconds``."""
        return self._closed.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))


class Client(QMPClient):
    """One connection: qemu.qmp's client with the harness's hooks. All methods run on the monitor's thread."""

    def __init__(self, number: int, passed: Passed, fault: MessageFault) -> None:
        super().__init__()
        self.number = number
        self._passed = passed
        self._fault = fault
        self._replies: dict[object, Reply] = {}

    def submit(self, message: Message, reply: Reply, descriptor: int | None = None) -> None:
        """Send a command at once; ``reply`` is opened by its reply or by the end of the connection.

        ``descriptor`` is sent with it, for ``getfd`` and ``add-fd``.
        """
        if self.runstate is not Runstate.RUNNING:
            reply.open(None)
            return
        reply.sent = True
        self._replies[message["id"]] = reply
        if self._fault.when == "before-command":
            self._fault.when = None
            self.abort()
            return
        if descriptor is not None:
            self.send_fd_scm(descriptor)
        self._do_send(self._cb_outbound(message))

    def _cb_outbound(self, msg: Message) -> Message:
        self._passed("out", dict(msg), self.number)
        return msg

    async def _do_recv(self) -> Message:
        message = await super()._do_recv()
        if self._fault.when == "before-reply" and message.get("id") in self._replies:
            self._fault.when = None
            raise ConnectionAbortedError("dropped before the reply was read")
        return message

    def _cb_inbound(self, msg: Message) -> Message:
        self._passed("in", dict(msg), self.number)
        return msg

    async def _on_message(self, msg: Message) -> None:
        if "event" in msg:
            return
        reply = self._replies.pop(msg.get("id"), None)
        if reply is not None:
            reply.open(msg)
        else:
            await super()._on_message(msg)

    def abort(self) -> None:
        """Close the harness's side of the socket at once, including unsent bytes."""
        if self._writer is not None:
            self._writer.transport.abort()

    def ended(self) -> None:
        """Record that the connection is gone: no waiting caller will get a reply."""
        while self._replies:
            self._replies.popitem()[1].open(None)
