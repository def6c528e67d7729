# SPDX-License-Identifier: MIT
"""The TLS files of a host, checked before they are used, and the engine's settings made of them."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.errors import UsageError, system_errors
from harness.invocation import invocation

if TYPE_CHECKING:
    from distributed import Security


class TlsFiles(msgspec.Struct, frozen=True):
    """The files of TLS: the lab's authority, and this host's certificate and key."""

    ca: Path
    cert: Path
    key: Path


def tls_files(ca: str | Path, cert: str | Path, key: str | Path) -> TlsFiles | None:
    """Return the three files, None if none is given. Raises UsageError if some are missing, unreadable, damaged or do
    not belong together."""
    given = {"ca": ca, "cert": cert, "key": key}
    absent = [name for name, path in given.items() if not str(path)]
    if len(absent) == len(given):
        return None
    if absent:
        raise UsageError(
            f"TLS needs the files ca, cert and key, and {' and '.join(absent)} is not given",
            hint=f"To make all three: {invocation('fleet', 'certificates', 'HOST', '--out', 'DIR')}",
        )
    for name, path in given.items():
        with system_errors(f"{name} = {str(path)!r}", kind=UsageError):
            Path(path).open("rb").close()
    found = TlsFiles(Path(ca), Path(cert), Path(key))
    _check(found)
    return found


def _check(files: TlsFiles) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(files.ca)
    except ssl.SSLError as error:
        raise UsageError(
            f"ca = {str(files.ca)!r} has no certificate in PEM format ({reason(error)})",
            hint="Give ca.pem of the lab's authority.",
        ) from error

    def password() -> str:
        raise UsageError(f"key = {str(files.key)!r} needs a password, and a fleet's key must have none")

    try:
        context.load_cert_chain(files.cert, files.key, password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UsageError(
                f"cert = {str(files.cert)!r} and key = {str(files.key)!r} do not belong together",
                hint="Give this host's own two files, for example lab1.pem and lab1-key.pem.",
            ) from error
        raise UsageError(
            f"cert = {str(files.cert)!r} and key = {str(files.key)!r} are not a certificate and its key in PEM format "
            f"({reason(error)})",
            hint="Give this host's own two files, for example lab1.pem and lab1-key.pem.",
        ) from error


def reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason in words."""
    return (error.reason or str(error)).replace("_", " ").lower()[:200]


def security(tls: TlsFiles | None) -> Security | None:
    """Return the engine's own settings of TLS: both sides show a certificate of the lab's authority."""
    if tls is None:
        return None
    from distributed import Security

    cert, key = str(tls.cert), str(tls.key)
    return Security(
        tls_ca_file=str(tls.ca), require_encryption=True,
        tls_client_cert=cert, tls_client_key=key, tls_worker_cert=cert, tls_worker_key=key,
        tls_scheduler_cert=cert, tls_scheduler_key=key,
    )  # fmt: skip
