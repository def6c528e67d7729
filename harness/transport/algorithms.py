# SPDX-License-Identifier: MIT
"""The algorithms that a connection into a guest may use. A peer that has none of these is refused.

The lists name the allowed algorithms, so that a newer library does not use others.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any

from harness.errors import UsageError

LEAST_TLS = ssl.TLSVersion.TLSv1_2
"""Windows Server 2016 and later enable it (Microsoft: Protocols in TLS/SSL, Schannel SSP)."""

KEY_EXCHANGES = (
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group14-sha256",
)
CIPHERS = (
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
MACS = (
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512",
    "hmac-sha2-256",
)
SHA1_SIGNATURES = ("ssh-rsa", "ssh-dss")
"""Signatures that are refused. An RSA key signs with SHA-2 (RFC 8332)."""

NTLM_LEVEL = "LM_COMPAT_LEVEL"
"""The environment variable that sets the NTLM versions allowed to pyspnego and gss-ntlmssp."""

LEAST_NTLM_LEVEL = 3
"""From this level on only NTLMv2 is sent (Microsoft: Network security: LAN Manager authentication level)."""


def limited_ssh(socket: Any, **options: Any) -> Any:
    """Return a paramiko transport over ``socket`` that offers these algorithms only, in this order."""
    import paramiko

    options["disabled_algorithms"] = {"keys": SHA1_SIGNATURES, "pubkeys": SHA1_SIGNATURES}
    transport = paramiko.Transport(socket, **options)
    offered = transport.get_security_options()
    offered.kex = _both(KEY_EXCHANGES, offered.kex)
    offered.ciphers = _both(CIPHERS, offered.ciphers)
    offered.digests = _both(MACS, offered.digests)
    return transport


def _both(wanted: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in wanted if name in known)


def check_ntlm(environment: Mapping[str, str] = os.environ) -> None:
    """Raise UsageError if the environment allows an NTLM older than version 2."""
    level = environment.get(NTLM_LEVEL, str(LEAST_NTLM_LEVEL))
    if level not in ("3", "4", "5"):
        raise UsageError(
            f"{NTLM_LEVEL} is {level!r}, which allows NTLM before version 2",
            hint=f"Unset it, or set it to {LEAST_NTLM_LEVEL} or more.",
        )
