# SPDX-License-Identifier: MIT
"""What a server that nobody knows yet shows is pinned; what is no server is told and never waited for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from transport.wsman_double import Double

from harness.deadline import Deadline
from harness.errors import GuestUnreachable
from harness.transport.first_contact import certificate_at, host_key_at
from harness.transport.pin import CertificatePin, HostKeyPin

pytestmark = pytest.mark.remote


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_certificate_of_a_server_is_pinned(tmp_path: Path) -> None:
    """It is the one that the server has."""
    double = Double(tmp_path, tmp_path)
    try:
        found = certificate_at("127.0.0.1", double.port, Deadline(20, "ask"))
    finally:
        double.stop()
    assert CertificatePin.of(double.certificate) == found


def test_the_host_key_of_a_server_is_pinned(tmp_path: Path) -> None:
    """It is the one that the server has, and its line is that of a .pub file."""
    import paramiko
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    file = tmp_path / "host"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            link, _ = server.accept()
            transport = paramiko.Transport(link)
            transport.add_server_key(paramiko.Ed25519Key(filename=str(file)))
            transport.start_server(event=threading.Event(), server=paramiko.ServerInterface())
            transport.join(20)

        thread = threading.Thread(target=serve)
        thread.start()
        found = host_key_at("127.0.0.1", server.getsockname()[1], Deadline(20, "ask"))
        thread.join(20)
    assert HostKeyPin.parse(line.decode()) == found
    assert line.decode() == found.line


@pytest.mark.parametrize("ask", [certificate_at, host_key_at])
def test_a_port_without_a_server_is_told(ask: object, silent: int) -> None:
    """One that nobody listens at, and one that says nothing, within the time."""
    assert callable(ask)
    with pytest.raises(GuestUnreachable):
        ask("127.0.0.1", silent, Deadline(0.5, "ask"))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(GuestUnreachable, match="refused"):
        ask("127.0.0.1", port, Deadline(5, "ask"))
