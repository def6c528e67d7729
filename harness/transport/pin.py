# SPDX-License-Identifier: MIT
"""The identity that a guest must prove: its certificate's SHA-256, its SSH host key."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import NamedTuple

from harness.errors import UsageError

SHA1_DIGITS = 40
SHA256_DIGITS = 64
SSH_KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)

_SEPARATORS = re.compile(r"[\s:\-\u200e]")


class CertificatePin(NamedTuple):
    """The SHA-256 of a certificate in DER, as 64 lower-case hex digits.

    A lab certificate is self-signed and carries the name the guest had when it was made. So neither its issuer nor
    its name proves anything; its bytes do.
    """

    sha256: str

    @classmethod
    def parse(cls, text: str) -> CertificatePin:
        """Parse hex digits, with or without colons, hyphens or spaces. Raises UsageError for anything else.

        Windows shows SHA-1 thumbprints, with a left-to-right mark in front when copied from its dialog. The mark is
        dropped, the thumbprint refused.
        """
        digits = _SEPARATORS.sub("", text)
        if len(digits) == SHA1_DIGITS:
            raise UsageError(
                f"the certificate thumbprint {_shown(text)} is a SHA-1 of 40 digits",
                hint="Give the SHA-256, e.g. of: openssl x509 -in CERTIFICATE -noout -fingerprint -sha256",
            )
        if len(digits) != SHA256_DIGITS or not re.fullmatch("[0-9A-Fa-f]+", digits):
            raise UsageError(
                f"the certificate thumbprint {_shown(text)} is not a SHA-256",
                hint="It has 64 hex digits; colons and spaces between them do no harm.",
            )
        return cls(digits.lower())

    @classmethod
    def of(cls, der: bytes) -> CertificatePin:
        """Return the pin of a certificate in DER."""
        return cls(hashlib.sha256(der).hexdigest())


class HostKeyPin(NamedTuple):
    """A guest's public SSH host key: its type and its blob, as in a ``.pub`` file."""

    kind: str
    blob: bytes

    @classmethod
    def parse(cls, line: str) -> HostKeyPin:
        """Parse a line such as ``ssh-ed25519 AAAA… comment``. Raises UsageError for anything else."""
        words = line.split()
        hint = f"Give the line of the host key's .pub file; its type is one of {', '.join(SSH_KEY_TYPES)}."
        if len(words) < 2 or words[0] not in SSH_KEY_TYPES:
            raise UsageError(f"the SSH host key {_shown(line)} has no known type", hint=hint)
        try:
            blob = base64.b64decode(words[1], validate=True)
        except (binascii.Error, ValueError) as error:
            raise UsageError(f"the SSH host key {_shown(line)} is not Base64: {error}", hint=hint) from error
        name = words[0].encode()
        if blob[: 4 + len(name)] != len(name).to_bytes(4, "big") + name:
            raise UsageError(f"the SSH host key {_shown(line)} does not hold a key of its type", hint=hint)
        return cls(words[0], blob)

    @property
    def line(self) -> str:
        """The key as in a ``.pub`` file, without a comment."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """The fingerprint in ssh-keygen's form, ``SHA256:…``."""
        return ssh_fingerprint(self.blob)


def ssh_fingerprint(blob: bytes) -> str:
    """Return the fingerprint of a public key blob in ssh-keygen's form."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:100] + "…")
