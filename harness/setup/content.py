# SPDX-License-Identifier: MIT
"""The seal of a directory: the SHA-256 of each file in it, written when it is created and compared when it is used.

Computed digests are cached as long as the file system reports the same file: device, inode, size, and the
times of the last change of its content and of its inode. Writing to a file changes the last one, which no
program can set (inode(7)). A disk that returns other bytes without a write is not noticed until the files are
read again (``deep``).
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
"""The seal's file, in the sealed directory."""

REMEMBERED = "digests"
"""The folder of the cache with the computed digests."""

MOST_REMEMBERED = 4096
"""Maximum number of digests; beyond it the least recently computed are dropped."""

SHA256 = re.compile(r"[0-9a-f]{64}")


class ContentError(Exception):
    """A directory differs from its seal; the message names the first differing file and the difference."""


class ContentDigests:
    """The digests of files, cached below ``cache``; with a read-only cache, or None, nothing new is cached."""

    def __init__(self, cache: Path | None) -> None:
        self._place = cache / REMEMBERED if cache is not None else None

    def sha256(self, file: Path, *, deep: bool = False) -> str:
        """Return a regular file's SHA-256, 64 hex digits; ``deep`` always reads it. Raises OSError."""
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
        """Write the seal of all files in ``directory`` and below, and return it: SHA-256 by relative path. Raises OSError."""
        files = {
            str(file.relative_to(directory)): self.sha256(file, deep=True)
            for file in sorted(directory.rglob("*"))
            if file.is_file() and not file.is_symlink() and file.name != SEAL
        }
        (directory / SEAL).write_text(json.dumps({"files": files}, indent=1) + "\n", encoding="utf-8")
        return files

    def check(self, directory: Path, *, deep: bool = False) -> dict[str, str]:
        """Return the seal of ``directory``.

        Raises ContentError if a sealed file is missing or different, or there is no seal.
        """
        try:
            sealed = json.loads((directory / SEAL).read_bytes())["files"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ContentError(f"{SEAL} cannot be read: {error}") from error
        if not isinstance(sealed, dict) or not all(_sane(name, value) for name, value in sealed.items()):
            raise ContentError(f"{SEAL} is not a list of files and their digests")
        self.compare(directory, sealed, deep=deep)
        return sealed

    def compare(self, directory: Path, expected: Mapping[str, str], *, deep: bool = False) -> None:
        """Raise ContentError unless each file has its ``expected`` SHA-256."""
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
        """Save it if possible; a full or read-only cache only costs time."""
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
        """Drop an eighth if there are too many, so that not every new digest has to look at all files."""
        if len(os.listdir(place)) <= MOST_REMEMBERED:  # noqa: PTH208 - it does not make a path of each
            return
        with os.scandir(place) as entries:
            known = [(entry.stat().st_mtime_ns, entry.path) for entry in entries]
        for _, path in sorted(known)[: -(MOST_REMEMBERED - MOST_REMEMBERED // 8)]:
            Path(path).unlink(missing_ok=True)


def sealed_directories(cache: Path) -> list[Path]:
    """Return the sealed directories of a cache, sorted. They may include one that is being built."""
    return sorted(
        seal.parent for depth in ("*/*", "twin/kernel/root/boot") for seal in cache.glob(f"{depth}/{SEAL}")
    )


def _name(status: os.stat_result) -> str:
    """Return the file system's identity of a file's content."""
    facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:40]


def _opener(path: str, flags: int) -> int:
    # A FIFO in place of a file must not block the reader.
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
