# SPDX-License-Identifier: MIT
"""The identity of a guest at the first connection: its WinRM certificate and its SSH host key, to be pinned from then on.

Only for a guest whose port this host's own QEMU forwards on loopback: no other machine can answer there.
"""

from __future__ import annotations

import contextlib
import socket
import ssl

from harness.deadline import Deadline
from harness.errors import GuestUnreachable, MissingPart
from harness.transport.pin import CertificatePin, HostKeyPin


def certificate_at(address: str, port: int, deadline: Deadline) -> CertificatePin:
    """Return the pin of the certificate that a TLS server shows. Raises GuestUnreachable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # A lab certificate is self-signed; it is pinned.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    seconds = max(deadline.remaining(), 0.01)
    try:
        with (
            socket.create_connection((address, port), seconds) as plain,
            context.wrap_socket(plain) as secure,
        ):
            shown = secure.getpeercert(binary_form=True)
    except (OSError, ValueError) as error:
        raise GuestUnreachable(f"WinRM over HTTPS at {address}:{port}: {error}", sent=False) from error
    if not shown:
        raise GuestUnreachable(f"WinRM over HTTPS at {address}:{port} shows no certificate", sent=False)
    return CertificatePin.of(shown)


def host_key_at(address: str, port: int, deadline: Deadline) -> HostKeyPin:
    """Return the host key that an SSH server shows. Raises GuestUnreachable, MissingPart without paramiko."""
    try:
        import paramiko
    except ImportError as error:
        raise MissingPart(f"paramiko is not installed: {error}", hint="pip install paramiko") from error
    seconds = max(deadline.remaining(), 0.01)
    try:
        with contextlib.closing(
            paramiko.Transport(socket.create_connection((address, port), seconds))
        ) as server:
            server.banner_timeout = seconds
            server.start_client(timeout=seconds)
            key = server.get_remote_server_key()
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise GuestUnreachable(f"SSH at {address}:{port}: {error or 'no answer'}", sent=False) from error
    return HostKeyPin(key.get_name(), key.asbytes())
