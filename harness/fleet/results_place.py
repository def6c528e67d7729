# SPDX-License-Identifier: MIT
"""The exchange: a place that all hosts reach by fsspec, through which run directories return.

An attempt is a folder with the pieces of one tar stream, and a note about them. The note is written last: an attempt
without a note was never sent. The name of a piece is its number and its SHA-256. It is written under a temporary name
first. So an interrupted transfer continues with the missing pieces, on either side.

::

    RESULTS/NIGHTLY/ATTEMPT/00000-HEX  00001-HEX  …  note.json
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast
from urllib.parse import urlsplit

import msgspec

from harness.errors import InfrastructureError, UsageError, shortage_hint
from harness.fleet.engine import require_engine
from harness.fleet.order import NAME, AttemptReport
from harness.history.private import open_private

PIECE = 4 << 20
"""Bytes of a piece."""
LARGEST = 64 << 30
"""The most bytes of one attempt's run directories."""
LARGEST_NOTE = 16 << 20
LARGEST_HEADER = 1 << 20
"""The most bytes of one header of an archive."""
MOST_FILES = 100_000
"""The most files and folders of one attempt."""
NOTE = "note.json"


class DamagedAttempt(InfrastructureError):
    """The records of an attempt in the exchange are damaged. Another try cannot mend them."""


class Piece(msgspec.Struct, frozen=True):
    """A piece: its bytes, and their SHA-256 in hexadecimal."""

    size: int
    digest: str

    def name(self, number: int) -> str:
        """Return the name of the piece's file."""
        return f"{number:05}-{self.digest}"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """The note of an attempt: the report about it, and the pieces in order."""

    report: AttemptReport
    pieces: list[Piece]


def check_results(url: str) -> str:
    """Return the address of an exchange. Raises UsageError if it is invalid or contains a password."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError as error:
        raise UsageError(f"results: {error}") from error
    if password is not None:
        raise UsageError(
            "results must not contain a password: every host gets the address",
            hint="Give each host a key of its own: ssh's for sftp://, a profile of the package s3fs for s3://.",
        )
    if "://" not in url and not url.startswith("/"):
        raise UsageError(
            f"results must be an address or an absolute path, not {url[:200]!r}",
            hint="For example sftp://nas.example.org/lab or file:///net/lab",
        )
    return url


class ResultsPlace:
    """The exchange at ``url``. Raises UsageError if fsspec does not support the protocol, InfrastructureError if it
    cannot be reached."""

    def __init__(self, url: str) -> None:
        require_engine()
        import fsspec

        self.url = check_results(url)
        with self._words("reached"):
            try:
                if urlsplit(url).scheme in ("sftp", "ssh"):
                    from harness.fleet.sftp import pinned_sftp

                    self._files, self._root = pinned_sftp(url)
                else:
                    self._files, self._root = fsspec.core.url_to_fs(url)
            except (ImportError, ValueError) as error:
                raise UsageError(
                    f"results = {url!r}: {error}", hint="protocols of fsspec: file, sftp, s3, …"
                ) from error
        self._root = str(self._root).rstrip("/")

    def check(self) -> None:
        """Write a file, read it and remove it. Raises InfrastructureError."""
        probe = f"{self._root}/.probe-{secrets.token_hex(8)}"
        with self._words("used"):
            self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(probe, b"probe")
            try:
                if self._files.cat_file(probe) != b"probe":
                    raise OSError("what it returns differs from what was written")
            finally:
                self._files.rm_file(probe)

    def send(self, nightly: str, report: AttemptReport, folder: Path, names: list[str]) -> None:
        """Send ``names`` in ``folder`` as an attempt of a nightly run. Raises InfrastructureError. What was sent
        before an error stays."""
        place = self._place(nightly, report.attempt)
        pieces: list[Piece] = []
        with self._words("written to"):
            self._files.makedirs(place, exist_ok=True)
            self._files.invalidate_cache()
            there = {entry["name"].rpartition("/")[2]: entry["size"] for entry in self._listed(place)}
            if NOTE in there:
                return

            def take(data: bytes) -> None:
                piece = Piece(len(data), hashlib.sha256(data).hexdigest())
                name = piece.name(len(pieces))
                if there.get(name) != len(data):
                    self._write(place, name, data)
                pieces.append(piece)

            with (
                _Cut(take) as cut,
                tarfile.open(fileobj=cast("IO[bytes]", cut), mode="w|", format=tarfile.PAX_FORMAT) as tar,
            ):
                for name in names:
                    if (folder / name).exists():
                        tar.add(folder / name, arcname=name, filter=_plain)
            self._write(place, NOTE, msgspec.json.encode(Note(report=report, pieces=pieces)))

    def attempts(self, nightly: str) -> list[str]:
        """Return the names of the completely sent attempts. Raises InfrastructureError."""
        with self._words("read"):
            root = self._place(nightly)
            self._files.invalidate_cache()
            if not self._files.exists(root):
                return []
            names = [entry["name"].rstrip("/").rpartition("/")[2] for entry in self._listed(root)]
            return sorted(
                name for name in names if NAME.fullmatch(name) and self._files.exists(f"{root}/{name}/{NOTE}")
            )

    def note(self, nightly: str, attempt: str) -> Note:
        """Read the note of an attempt. Raises DamagedAttempt, InfrastructureError."""
        with self._words("read"):
            data = self._read(f"{self._place(nightly, attempt)}/{NOTE}", LARGEST_NOTE)
        try:
            note = msgspec.json.decode(data, type=Note)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise DamagedAttempt(
                f"the note of {attempt} in {self.url} is damaged: {str(error)[:200]}"
            ) from error
        if note.report.attempt != attempt or not all(
            re.fullmatch("[0-9a-f]{64}", piece.digest) for piece in note.pieces
        ):
            raise DamagedAttempt(f"the note of {attempt} in {self.url} is of another attempt, or damaged")
        if (
            not all(0 <= piece.size <= PIECE for piece in note.pieces)
            or sum(p.size for p in note.pieces) > LARGEST
        ):
            raise DamagedAttempt(
                f"the note of {attempt} in {self.url} announces more than {LARGEST >> 30} GiB"
            )
        return note

    def receive(self, nightly: str, note: Note, into: Path) -> Path:
        """Fetch an attempt into the folder ``into``/ATTEMPT, which is complete when this returns it.

        Pieces that were fetched before are not fetched again. Raises DamagedAttempt for an attempt that can never be
        fetched, InfrastructureError. What was fetched before an error stays.
        """
        attempt = note.report.attempt
        place = self._place(nightly, attempt)
        done, part = into / attempt, into / f"{attempt}.part"
        if done.exists():
            return done
        with self._words(f"read, or {into} written to"):
            into.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(open_private(part, os.O_RDWR), "r+b") as file:
                for number, piece in enumerate(note.pieces):
                    at = file.tell()
                    if hashlib.sha256(file.read(piece.size)).hexdigest() == piece.digest:
                        continue
                    try:
                        data = self._read(f"{place}/{piece.name(number)}", PIECE)
                    except FileNotFoundError as error:
                        raise DamagedAttempt(f"piece {number} of {attempt} is not in {self.url}") from error
                    if hashlib.sha256(data).hexdigest() != piece.digest:
                        raise DamagedAttempt(
                            f"piece {number} of {attempt} in {self.url} does not have the digest in its note"
                        )
                    file.seek(at)
                    file.truncate()
                    file.write(data)
                    file.flush()
                file.truncate()
                os.fsync(file.fileno())
                file.seek(0)
                fresh = into / f"{attempt}.new"
                # Left by a process that was killed.
                shutil.rmtree(fresh, ignore_errors=True)
                try:
                    unpack(file, fresh, limit=sum(piece.size for piece in note.pieces))
                except BaseException:
                    shutil.rmtree(fresh, ignore_errors=True)
                    raise
            fresh.rename(done)
            part.unlink()
        return done

    def forget(self, nightly: str, attempt: str) -> None:
        """Remove a received attempt. One that cannot be removed stays. It is recognised when it is received again."""
        with contextlib.suppress(Exception):
            # Without its note the attempt counts as never sent.
            self._files.rm_file(f"{self._place(nightly, attempt)}/{NOTE}")
            self._files.rm(self._place(nightly, attempt), recursive=True)

    def close(self, nightly: str) -> None:
        """Remove the folder of a nightly run if nothing is left in it."""
        with contextlib.suppress(Exception):
            if not self._listed(self._place(nightly)):
                self._files.rmdir(self._place(nightly))

    def _place(self, *names: str) -> str:
        for name in names:
            if not NAME.fullmatch(name):
                raise UsageError(f"{name[:200]!r} is not a valid name of an attempt")
        return "/".join([self._root, *names])

    def _listed(self, place: str) -> list[dict[str, Any]]:
        try:
            return cast("list[dict[str, Any]]", self._files.ls(place, detail=True))
        except FileNotFoundError:
            # S3 has no empty folders.
            return []

    def _write(self, place: str, name: str, data: bytes) -> None:
        fresh = f"{place}/.{name}.{secrets.token_hex(4)}"
        try:
            self._files.pipe_file(fresh, data)
            self._files.mv(fresh, f"{place}/{name}")
        except BaseException:
            with contextlib.suppress(Exception):
                self._files.rm_file(fresh)
            raise

    def _read(self, file: str, most: int) -> bytes:
        with self._files.open(file, "rb") as opened:
            data = cast("bytes", opened.read(most + 1))
        if len(data) > most:
            raise OSError(f"{file} is too large")
        return data

    @contextlib.contextmanager
    def _words(self, done: str) -> Iterator[None]:
        try:
            yield
        except (InfrastructureError, UsageError):
            raise
        except Exception as error:
            # fsspec's file systems raise the errors of their libraries.
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            hint = shortage_hint(error, "") if isinstance(error, OSError) else ""
            raise InfrastructureError(
                f"the results at {self.url} cannot be {done}: {' '.join(said.split())[:300]}",
                hint=hint or "Nothing is lost: a run's records stay on its host, and are sent later.",
            ) from error


class _Cut(io.RawIOBase):
    """A stream that passes on the written bytes in pieces of :data:`PIECE` bytes. The last piece may be shorter."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._data = bytearray()

    def writable(self) -> bool:
        """Return true."""
        return True

    def write(self, data: Any) -> int:
        """Take bytes."""
        self._data += data
        while len(self._data) >= PIECE:
            self._take(bytes(self._data[:PIECE]))
            del self._data[:PIECE]
        return len(data)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._data:
            self._take(bytes(self._data))


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out everything but files and folders, and drop their owners."""
    if not (member.isreg() or member.isdir()):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


class _Headers(io.RawIOBase):
    """A file for tarfile with a limit on the size of a read. tarfile reads a header in one piece, of the size that it states."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Return bytes. Raises DamagedAttempt for more than a header has."""
        if not 0 <= size <= LARGEST_HEADER:
            raise DamagedAttempt("the archive has a header that is too large")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()


def unpack(file: IO[bytes], folder: Path, *, limit: int) -> None:
    """Unpack a tar file of files and folders into a new folder. Raises DamagedAttempt for any other member, OSError."""
    folder.mkdir(mode=0o700)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", _Headers(file)), mode="r:") as tar:
            total = 0
            for number, member in enumerate(tar):
                path = PurePosixPath(member.name)
                if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in member.name:
                    raise DamagedAttempt(f"the name {member.name[:200]!r} leads outside its folder")
                total += member.size
                if total > limit or number >= MOST_FILES:
                    raise DamagedAttempt("the archive is larger than its note says, or has too many files")
                target = folder.joinpath(*path.parts)
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if member.isdir():
                    target.mkdir(mode=0o700, exist_ok=True)
                elif member.isreg():
                    _copy(cast("IO[bytes]", tar.extractfile(member)), target)
                else:
                    raise DamagedAttempt(f"{member.name[:200]!r} is neither a file nor a folder")
    except (tarfile.TarError, ValueError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        # Python's tarfile passes on the errors of its conversions. A name may occur twice.
        raise DamagedAttempt(f"the archive is damaged: {str(error)[:200]}") from error


def _copy(source: IO[bytes], target: Path) -> None:
    descriptor = open_private(target, os.O_WRONLY | os.O_EXCL | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "wb") as opened:
        while data := source.read(1 << 20):
            opened.write(data)
