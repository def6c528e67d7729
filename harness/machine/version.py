# SPDX-License-Identifier: MIT
"""Which QEMU: where it is, how old it is, and whether that is new enough."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.errors import InfrastructureError, MissingPart

PROGRAM = "qemu-system-x86_64"

OLDEST = (7, 2)
"""The oldest QEMU that the harness is tested with, that of Debian 12."""

INSTALL = "sudo apt install qemu-system-x86"


class QemuVersion(msgspec.Struct, frozen=True):
    """A QEMU on this machine. ``text`` is what it says of itself, with the distribution's own version."""

    path: Path
    numbers: tuple[int, int, int]
    text: str


def find(requested: Path | None = None) -> Path:
    """Return the QEMU to use: the one asked for, or the first on PATH. Raises MissingPart."""
    found = shutil.which(str(requested) if requested is not None else PROGRAM)
    if found is None:
        what = f"no program at {requested}" if requested is not None else f"{PROGRAM} is not installed"
        raise MissingPart(f"QEMU is missing: {what}", hint=f"{INSTALL}, or name another with --qemu PATH.")
    return Path(found).absolute()


def parse(text: str) -> tuple[int, int, int] | None:
    """Return the three numbers of QEMU's ``--version`` output, or None if it is no such output."""
    match = re.search(r"QEMU emulator version (\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", text[:4096])
    if match is None:
        return None
    major, minor, micro = match.groups(default="0")
    return int(major), int(minor), int(micro)


def ask(path: Path, deadline: Deadline) -> QemuVersion:
    """Ask the QEMU at ``path`` for its version; the answer is remembered until the file changes.

    Raises MissingPart if there is none or it is older than 7.2, InfrastructureError if it gives no answer.
    """
    path = find(path)
    stat = path.stat()
    key = (path, stat.st_mtime_ns, stat.st_size)
    version = _answers.get(key) or _answers.setdefault(key, _run(path, deadline))
    if version.numbers[:2] < OLDEST:
        dotted = ".".join(map(str, version.numbers))
        raise MissingPart(
            f"{path} is QEMU {dotted}, too old: the harness needs {'.'.join(map(str, OLDEST))} or newer",
            hint=f"{INSTALL} (Debian 12 and Ubuntu 24.04 have one), or name another with --qemu PATH.",
        )
    return version


_answers: dict[tuple[Path, int, int], QemuVersion] = {}
"""What each program said, by path, time of change and size."""


def _run(path: Path, deadline: Deadline) -> QemuVersion:
    try:
        answer = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=max(deadline.remaining(), 0.1),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(
            f"{path} --version gave no answer within {deadline.seconds:.3g} s",
            hint="Run it by hand; name another with --qemu PATH.",
        ) from error
    except OSError as error:
        raise MissingPart(
            f"cannot run {path}: {error.strerror}", hint=f"{INSTALL}, or name another with --qemu PATH."
        ) from error
    text = answer.stdout[:4096].decode("utf-8", "replace")
    numbers = parse(text)
    if answer.returncode != 0 or numbers is None:
        raise InfrastructureError(
            f"{path} --version ended with status {answer.returncode} and said {text[:200].strip()!r}",
            hint="That is no QEMU; name another with --qemu PATH.",
        )
    return QemuVersion(path, numbers, text.splitlines()[0].strip())
