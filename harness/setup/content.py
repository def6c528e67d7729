# SPDX-License-Identifier: MIT
"""The seal of a directory: the SHA-256 of each file in it, written when it was made and compared when it is used.

What was computed once is remembered in the cache for as long as the file system says that the file is the same one:
device, inode, size, and the times of its last change and of the last change to its inode. Writing to a file changes the
last, which no program can set (inode(7)). A disk that returns other bytes without a write goes unnoticed until the
files are read again (``deep``).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

SEAL = "content.json"
"""The seal's file, in the directory that it is of."""

REMEMBERED = "digests"
"""The folder of the cache with what was computed."""

MOST_REMEMBERED = 4096
"""Digests that are kept; beyond them the least recently computed go."""

SHA256 = re.compile(r"[0-9a-f]{64}")


class ContentError(Exception):
    """A directory is not what was sealed; the text names the first file and what is wrong with it."""


class ContentDigests:
    """The digests of files, remembered below ``cache``; one that may only be read, or None, remembers nothing new."""

    def __init__(self, cache: Path | None) -> None:
        self._place = cache / REMEMBERED if cache is not None else None

    def sha256(self, file: Path, *, deep: bool = False) -> str:
        """Return a regular file's SHA-256, 64 hex digits; ``deep`` reads it in any case. Raises OSError."""
        with open(file, "rb", opener=_opener) as opened:
            before = os.fstat(opened.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise OSError(f"{file} is not a regular file")
            remembered = None if deep else self._recall(before)
            if remembered is not None:
                return remembered
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            if _name(before) == _name(os.fstat(opened.fileno())):
                self._remember(before, digest)
        return digest

    def remembers(self, file: Path) -> bool:
        """Return whether the file need not be read again."""
        with suppress(OSError):
            return self._recall(file.stat()) is not None
        return False

    def seal(self, directory: Path) -> dict[str, str]:
        """Write the seal of what lies in ``directory`` and below, and return it: SHA-256 by relative path. Raises OSError."""
        files = {
            str(file.relative_to(directory)): self.sha256(file, deep=True)
            for file in sorted(directory.rglob("*"))
            if file.is_file() and not file.is_symlink() and file.name != SEAL
        }
        (directory / SEAL).write_text(json.dumps({"files": files}, indent=1) + "\n", encoding="utf-8")
        return files

    def check(self, directory: Path, *, deep: bool = False) -> dict[str, str]:
        """Return the seal of ``directory``. Raises ContentError if a sealed file is gone or another, or there is no seal."""
        try:
            sealed = json.loads((directory / SEAL).read_bytes())["files"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ContentError(f"{SEAL} cannot be read: {error}") from error
        if not isinstance(sealed, dict) or not all(_sane(name, value) for name, value in sealed.items()):
            raise ContentError(f"{SEAL} is not a list of files and their digests")
        self.compare(directory, sealed, deep=deep)
        return sealed

    def compare(self, directory: Path, expected: Mapping[str, str], *, deep: bool = False) -> None:
        """Raise ContentError unless each file has the SHA-256 that is ``expected`` of it."""
        for name, wanted in expected.items():
            try:
                found = self.sha256(directory / name, deep=deep)
            except OSError as error:
                raise ContentError(f"{name} cannot be read: {error.strerror or error}") from error
            if found != wanted:
                raise ContentError(f"{name} has SHA-256 {found[:12]}… and should have {wanted[:12]}…")

    def _recall(self, status: os.stat_result) -> str | None:
        if self._place is None:
            return None
        try:
            text = (self._place / _name(status)).read_text("ascii").strip()
        except (OSError, ValueError):
            return None
        return text if SHA256.fullmatch(text) else None

    def _remember(self, status: os.stat_result, digest: str) -> None:
        """Write it down if that is possible; a cache that is full or may not be written only costs time."""
        if self._place is None:
            return
        with suppress(OSError):
            self._place.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, draft = tempfile.mkstemp(dir=self._place, prefix=".")
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(digest)
            Path(draft).replace(self._place / _name(status))
            self._prune(self._place)

    @staticmethod
    def _prune(place: Path) -> None:
        with os.scandir(place) as entries:
            known = [(entry.stat().st_mtime_ns, entry.path) for entry in entries]
        for _, path in sorted(known)[:-MOST_REMEMBERED]:
            Path(path).unlink(missing_ok=True)


def sealed_directories(cache: Path) -> list[Path]:
    """Return the sealed directories of a cache, sorted. What is built at this moment may be among them."""
    return sorted(
        seal.parent for depth in ("*/*", "twin/kernel/root/boot") for seal in cache.glob(f"{depth}/{SEAL}")
    )


def _name(status: os.stat_result) -> str:
    """Return what names this very content of a file to the file system."""
    facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:40]


def _opener(path: str, flags: int) -> int:
    # A FIFO in place of a file must not hold up whoever reads it.
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _sane(name: object, value: object) -> bool:
    """Return whether a line of the seal is a path inside the directory and a digest."""
    return (
        isinstance(name, str)
        and not name.startswith("/")
        and ".." not in name.split("/")
        and isinstance(value, str)
        and SHA256.fullmatch(value) is not None
    )
