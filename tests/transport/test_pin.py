# SPDX-License-Identifier: MIT
"""What a guest must show is taken from text that people copy, and nothing else is taken for it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transport.servers import make_key

from harness.errors import UsageError
from harness.transport.pin import CertificatePin, HostKeyPin
from harness.transport.secret import Secret

DIGITS = hashlib.sha256(b"a certificate").hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        DIGITS,
        DIGITS.upper(),
        ":".join(DIGITS[n : n + 2] for n in range(0, 64, 2)),
        " ".join(DIGITS[n : n + 2] for n in range(0, 64, 2)) + "\n",
        "\u200e" + DIGITS,
    ],
)
def test_a_thumbprint_is_read_in_every_usual_form(text: str) -> None:
    """As openssl, PowerShell and the certificate dialog write it."""
    assert CertificatePin.of(b"a certificate") == CertificatePin.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DIGITS[:40], "is a SHA-1 of 40 digits"),
        ("", "is not a SHA-256"),
        (DIGITS[:-1], "is not a SHA-256"),
        (DIGITS[:-1] + "g", "is not a SHA-256"),
        (DIGITS + "00", "is not a SHA-256"),
        ("sha256:" + DIGITS, "is not a SHA-256"),
    ],
)
def test_what_is_no_sha_256_is_refused(text: str, message: str) -> None:
    """A SHA-1, which is what Windows shows, is told apart."""
    with pytest.raises(UsageError, match=message):
        CertificatePin.parse(text)


@given(st.text(max_size=200))
def test_arbitrary_text_is_a_pin_or_a_usage_error(text: str) -> None:
    """Never another exception."""
    for kind in (CertificatePin, HostKeyPin):
        try:
            kind.parse(text)
        except UsageError:
            continue


def test_a_host_key_is_read_from_its_public_line(tmp_path: Path) -> None:
    """The comment is of no account."""
    line = make_key(tmp_path / "key")
    pin = HostKeyPin.parse(f"{line} root@guest\n")
    assert ("ssh-ed25519", base64.b64decode(line.split()[1])) == (pin.kind, pin.blob)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 !!!",
        "ssh-ed25519 AAAA",
        "ssh-dss AAAAB3NzaC1kc3M=",
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA==",
        "SHA256:abcdef",
    ],
)
def test_what_is_no_host_key_is_refused(line: str) -> None:
    """A fingerprint alone is no key either: the server must be asked for a key of the right type."""
    with pytest.raises(UsageError, match="the SSH host key"):
        HostKeyPin.parse(line)


def test_a_password_file_must_be_private(tmp_path: Path) -> None:
    """Its first line is the password; a file that others may read is refused."""
    path = tmp_path / "password"
    path.write_text("pa ss\r\nsecond line\n")
    path.chmod(0o600)
    secret = Secret.from_file(path)
    assert ("pa ss", "Secret(…)") == (secret.reveal(), repr(secret))
    path.chmod(0o640)
    with pytest.raises(UsageError, match="has mode 0640: others may read it"):
        Secret.from_file(path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "no password"), (b"\xff\n", "not UTF-8"), (b"x" * 5000, "no password")]
)
def test_a_password_file_without_a_password_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Each with its reason, and without its content."""
    path = tmp_path / "password"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UsageError, match=message):
        Secret.from_file(path)
    with pytest.raises(UsageError, match="cannot read"):
        Secret.from_file(tmp_path / "absent")
