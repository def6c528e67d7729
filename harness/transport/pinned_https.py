# SPDX-License-Identifier: MIT
"""HTTPS to the holder of one certificate, with bounded answers. Another thread can cut the connection.

A requests adapter, for libraries that accept one. urllib3 compares the certificate's SHA-256
(``assert_fingerprint``) at the end of the TLS handshake, before any HTTP is sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from harness import locks
from harness.errors import GuestRefused
from harness.transport.algorithms import LEAST_TLS
from harness.transport.pin import CertificatePin

LARGEST_RESPONSE = 1024 * 1024
"""Bytes of one response; pywinrm asks for envelopes of at most 153,600."""


class Sockets:
    """All connections of a session, so that another thread can cut them.

    The descriptor is a duplicate: shutting it down ends OpenSSL's wait without touching its state.
    """

    def __init__(self) -> None:
        self._lock = locks.lock("WinRM sockets")
        self._held: list[socket.socket] = []
        self._over = False

    def add(self, connection: socket.socket) -> None:
        """Add a connection. Raises OSError once all have been cut."""
        with self._lock:
            if self._over:
                raise OSError("the conversation is over")
            self._held.append(socket.socket(fileno=os.dup(connection.fileno())))

    def cut(self) -> None:
        """Close every connection, and every later one."""
        with self._lock:
            self._over = True
            held, self._held = self._held, []
        for connection in held:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def pinned_adapter(name: str, certificate: CertificatePin, sockets: Sockets) -> Any:
    """Return a requests adapter that connects only to the holder of one certificate, with bounded answers."""
    import requests.adapters
    import urllib3
    from urllib3.connection import HTTPSConnection
    from urllib3.connectionpool import HTTPSConnectionPool
    from urllib3.util.ssl_ import create_urllib3_context

    class Connection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            try:
                sockets.add(made)
            except OSError:
                made.close()
                raise
            return made

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    # Without this context every connection would needlessly read the machine's certificate authorities.
    context = create_urllib3_context(cert_reqs=ssl.CERT_NONE)
    context.check_hostname = False
    context.minimum_version = LEAST_TLS

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *_arguments: Any, **_options: Any) -> None:
            self.poolmanager = urllib3.PoolManager(
                num_pools=1,
                maxsize=1,
                retries=False,
                assert_fingerprint=certificate.sha256,
                ssl_context=context,
            )
            self.poolmanager.pool_classes_by_scheme = {"https": Pool}

        def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
            response = super().send(request, *arguments, **{**options, "stream": True})
            return _limited(response, name)

    return Adapter()


def _limited(response: Any, name: str) -> Any:
    """Bound the bytes that are read from a response, before any are read."""
    raw = response.raw
    left = LARGEST_RESPONSE
    stream = raw.stream

    def limited(*arguments: Any, **options: Any) -> Iterator[bytes]:
        nonlocal left
        for piece in stream(*arguments, **options):
            left -= len(piece)
            if left < 0:
                raise GuestRefused(f"{name}: a response of more than {LARGEST_RESPONSE} bytes")
            yield piece

    raw.stream = limited
    return response
