# SPDX-License-Identifier: MIT
"""The transport protocol: how the rest of the harness runs commands and copies files in a guest, over any wire.

:class:`harness.transport.link.WireTransport` is one, over a ``WinrmWire``, ``SshWire`` or ``QgaWire``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from harness.deadline import Deadline

OUTPUT_LIMIT = 16 * 1024 * 1024
"""Bytes of each output stream that are kept unless the caller says otherwise."""

FILE_LIMIT = 8 * 1024 * 1024 * 1024
"""Bytes of one file that are copied unless the caller says otherwise."""

FILES_LIMIT = 1000
"""Files that one :meth:`Transport.gather` takes unless the caller says otherwise."""


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a command or script.

    ``remarks`` report what the texts do not show: bytes that were not UTF-8, output that was cut. ``complete`` is false
    if output is missing. ``attempts`` counts the attempts.
    """

    exit_code: int
    stdout: str
    stderr: str
    remarks: tuple[str, ...] = ()
    complete: bool = True
    attempts: int = 1


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """A completely copied file: both ends have this size and this SHA-256.

    ``resumed_at`` is the number of bytes that an earlier, interrupted copy had already transferred.
    """

    size: int
    sha256: str
    resumed_at: int = 0
    attempts: int = 1


class GatheredFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a guest's directory. ``name`` is the guest's name for it and never part of ``path``.

    ``path`` is None for a file that was refused, and ``refused`` says why.
    """

    name: str
    path: Path | None
    size: int
    sha256: str = ""
    refused: str = ""


class Transport(Protocol):
    """Commands, scripts, files and jobs in a guest.

    Every method raises GuestHang when the deadline passes, naming the last stage reached; GuestRefused with the
    guest's message; GuestUnreachable when the connection broke and it is not known whether the command ran; and
    InfrastructureError when certificate or host key are not the pinned ones, or the host's disk is full.
    """

    name: str

    def run(
        self, command: str, deadline: Deadline, *, idempotent: bool = False, limit: int = OUTPUT_LIMIT
    ) -> CommandResult:
        """Run one command line of the guest's shell (cmd.exe on Windows) and wait for its end.

        An exit code other than 0 is a result, not an error. A command that is ``idempotent`` is repeated, with growing
        pauses, until the deadline. Any other command is repeated only if it cannot have reached the guest.
        """

    def script(
        self, text: str, deadline: Deadline, *, idempotent: bool = False, limit: int = OUTPUT_LIMIT
    ) -> CommandResult:
        """Run a script (PowerShell on Windows), like :meth:`run`. It may be longer than a command line."""

    def put(self, source: Path, target: str, deadline: Deadline, *, limit: int = FILE_LIMIT) -> Copied:
        """Copy a file into the guest. It appears under ``target`` only when complete, with its SHA-256 checked in the guest.

        An interrupted copy continues where it stopped, in this call or in the next one for the same content.
        """

    def get(self, source: str, target: Path, deadline: Deadline, *, limit: int = FILE_LIMIT) -> Copied:
        """Copy a file out of the guest. It appears at ``target`` only when complete, with its SHA-256 checked on the host."""

    def gather(
        self,
        directory: str,
        into: Path,
        deadline: Deadline,
        *,
        files: int = FILES_LIMIT,
        limit: int = FILE_LIMIT,
    ) -> list[GatheredFile]:
        """Copy the plain files of a guest's directory, ``limit`` bytes in all, into the host's directory ``into``.

        Their names there are ``0000``, ``0001``, …: a name that the guest chose never becomes a path. A name with a
        separator or a control character is refused, like a file past a limit. The list says so.
        """

    def start(self, text: str, deadline: Deadline, *, job: str = "") -> str:
        """Start a script that may outlive the connection, e.g. across a hot-add, and return the job's id.

        A second call with the same ``job`` does not run the script again.
        """

    def collect(self, job: str, deadline: Deadline, *, limit: int = OUTPUT_LIMIT) -> CommandResult:
        """Wait for a job's end and return its result. Raises GuestRefused if the guest has no such job."""

    def forget(self, job: str, deadline: Deadline) -> None:
        """Remove a job's files from the guest."""

    def close(self) -> None:
        """Close the connection, if there is one. The next call opens a new one."""
