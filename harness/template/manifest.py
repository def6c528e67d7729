# SPDX-License-Identifier: MIT
"""The manifest of a built template: what it is, what it was made from, and what it promises."""

from __future__ import annotations

import calendar
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from harness.deadline import Deadline
from harness.errors import InfrastructureError

FORMAT = 1

WARN_DAYS = 30
"""Days before the end of an evaluation from which on the template had better be built anew."""

PIECE = 1 << 20


class Medium(msgspec.Struct, frozen=True, kw_only=True):
    """The installation medium: its file's name, size and SHA-256."""

    name: str
    size: int
    sha256: str


class TemplateManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a built template. ``files`` has the SHA-256 of every file beside it, ``inputs`` of all it is made from.

    ``certificate`` is the SHA-256 of WinRM's certificate, ``host_key`` the SSH server's public key, "" without one;
    both were told by the guest while it was built. ``transfer`` says how files travel. ``built`` is UTC. An image that
    works for evaluation only does so for ``evaluation_days``, else 0. ``stages`` are seconds, ``restarts`` how often
    the build was resumed. ``facts`` is all else that the guest told.
    """

    format: int = FORMAT
    template: str
    title: str
    support: str
    edition: str
    image: str
    medium: Medium
    built: str
    harness: str
    qemu: str
    accelerator: str
    files: dict[str, str]
    inputs: dict[str, str]
    certificate: str
    host_key: str = ""
    transfer: Literal["sftp", "winrm"] = "winrm"
    evaluation_days: int = 0
    stages: dict[str, float] = {}
    attempts: int = 1
    facts: dict[str, str] = {}
    log: str = "log"

    def age_days(self, now: float) -> int:
        """Return the whole days since the build; ``now`` is seconds since the epoch. 0 for a clock that went back."""
        return max(0, int(now - _seconds(self.built)) // 86400)

    def days_left(self, now: float) -> int | None:
        """Return the days until the evaluation ends, negative after it; None for an image that does not end."""
        return self.evaluation_days - self.age_days(now) if self.evaluation_days else None


class GuestCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """What opens the guest: the administrator's password, and a private key in OpenSSH's format with its public one."""

    password: str
    private_key: str
    public_key: str

    def __repr__(self) -> str:
        """Nothing of it: what is printed may end in a log."""
        return "Secrets(…)"


def utc(seconds: float) -> str:
    """Return a time in the form that the manifest has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _seconds(text: str) -> float:
    try:
        return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return 0.0


def sha256_of(file: Path, deadline: Deadline, *, progress: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file; ``progress`` hears how many bytes are read, once every GiB. Raises InfrastructureError."""
    digest = hashlib.sha256()
    done = 0
    try:
        with file.open("rb", buffering=0) as source:
            while piece := source.read(PIECE):
                digest.update(piece)
                done += len(piece)
                if progress is not None and done % (1024 * PIECE) == 0:
                    progress(done)
                if deadline.expired:
                    raise InfrastructureError(
                        f"{deadline.what}: {file} could not be read within {deadline.seconds:g} s",
                        hint="The disk that it lies on is slow or hangs.",
                    )
    except OSError as error:
        raise InfrastructureError(
            f"{deadline.what}: cannot read {file}: {error.strerror}",
            hint="Check the file and the disk it lies on.",
        ) from error
    return digest.hexdigest()
