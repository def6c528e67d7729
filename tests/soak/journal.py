# SPDX-License-Identifier: MIT
"""A file of JSON lines that a long program goes on with after it was ended, however it was ended."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")


def lines_of(file: Path, kind: type[T]) -> list[T]:
    """Return the lines of a file, none if there is no file. A line that was being written when the program died is none."""
    found: list[T] = []
    with contextlib.suppress(FileNotFoundError):
        for line in file.read_bytes().splitlines():
            with contextlib.suppress(msgspec.DecodeError):
                found.append(msgspec.json.decode(line, type=kind))
    return found


def append_line(file: Path, line: object) -> None:
    """Append a line, on a line of its own even after one that was cut."""
    with file.open("a+b") as out:
        size = out.seek(0, 2)
        out.seek(max(0, size - 1))
        out.write((b"\n" if size and out.read(1) != b"\n" else b"") + msgspec.json.encode(line) + b"\n")
