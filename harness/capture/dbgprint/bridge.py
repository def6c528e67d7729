# SPDX-License-Identifier: MIT
"""Connects the port to a real debugger: passes every byte both ways between it and one TCP client on this host.

WinDbg and KD speak KD over a TCP connection in place of a serial cable: ``windbg -k com:ipport=PORT,port=127.0.0.1``
(learn.microsoft.com: performing-kernel-mode-debugging-using-windbg). Without a client the guest's bytes are
dropped, as with an unplugged cable.
"""

from __future__ import annotations

import os
import selectors
import socket

from harness.capture.dbgprint.service import CHUNK, LEASH


def listen() -> socket.socket:
    """Return a listening socket on loopback; the kernel picks its port."""
    return socket.create_server(("127.0.0.1", 0), backlog=1)


class Bridge:
    """The port, the listening socket, and at most one client. A second client is disconnected at once."""

    def __init__(self, port: socket.socket, listener: socket.socket) -> None:
        self._port = port
        self._listener = listener
        self._client: socket.socket | None = None
        self._pending: dict[socket.socket, bytes] = {}

    def run(self) -> str:
        """Pass bytes on until the port or the leash ends; return which ended."""
        for end in (self._port, self._listener):
            end.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(LEASH, selectors.EVENT_READ)
            while True:
                self._watch(selector)
                for key, mask in selector.select():
                    if key.fd == LEASH:
                        if not os.read(LEASH, CHUNK):
                            return "asked to"
                    elif key.fileobj is self._listener:
                        self._admit()
                    elif key.fileobj is self._port:
                        if not self._serve(self._port, self._client, mask):
                            return "the port was closed"
                    elif key.fileobj is self._client and not self._serve(self._client, self._port, mask):
                        self._leave(selector)

    def _watch(self, selector: selectors.BaseSelector) -> None:
        """Wait only for what can be handled: no side is read while the other has no room."""
        ends = [(self._listener, None), (self._port, self._client)]
        if self._client is not None:
            ends.append((self._client, self._port))
        for end, other in ends:
            mask = 0 if other is not None and self._pending.get(other) else selectors.EVENT_READ
            mask |= selectors.EVENT_WRITE if self._pending.get(end) else 0
            known = selector.get_map().get(end)
            if known is None and mask:
                selector.register(end, mask)
            elif known is not None and not mask:
                selector.unregister(end)
            elif known is not None and known.events != mask:
                selector.modify(end, mask)

    def _admit(self) -> None:
        try:
            client, _address = self._listener.accept()
        except OSError:
            return
        if self._client is not None:
            client.close()
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client

    def _leave(self, selector: selectors.BaseSelector) -> None:
        """Forget a disconnected client and the bytes for it. The bytes that it sent still go out."""
        assert self._client is not None
        if selector.get_map().get(self._client) is not None:
            selector.unregister(self._client)
        self._pending.pop(self._client, None)
        self._client.close()
        self._client = None

    def _serve(self, end: socket.socket, other: socket.socket | None, mask: int) -> bool:
        """Pass on what is possible from ``end`` to ``other``; return False when ``end`` is closed."""
        try:
            if mask & selectors.EVENT_WRITE and (rest := self._pending.pop(end, b"")):
                self._send(end, rest)
            if mask & selectors.EVENT_READ:
                data = end.recv(CHUNK)
                if not data:
                    return False
                if other is not None:
                    self._send(other, data)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def _send(self, end: socket.socket, data: bytes) -> None:
        try:
            sent = end.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the next read of that end reports it
        if sent < len(data):
            self._pending[end] = data[sent:]
