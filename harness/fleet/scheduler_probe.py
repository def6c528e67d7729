# SPDX-License-Identifier: MIT
"""A probe of a scheduler: whether it answers at its address, or else why not, with the fitting hint.

A process of the engine sends a greeting to each client. The probe waits for its first byte. So it finds a stopped
process, which accepts connections and sends nothing, and a refused certificate, which TLS 1.3 reports after the handshake
(RFC 8446, section 4.4.4 and appendix E).
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from harness.errors import InfrastructureError
from harness.fleet.tls import TlsFiles, reason, security
from harness.invocation import invocation


class SchedulerLost(InfrastructureError):
    """The scheduler cannot be reached, or its connection was lost."""


class SilentPeer(TimeoutError):
    """It accepts connections and sends nothing."""


def greet(url: str, tls: TlsFiles | None, seconds: float) -> None:
    """Connect to a process of the engine and wait for its greeting, ``seconds`` for each step. Raises SilentPeer.

    Raises other OSError, ssl.SSLError among them.
    """
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), seconds) as plain:
        try:
            if parts.scheme != "tls":
                _read(plain)
                return
            context: ssl.SSLContext = security(tls).get_connection_args("client")["ssl_context"]  # type: ignore[union-attr]
            with context.wrap_socket(plain, server_hostname=parts.hostname) as secured:
                _read(secured)
        except TimeoutError as error:
            raise SilentPeer from error


def _read(connection: socket.socket) -> None:
    if not connection.recv(1):
        raise ConnectionResetError("it closed the connection")


def probe(url: str, tls: TlsFiles | None, seconds: float) -> None:
    """Check that a scheduler answers. Raises SchedulerLost with the cause."""
    try:
        greet(url, tls, seconds)
    except OSError as error:
        why, hint = _cause(url, tls, error, seconds)
        raise SchedulerLost(f"the scheduler {url} cannot be reached: {why}", hint=hint) from error


def check_name(url: str, tls: TlsFiles | None) -> None:
    """Check that the name of a scheduler resolves, before it listens there. Raises InfrastructureError."""
    parts = urlsplit(url)
    try:
        socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except OSError as error:
        why, hint = _cause(url, tls, error, 0)
        raise InfrastructureError(f"the scheduler cannot listen at {url}: {why}", hint=hint) from error


def _cause(url: str, tls: TlsFiles | None, error: OSError, seconds: float) -> tuple[str, str]:
    """Return the cause of a failed probe, and what to do."""
    host = urlsplit(url).hostname
    start = f"Start it, or check host and port: {invocation('fleet', 'scheduler', '--listen', url)}"
    same = "All hosts need ca.pem of the same authority, and a certificate that it made."
    if isinstance(error, socket.gaierror):
        return f"the name {host} does not resolve: {error.strerror}", "Check the name, DNS and /etc/hosts."
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens there", start
    other = "tcp://" if url.startswith("tls:") else "tls://"
    if isinstance(error, SilentPeer):
        return (
            f"it accepts connections, and sends nothing within {seconds:.0f} s",
            f"Check the port. The scheduler may be stopped, have just been started, or be one with {other}.",
        )
    if isinstance(error, TimeoutError):
        return (
            f"no answer within {seconds:.0f} s",
            "Check host and port, the network, and the firewall of that host.",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        ca = "" if tls is None else f" {tls.ca}"
        return f"its certificate is not valid by ca{ca}: {error.verify_message}", same
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        cert = "" if tls is None else f" {tls.cert}"
        alert = (error.reason or "").rpartition("ALERT_")[2].replace("_", " ").lower()
        if "EXPIRED" in (error.reason or ""):
            return f"the certificate{cert} of this host has expired", "Make another for this host."
        return f"it does not accept this host's certificate{cert} ({alert})", same
    if isinstance(error, ssl.SSLError):
        return (
            f"no TLS there ({reason(error)})",
            "Check the port. A scheduler for other hosts listens at tls://.",
        )
    if isinstance(error, ConnectionResetError):
        return (
            "it closed the connection",
            f"Check the port. Is it a scheduler with {other}, or another service?",
        )
    return str(error.strerror or error), "Check host and port, and the network."
