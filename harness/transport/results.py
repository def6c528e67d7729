# SPDX-License-Identifier: MIT
"""The results of a transport (:class:`harness.transport.link.WireTransport`), and the limits of what it takes."""

from __future__ import annotations

from pathlib import Path

import msgspec

OUTPUT_LIMIT = 16 * 1024 * 1024
"""Bytes of each output stream that are kept unless the caller says otherwise."""

FILE_LIMIT = 8 * 1024 * 1024 * 1024
"""Bytes of one file that are copied unless the caller says otherwise."""

FILES_LIMIT = 1000
"""Files that one :meth:`~harness.transport.link.WireTransport.gather` takes unless the caller says otherwise."""


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
