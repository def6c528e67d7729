# SPDX-License-Identifier: MIT
"""Files of a guest that does not answer, read from its disk image. Nothing is mounted in the host, nothing is written.

``qemu-storage-daemon`` exports the volume inside the image as a file (FUSE, read only; QEMU: qemu-storage-daemon(1)).
``ntfsls`` and ``ntfscat`` of ntfs-3g read NTFS in it, each as a program without privileges: the volume is
a guest's, and may be made to break its reader. After a crash NTFS is not clean, which only matters for writing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import GuestHang, GuestRefused, InfrastructureError, MissingPart
from harness.machine.attachments import option_value
from harness.machine.gpt import Partition, windows_partition
from harness.machine.process import Process
from harness.program import PIPE, end_program, read_pipes, run_program, start_program

TOOLS = {
    "qemu-storage-daemon": "qemu-system-common",
    "ntfsls": "ntfs-3g",
    "ntfscat": "ntfs-3g",
    "fusermount3": "fuse3",
}
"""The programs, and the Debian packages that contain them."""

LARGEST_LISTING = 1 << 20

LONGEST_NAME = 255
"""Characters of a name (Microsoft Learn: "Naming Files, Paths, and Namespaces")."""


def plain(name: str) -> bool:
    """Return whether a name is printable and names one file: no separator, and not a directory's dots."""
    return (
        name not in ("", ".", "..")
        and len(name) <= LONGEST_NAME
        and name.isprintable()
        and not set(name) & set("/\\")
    )


def missing() -> str:
    """Return what is not installed and how to get it, "" if everything is there."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if not lacking:
        return "" if Path("/dev/fuse").exists() else "the kernel of this machine has no FUSE (/dev/fuse)"
    packages = sorted({TOOLS[tool] for tool in lacking})
    return f"{', '.join(lacking)} not installed: sudo apt install {' '.join(packages)}"


class WindowsVolume:
    """The volume with Windows in it, as a file of this host.

    Paths in it have forward slashes and no drive; case does not matter, as on Windows, though it does to the tools.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def names(self, directory: str, deadline: Deadline) -> list[str]:
        """Return the names in a directory, without hostile ones. Raises GuestRefused if it cannot be read."""
        return self._list(self._resolve(directory, deadline), deadline)

    def read(
        self, path: str, target: Path, deadline: Deadline, *, limit: int, length: int | None = None
    ) -> int:
        """Write at most ``limit`` bytes of a file to ``target`` and return their number; with ``length`` only its first ones.

        Raises GuestRefused if there is no such file or it is larger; InfrastructureError if it cannot be written here.
        """
        found = self._resolve(path, deadline)
        size = 0
        try:
            with target.open("wb") as file:
                for piece in self._content(found, path, limit, deadline, length):
                    file.write(piece)
                    size += len(piece)
        except OSError as error:
            target.unlink(missing_ok=True)
            raise InfrastructureError(f"cannot write {target}: {error.strerror}") from error
        except (GuestRefused, GuestHang):
            target.unlink(missing_ok=True)
            raise
        return size

    def head(self, path: str, length: int, deadline: Deadline) -> bytes:
        """Return the first ``length`` bytes of a file, or all it has. Raises GuestRefused if there is no such file."""
        return b"".join(self._content(self._resolve(path, deadline), path, length, deadline, length))

    def _content(
        self, found: str, path: str, limit: int, deadline: Deadline, length: int | None
    ) -> Iterator[bytes]:
        """Yield a file's bytes, at most ``length``; more than ``limit`` are refused."""
        if length is not None and length > limit:
            raise GuestRefused(f"{path} on the guest's disk: {length} bytes, more than {limit}")
        command = ["ntfscat", "--force", "--quiet", str(self._file), found]
        with contextlib.closing(
            self._run(command, path, limit if length is None else sys.maxsize, deadline)
        ) as pieces:
            left = sys.maxsize if length is None else length
            for piece in pieces:
                yield piece[:left]
                left -= len(piece)
                if left <= 0:
                    return

    def _resolve(self, path: str, deadline: Deadline) -> str:
        """Return the path as the volume spells it. Raises GuestRefused if it is not there."""
        found = ""
        for word in path.split("/"):
            names = self._list(found, deadline)
            same = [name for name in names if name == word] or [
                name for name in names if name.casefold() == word.casefold()
            ]
            if not same:
                raise GuestRefused(f"the guest's disk has no {path}")
            found = f"{found}/{same[0]}"
        return found

    def _list(self, directory: str, deadline: Deadline) -> list[str]:
        command = ["ntfsls", "--force", "--path", directory or "/", str(self._file)]
        listing = b"".join(self._run(command, directory, LARGEST_LISTING, deadline))
        found = [line.decode("utf-8", "surrogateescape") for line in listing.splitlines()]
        return [name for name in found if plain(name)]

    def _run(
        self, command: list[str], what: str, limit: int, deadline: Deadline
    ) -> Generator[bytes, None, None]:
        """Yield a tool's output about ``what``. Raises GuestRefused with its words if it fails, or prints over ``limit``."""
        child = start_program(
            command, deadline.what, stderr=PIPE,
            environment={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        words = b""
        size = 0
        try:
            for pipe, piece in read_pipes(child, deadline):
                if pipe is child.stderr:
                    words = (words + piece)[-2000:]
                    continue
                size += len(piece)
                if size > limit:
                    raise GuestRefused(f"{what} on the guest's disk: more than {limit} bytes")
                yield piece
            if child.returncode:
                said = words.decode("utf-8", "replace").strip()
                raise GuestRefused(
                    f"{what} on the guest's disk: {said[-300:] or f'{command[0]} ended with {child.returncode}'}"
                )
        except TimeoutError as error:
            raise GuestHang(
                f"{command[0]} did not end within {deadline.seconds:g} s ({deadline.what})"
            ) from error
        finally:
            end_program(child)


@contextlib.contextmanager
def open_volume(
    image: Path,
    folder: Path,
    deadline: Deadline,
    *,
    format: str = "qcow2",  # noqa: A002
) -> Iterator[WindowsVolume]:
    """Export the Windows volume in the disk ``image``, which must not be written to meanwhile, during the block.

    ``folder`` is an existing directory for the harness's own files. Raises MissingPart with what is not installed,
    GuestRefused if the disk has no such volume.
    """
    lacking = missing()
    if lacking:
        raise MissingPart(f"the guest's disk cannot be read: {lacking.partition(':')[0]}", hint=lacking)
    with (
        _export(image, format, None, folder / "disk.raw", deadline) as disk,
        disk.open("rb", buffering=0) as content,
    ):
        partition = windows_partition(content, disk.stat().st_size)
    with _export(image, format, partition, folder / "volume.raw", deadline) as volume:
        yield WindowsVolume(volume)


@contextlib.contextmanager
def _export(
    image: Path,
    format: str,  # noqa: A002
    partition: Partition | None,
    at: Path,
    deadline: Deadline,
) -> Iterator[Path]:
    """Make a file show an image's content, or a part of it, until the end of the block."""
    # A paused machine holds its locks, and writes nothing.
    chain = [
        f"driver=file,node-name=file,filename={option_value(image)},read-only=on,locking=off",
        f"driver={format},node-name=disk,file=file,read-only=on",
    ]
    node = "disk"
    if partition is not None:
        node = "volume"
        chain.append(
            f"driver=raw,node-name=volume,file=disk,read-only=on,offset={partition.offset},size={partition.size}"
        )
    command = ["qemu-storage-daemon"]
    for link in chain:
        command += ["--blockdev", link]
    command += ["--export", f"type=fuse,id=show,node-name={node},mountpoint={option_value(at)},writable=off"]
    at.touch(0o600)
    empty = at.stat().st_dev
    process = Process(command, at.with_suffix(".log"), ended=lambda: None)
    process.spawn()
    try:
        deadline.poll(
            lambda: not process.running or at.stat().st_dev != empty,
            error=lambda: InfrastructureError(f"{image} was not shown within {deadline.seconds:g} s"),
        )
        if not process.running:
            raise InfrastructureError(f"{image} cannot be shown: {process.words()[-400:]}")
        yield at
    finally:
        _end(process, at)


def _end(process: Process, at: Path) -> None:
    process.end((signal.SIGTERM, 10.0))
    if process.running:
        process.end((signal.SIGKILL, 10.0))
        # A killed daemon leaves its mount behind, so its folder cannot be removed.
        with contextlib.suppress(InfrastructureError):
            run_program(["fusermount3", "-u", "-q", str(at)], Deadline(10, "unmounting the guest's disk"))
    at.unlink(missing_ok=True)
    if not process.words():
        process.log.unlink(missing_ok=True)
