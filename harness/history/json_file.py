# SPDX-License-Identifier: MIT
"""JSON files that another program may have written: decoded, or skipped."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

LARGEST = 1 << 20
"""Bytes of the largest file that is read."""


def decoded(data: bytes | str, kind: type[T]) -> T | None:
    """Return the decoded ``data``, or None if it is not valid JSON, of another type, or nested too deeply."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def indented(value: object) -> bytes:
    """Return ``value`` as JSON for people: indented, with a line break at the end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def read_json(name: str | Path, kind: type[T], *, largest: int = LARGEST) -> T | None:
    """Return the decoded file, or None if it cannot be decoded.

    Only a regular file of at most ``largest`` bytes is read. If the last part of ``name`` is a link, it is not followed. A
    FIFO does not block.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        return read_open(descriptor, kind, largest=largest)
    finally:
        os.close(descriptor)


def read_open(descriptor: int, kind: type[T], *, largest: int = LARGEST) -> T | None:
    """Return the decoded content of an open file, from its start, as :func:`read_json` does."""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
            return None
        data = os.pread(descriptor, largest + 1, 0)
    except OSError:
        return None
    return decoded(data, kind) if len(data) <= largest else None
