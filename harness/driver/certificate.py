# SPDX-License-Identifier: MIT
"""A certificate for test signing, made on demand. It is valid only in a guest in test mode that trusts it."""

from __future__ import annotations

import datetime
import hashlib
import os
import ssl
from pathlib import Path
from typing import NamedTuple

from harness.errors import UsageError, system_errors

NAME = "hpnotify test signing"
YEARS = 10
KEY_BITS = 3072


class Certificate(NamedTuple):
    """A certificate in PEM and its key. ``der`` is the same certificate in the form for Windows' tools."""

    pem: Path
    key: Path

    @property
    def der(self) -> Path:
        """The certificate for ``certutil -addstore Root`` and ``TrustedPublisher`` in the guest."""
        return self.pem.with_suffix(".cer")


def ensure(folder: Path) -> Certificate:
    """Return the test certificate of a folder, making certificate and key if there is none.

    The key is readable by its owner only. Raises InfrastructureError if they cannot be written.
    """
    certificate = Certificate(folder / "hpnotify-test.pem", folder / "hpnotify-test.key")
    if not certificate.key.exists() or not certificate.pem.exists():
        with system_errors(
            f"cannot make a test certificate in {folder}",
            hint="Name a folder that can be written to with --keys.",
        ):
            folder.mkdir(parents=True, exist_ok=True)
            _make(certificate)
    return certificate


def fingerprint(pem: Path) -> str:
    """Return the SHA-256 of a certificate in PEM. Raises UsageError for an invalid file."""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.read_text(encoding="ascii"))).hexdigest()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{pem} is not a certificate in PEM: {error}", hint="Name the .pem file of the signer."
        ) from error


def _make(certificate: Certificate) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A guest's clock begins at its template's last shutdown, which may be long ago.
        .not_valid_before(now - datetime.timedelta(days=365 * YEARS))
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    descriptor = os.open(certificate.key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    certificate.der.write_bytes(made.public_bytes(serialization.Encoding.DER))
    certificate.pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
