# SPDX-License-Identifier: MIT
"""The manifest of a built template: its identity, its inputs, and its promises."""

from __future__ import annotations

import base64
import calendar
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from harness.deadline import Deadline
from harness.errors import InfrastructureError, system_errors
from harness.template.progress import StepWarning

FORMAT = 1

WARN_DAYS = 30
"""Days before the end of an evaluation from which on a rebuild of the template is recommended."""

LICENSED = "1"
"""LicenseStatus of an activated Windows: 0 minutes left then means no end."""

PIECE = 1 << 20


class Medium(msgspec.Struct, frozen=True, kw_only=True):
    """The installation medium: its file's name, size and SHA-256."""

    name: str
    size: int
    sha256: str


class TemplateManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a template. ``origin``: built from a medium, or adopted from a disk, which is then ``medium``.

    ``files`` has the SHA-256 of every other file in the folder, ``inputs`` that of all inputs.

    ``certificate`` is the SHA-256 of WinRM's certificate, ``host_key`` the SSH server's public key, "" without one;
    the guest reported both while it was built. ``transfer`` says how files are transferred. ``built`` is UTC.
    ``evaluation_days`` is the length of an evaluation, 0 for other images. ``shutdown`` is when the guest turned itself off
    at the end of the build, in UTC, "" from a harness that did not record it. ``stages`` are seconds. ``restarts`` is how
    often the build was resumed. ``facts`` are all other facts that the guest reported. ``warnings`` are failures that the
    template can do without.
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
    shutdown: str = ""
    stages: dict[str, float] = {}
    attempts: int = 1
    facts: dict[str, str] = {}
    log: str = "log"
    origin: Literal["built", "adopted"] = "built"
    warnings: tuple[StepWarning, ...] = ()

    def age_days(self, now: float) -> int:
        """Return the whole days since the build; ``now`` is seconds since the epoch. 0 for a clock that went back."""
        return max(0, int(now - seconds_of(self.built)) // 86400)

    @property
    def run_days(self) -> int | None:
        """The days of evaluation with which every run begins, since none pass between runs. None for an image without an end.

        The smaller of the evaluation's days and the minutes that the guest reported: without an activation over the network
        there are ten days (Microsoft Learn: "SoftwareLicensingProduct class", GracePeriodRemaining).
        """
        if not self.evaluation_days:
            return None
        told = self.facts.get("grace-minutes", "")
        licensed = self.facts.get("license") == LICENSED and told == "0"
        minutes = int(told) if told.isascii() and told.isdigit() and len(told) <= 9 and not licensed else None
        return self.evaluation_days if minutes is None else min(self.evaluation_days, minutes // 1440)

    def days_left(self, now: float) -> int | None:
        """Return the days until the evaluation ends by the host's clock, negative after it, as for ``--real-time``.

        None for an image without an end.
        """
        days = self.run_days
        return None if days is None else days - self.age_days(now)


class GuestCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """The guest's credentials: the administrator's password, and a private key in OpenSSH's format with its public key."""

    password: str
    private_key: str
    public_key: str

    def __repr__(self) -> str:
        """Show no secrets: what is printed may end in a log."""
        return "Secrets(…)"

    def spellings(self) -> list[bytes]:
        """Return the password in the forms that a file may hold: plain, in UTF-16, and as Setup hides it in an answer file.

        That is Base64 of UTF-16 of the password and the name of its element (Microsoft Learn: "Value", of
        Microsoft-Windows-Shell-Setup, UserAccounts, AdministratorPassword: the example, whose password is ``pw``).
        """
        wide = [
            self.password,
            *(self.password + element for element in ("Password", "AdministratorPassword")),
        ]
        encoded = [word.encode("utf-16-le") for word in wide]
        return [self.password.encode(), encoded[0], *(base64.b64encode(word) for word in encoded[1:])]


def utc(seconds: float) -> str:
    """Return a time in the manifest's format."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def seconds_of(text: str) -> int:
    """Return a time that :func:`utc` wrote, in seconds since the epoch; 0 for invalid text."""
    try:
        return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))
    except (ValueError, OverflowError):
        return 0


def sha256_of(file: Path, deadline: Deadline, *, progress: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file; ``progress`` receives the number of bytes read, once every GiB. Raises InfrastructureError."""
    digest = hashlib.sha256()
    done = 0
    with (
        system_errors(f"{deadline.what}: cannot read {file}", hint="Check the file and the disk it lies on."),
        file.open("rb", buffering=0) as source,
    ):
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
    return digest.hexdigest()
