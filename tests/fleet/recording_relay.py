# SPDX-License-Identifier: MIT
"""A relay of TCP on loopback that keeps every byte that passes, in both directions."""

from __future__ import annotations

import contextlib
import socket
import threading


class RecordingRelay:
    """Listens at ``port``, which the kernel picks, and passes connections on to ``target``.

    ``passed`` are the bytes of all connections: each direction of a connection is a stream of its own.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._streams: list[bytearray] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def passed(self) -> bytes:
        """Return what has passed, one stream after the other."""
        return b"\n".join(bytes(stream) for stream in list(self._streams))

    def close(self) -> None:
        """Accept no more connections. Those that are there end with their own ends."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    there = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                for source, sink in ((client, there), (there, client)):
                    stream = bytearray()
                    self._streams.append(stream)
                    threading.Thread(target=_pump, args=(source, sink, stream), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, stream: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            stream += data
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
