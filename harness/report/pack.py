# SPDX-License-Identifier: MIT
"""Packs a run or a build into one archive to attach to a bug: the same bytes each time, bounded, with nothing that need not be there.

Only regular files of kinds that are evidence go in; links are not followed, disk images and the like stay behind, and so
does whatever holds a private key. What stays behind is listed with its reason in ``MANIFEST.json``, the first file.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from harness import __version__
from harness.errors import UsageError, system_errors
from harness.history.json_file import indented
from harness.history.private import replacing
from harness.history.run_directory import FACTS, HISTORY, INDEX, VERDICT

KINDS = frozenset(
    {
        ".json",
        ".jsonl",
        ".log",
        ".txt",
        ".md",
        ".xml",
        ".html",
        ".toml",
        ".csv",
        ".png",
        ".ppm",
        ".etl",
        ".evtx",
    }
)
"""Suffixes of files that are evidence."""

DUMPS = frozenset({".elf", ".dmp"})
"""Suffixes of memory dumps, which are packed only if that is asked for: they hold all that the guest knew."""

FIRST = (FACTS, VERDICT, HISTORY, INDEX, "console.log", "qemu.log")
"""What goes in first when there is not room for everything."""

LIMIT = 256 << 20
"""Bytes that are packed at most, before compression, unless another number is given."""

MOST_FILES = 10_000
SECRET = b"PRIVATE KEY-----"
CREDENTIALS = "secrets.json"
"""What opens a template's guest, beside its build."""

BUILD_LOGS = f"log/*/{HISTORY}"
"""The histories of a build's attempts, by which a build's folder is known."""

PIECE = 1 << 20

MANIFEST = "MANIFEST.json"


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """A file in the archive."""

    name: str
    bytes: int
    sha256: str


class OmittedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is not, and why."""

    name: str
    bytes: int
    why: str


class PackManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the archive holds of the run or build, and what not."""

    run: str
    harness: str
    files: list[Packed]
    left_out: list[OmittedFile]


def pack(
    run: Path, out: Path, *, limit: int = LIMIT, dumps: bool = False, secrets: Sequence[bytes] = ()
) -> PackManifest:
    """Write the run in the directory ``run`` to the archive ``out`` (.tar.gz), readable by its owner only, whole or not at all.

    ``run`` may be a template's build too, built or not. No file goes in that holds one of the ``secrets``.
    Raises UsageError if ``run`` is neither, InfrastructureError if the archive cannot be written.
    """
    if not (run / HISTORY).is_file() and not (run / FACTS).is_file() and not any(run.glob(BUILD_LOGS)):
        raise UsageError(
            f"{run} is not a run directory",
            hint=f"It has neither a {FACTS} nor a {HISTORY}, nor a build's {BUILD_LOGS}.",
        )
    # Not Path's method, which raises where a directory must not be entered.
    if os.path.isdir(out):  # noqa: PTH112
        raise UsageError(f"{out} is a directory", hint=f"Name a file: --out {out / 'run.tar.gz'}")
    name = run.resolve().name
    with system_errors(
        f"cannot pack {run} into {out}",
        hint="Give a writable place with --out FILE; a run that still goes on cannot be packed.",
    ):
        files, left_out = _chosen(run, limit, (SECRET, *secrets), dumps=dumps)
        manifest = PackManifest(run=name, harness=__version__, files=files, left_out=left_out)
        with (
            replacing(out) as raw,
            # Neither a name nor a time, or no two archives would be the same.
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as squeezed,
            tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            listed = indented(manifest)
            archive.addfile(_member(f"{name}/{MANIFEST}", len(listed)), io.BytesIO(listed))
            for file in files:
                with _opened(run / file.name) as data:
                    archive.addfile(_member(f"{name}/{file.name}", file.bytes), data)
    return manifest


def _chosen(
    run: Path, limit: int, secrets: Sequence[bytes], *, dumps: bool
) -> tuple[list[Packed], list[OmittedFile]]:
    """Return what goes in, sorted, and what does not."""
    files: list[Packed] = []
    left_out: list[OmittedFile] = []
    room = limit
    for name in sorted(_names(run), key=lambda name: (name not in FIRST, name)):
        size, why, digest = _looked_at(run / name, secrets, dumps=dumps, room=room)
        if why:
            left_out.append(OmittedFile(name=name, bytes=size, why=why))
        else:
            files.append(Packed(name=name, bytes=size, sha256=digest))
            room -= size
    return sorted(files, key=lambda file: file.name), sorted(left_out, key=lambda file: file.name)


def _names(run: Path) -> Iterator[str]:
    """Yield the files below ``run``, in no order, relative to it. Directories that are links are files here."""
    count = 0
    for folder, folders, names in os.walk(run, followlinks=False):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        for name in [*names, *links]:
            count += 1
            if count > MOST_FILES:
                raise UsageError(
                    f"{run} holds more than {MOST_FILES} files", hint="Is it one run's directory?"
                )
            yield str((here / name).relative_to(run))


def _looked_at(file: Path, secrets: Sequence[bytes], *, dumps: bool, room: int) -> tuple[int, str, str]:
    """Return a file's size, why it stays behind ("" if it does not), and its digest."""
    status = file.lstat()
    size = status.st_size
    suffix = file.suffix.lower()
    if not stat.S_ISREG(status.st_mode):
        return size, "no regular file", ""
    if file.name == CREDENTIALS:
        return size, "it holds a password", ""
    if suffix in DUMPS and not dumps:
        return size, "a dump holds all that the guest knew; --dump packs it", ""
    if suffix not in KINDS | DUMPS:
        return size, "not a kind of file that is evidence", ""
    if size > room:
        return size, "too large for what is left of the limit; --limit SIZE allows more", ""
    digest, tail, left = hashlib.sha256(), b"", size
    try:
        data = _opened(file)
    except OSError as error:
        return size, f"it cannot be read: {error.strerror}", ""
    with data:
        while left and (piece := data.read(min(PIECE, left))):
            digest.update(piece)
            left -= len(piece)
            # A dump has the guest's own keys. The user has to ask for dumps.
            held = [secret for secret in secrets if suffix not in DUMPS and secret in tail + piece]
            if held:
                return size, f"it holds a {'private key' if SECRET in held else 'password'}", ""
            tail = (tail + piece)[-max(map(len, secrets)) :]
    return size, "", digest.hexdigest()


def _opened(file: Path) -> BinaryIO:
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.fdopen(descriptor, "rb")


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Return a member without owner or time, which say nothing about the run."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o600
    return member
