# SPDX-License-Identifier: MIT
"""The credentials of a guest, new for every template: a random password and a key pair for SSH."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.errors import InfrastructureError, UsageError
from harness.template.answer import new_password, write_secret
from harness.template.checkpoints import disk_errors
from harness.template.manifest import GuestCredentials

COMMENT = "hotplug-harness"


def new_secrets() -> GuestCredentials:
    """Make a password and an Ed25519 key pair."""
    # Part of paramiko's dependencies; imported here because the import is slow.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return GuestCredentials(
        password=new_password(), private_key=private.decode(), public_key=f"{public.decode()} {COMMENT}"
    )


def public_key_of(private: str, name: str) -> str:
    """Return the public key of a private one, as ``authorized_keys`` holds it. Raises UsageError; ``name`` is for the message."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    load = (
        serialization.load_ssh_private_key
        if "OPENSSH PRIVATE KEY" in private
        else serialization.load_pem_private_key
    )
    try:
        public = load(private.encode(), password=None).public_key()
        line = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{name} is not a private key without a passphrase: {error}",
            hint="Give the private key, not KEY.pub; ssh-keygen -p removes a passphrase from a copy of it.",
        ) from error
    return f"{line.decode()} {COMMENT}"


def kept_secrets(file: Path) -> GuestCredentials:
    """Return the secrets in ``file``, making and writing them if there are none: a resumed build needs the same.

    Raises InfrastructureError if they can be neither read nor written.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=GuestCredentials)
    except FileNotFoundError:
        pass
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InfrastructureError(
            f"the secrets of the interrupted build cannot be read: {getattr(error, 'strerror', None) or error}",
            hint="Remove its checkpoints: --from nothing.",
        ) from error
    with disk_errors(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    secrets = new_secrets()
    write_secret(file, msgspec.json.encode(secrets))
    return secrets
