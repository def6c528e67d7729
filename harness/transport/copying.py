# SPDX-License-Identifier: MIT
"""File copies in both directions, over any wire.

A file is copied under its own name, ``TARGET.<first digits of its SHA-256>.part``, and gets the target's name only
when its digest has been checked at the destination. The content is part of that name, so a file found under it is the
beginning of the same content, and the copy continues there. If it is damaged all the same, the digest shows it, and the
copy is repeated from the beginning.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import io
import os
import re
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, Self

from harness.deadline import Deadline
from harness.errors import GuestRefused, InfrastructureError, UsageError, system_errors
from harness.transport.output import Output
from harness.transport.results import Copied, GatheredFile
from harness.transport.retry import persist
from harness.transport.wire import Wire

SMALL = 64 * 1024
"""Bytes of a file that is sent again without asking how much of it is there: the question would take longer."""

LONGEST_NAME = 255
"""Characters of a file name; the most of any guest's file system."""

_HOSTILE = re.compile(r"[/\\:\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class CommandRunner(Protocol):
    """The part of a link that copying needs."""

    wire: Wire
    name: str

    def ask(self, script: str, deadline: Deadline) -> str:
        """Run one of the harness's own scripts and return its output."""


class _Digest(NamedTuple):
    size: int
    sha256: str


def put(link: CommandRunner, source: Path, target: str, deadline: Deadline, limit: int) -> Copied:
    """See :meth:`harness.transport.link.WireTransport.put`."""
    with system_errors(f"cannot read {source}", kind=UsageError), source.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise UsageError(f"{source} has {size} bytes, more than the {limit} that may be copied")
        return _put(link, file, target, deadline)


def put_bytes(link: CommandRunner, content: bytes, target: str, deadline: Deadline) -> Copied:
    """Copy bytes into a file of the guest."""
    return _put(link, io.BytesIO(content), target, deadline)


def _put(link: CommandRunner, file: BinaryIO, target: str, deadline: Deadline) -> Copied:
    dialect = link.wire.dialect
    whole = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
    size = file.tell()
    sha256 = whole.hexdigest()
    part = f"{target}.{sha256[:16]}.part"
    first: list[int] = []

    def attempt(number: int) -> Copied:
        for again in (False, True):
            offset = 0
            if size > SMALL and not again:
                there = link.ask(dialect.operation("size", path=part), deadline)
                offset = _number(link, there) if there != "absent" else 0
            if offset > size:
                offset = 0
            first.append(offset)
            file.seek(offset)
            link.wire.write(part, offset, file, deadline)
            answer = link.ask(dialect.operation("settle", part=part, target=target, sha256=sha256), deadline)
            if answer == "settled":
                return Copied(size=size, sha256=sha256, resumed_at=max(first), attempts=number)
            if offset == 0:
                break
        raise GuestRefused(
            f"{link.name}: {target} arrived damaged: its SHA-256 should be {sha256}, but: {answer[:200]}"
        )

    return persist(attempt, deadline, name=link.name, idempotent=True)


def get(link: CommandRunner, source: str, target: Path, deadline: Deadline, limit: int) -> Copied:
    """See :meth:`harness.transport.link.WireTransport.get`."""

    def attempt(number: int) -> Copied:
        digest = _digest(link, source, deadline)
        if digest.size > limit:
            raise GuestRefused(
                f"{link.name}: {source} has {digest.size} bytes, more than the {limit} that may be copied"
            )
        part = target.with_name(f"{target.name}.{digest.sha256[:16]}.part")
        try:
            return _get(link, source, target, part, digest, deadline, number)
        except OSError as error:
            raise _unwritable(target, error) from error

    return persist(attempt, deadline, name=link.name, idempotent=True)


def _get(
    link: CommandRunner,
    source: str,
    target: Path,
    part: Path,
    digest: _Digest,
    deadline: Deadline,
    number: int,
) -> Copied:
    found = ""
    for again in (False, True):
        with _HostFile(part, fresh=again) as sink:
            if sink.size > digest.size:
                sink.empty()
            offset = sink.size
            link.wire.read(source, offset, digest.size - offset, sink, deadline)
        with part.open("rb") as arrived:
            found = hashlib.file_digest(arrived, "sha256").hexdigest()
        if found == digest.sha256:
            part.replace(target)
            return Copied(size=digest.size, sha256=found, resumed_at=offset, attempts=number)
        part.unlink()
        if offset == 0:
            break
    raise GuestRefused(
        f"{link.name}: {source} arrived damaged: its SHA-256 was {digest.sha256} in the guest and is {found} here",
        hint="Was it written to meanwhile?",
    )


class _HostFile:
    """A file that grows at its end. A failure of the host's disk is at once distinguished from one of the connection."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self._path = path
        self._file = path.open("wb" if fresh else "ab", buffering=0)
        self.size = self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def empty(self) -> None:
        self._file.truncate(0)
        self.size = self._file.seek(0)

    def write(self, data: bytes, /) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            # An incomplete file wastes a full disk. After other errors the copy is not resumed either.
            self._path.unlink(missing_ok=True)
            raise _unwritable(self._path, error) from error
        return len(data)


def gather(
    link: CommandRunner, directory: str, into: Path, deadline: Deadline, files: int, limit: int
) -> list[GatheredFile]:
    """See :meth:`harness.transport.link.WireTransport.gather`."""
    dialect = link.wire.dialect
    listing = link.ask(dialect.operation("listing", directory=directory), deadline)
    gathered: list[GatheredFile] = []
    left = limit
    for line in listing.splitlines():
        number, _, encoded = line.strip().partition(" ")
        size = _number(link, number)
        try:
            raw = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise GuestRefused(
                f"{link.name}: the list of {directory} has an invalid line: {line[:80]!r}"
            ) from error
        name = raw.decode("utf-8", "surrogateescape")
        taken = sum(1 for each in gathered if each.path is not None)
        refused = hostile(name)
        if not refused and taken >= files:
            refused = f"{files} files are taken already"
        if not refused and size > left:
            refused = f"{size} bytes, of which only {left} may still be copied"
        if refused:
            gathered.append(GatheredFile(name=name, path=None, size=size, refused=refused))
            continue
        path = into / f"{taken:04}"
        copied = get(link, dialect.join(directory, name), path, deadline, left)
        left -= copied.size
        gathered.append(GatheredFile(name=name, path=path, size=copied.size, sha256=copied.sha256))
    return gathered


def hostile(name: str) -> str:
    """Return why a guest's file name is refused, "" for a plain one."""
    if name in ("", ".", ".."):
        return "not a file's name"
    if len(name) > LONGEST_NAME:
        return f"a name of {len(name)} characters"
    if _HOSTILE.search(name):
        return "a name with a separator or a control character"
    if any(0xD800 <= ord(character) <= 0xDFFF for character in name):
        return "a name that is not UTF-8"
    return ""


def read_output(link: CommandRunner, source: str, output: Output, deadline: Deadline) -> None:
    """Read the beginning of a guest's file into ``output``, whose limit bounds it."""
    there = link.ask(link.wire.dialect.operation("size", path=source), deadline)
    size = _number(link, there) if there != "absent" else 0

    def attempt(_number: int) -> bytes:
        sink = io.BytesIO()
        link.wire.read(source, 0, min(size, output.limit), sink, deadline)
        return sink.getvalue()

    if size:
        output.add(persist(attempt, deadline, name=link.name, idempotent=True))
    output.size = max(output.size, size)


def _digest(link: CommandRunner, path: str, deadline: Deadline) -> _Digest:
    answer = link.ask(link.wire.dialect.operation("digest", path=path), deadline)
    if answer == "absent":
        raise GuestRefused(f"{link.name}: the guest has no file {path}")
    number, _, sha256 = answer.partition(" ")
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise GuestRefused(f"{link.name}: the guest's SHA-256 of {path} is invalid: {answer[:100]!r}")
    return _Digest(_number(link, number), sha256)


def _number(link: CommandRunner, text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise GuestRefused(f"{link.name}: {text[:40]!r} is not a file's size")
    return int(text)


def _unwritable(path: Path, error: OSError) -> InfrastructureError:
    hint = "Free some space on the host." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return InfrastructureError(f"cannot write {path}: {error.strerror or error}", hint=hint)
