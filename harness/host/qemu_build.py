# SPDX-License-Identifier: MIT
"""The QEMU program: its path, its version, and whether that is new enough."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.errors import InfrastructureError, MissingPart, told_shortage
from harness.program import run_program

PROGRAM = "qemu-system-x86_64"

OLDEST = (7, 2)
"""The oldest QEMU with which the harness is tested, that of Debian 12."""

INSTALL = "sudo apt install qemu-system-x86"


class QemuBuild(msgspec.Struct, frozen=True):
    """A QEMU on this machine: ``version`` as in "7.2.22", ``text`` its own description, with its package's version."""

    path: Path
    version: str
    text: str


def find_program(requested: str | Path = "") -> Path:
    """Return the QEMU to use: the requested one, or the first on PATH. Raises MissingPart."""
    found = shutil.which(str(requested) or PROGRAM)
    if found is None:
        what = f"no program at {requested}" if str(requested) else f"{PROGRAM} is not installed"
        raise MissingPart(f"QEMU is missing: {what}", hint=f"{INSTALL}, or name another with --qemu PATH.")
    return Path(found).absolute()


def parse(text: str) -> tuple[int, int, int] | None:
    """Return the three numbers of QEMU's ``--version`` output, or None for other text."""
    match = re.search(r"QEMU emulator version (\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", text[:4096])
    if match is None:
        return None
    major, minor, micro = match.groups(default="0")
    return int(major), int(minor), int(micro)


def find_qemu(requested: str | Path = "", deadline: Deadline | None = None) -> QemuBuild:
    """Find QEMU and ask it for its version. The answer is kept until the file changes. Default deadline 10 s.

    Raises MissingPart if there is none or it is older than 7.2, InfrastructureError if it does not answer.
    """
    path = find_program(requested)
    stat = path.stat()
    key = (path, stat.st_mtime_ns, stat.st_size)
    found = _answers.get(key) or _answers.setdefault(key, _ask(path, deadline or Deadline(10, "ask QEMU")))
    if tuple(map(int, found.version.split(".")))[:2] < OLDEST:
        raise MissingPart(
            f"{path} is QEMU {found.version}, too old: the harness needs {'.'.join(map(str, OLDEST))} or newer",
            hint=f"{INSTALL} (Debian 12 and Ubuntu 24.04 have one), or name another with --qemu PATH.",
        )
    return found


_answers: dict[tuple[Path, int, int], QemuBuild] = {}
"""The answers of programs, by path, time of change and size."""


def _ask(path: Path, deadline: Deadline) -> QemuBuild:
    answer = run_program(
        [path, "--version"], deadline, supply=f"{INSTALL}, or name another with --qemu PATH.",
        slow="Run it by hand; name another with --qemu PATH.",
    )  # fmt: skip
    text = answer.output[:4096]
    numbers = parse(text)
    if answer.status or numbers is None:
        raise InfrastructureError(
            f"{path} --version ended with status {answer.status} and said {text[:200].strip()!r}",
            hint=told_shortage(text)[1] or "That is not QEMU; name another with --qemu PATH.",
        )
    return QemuBuild(path, ".".join(map(str, numbers)), text.splitlines()[0].strip())
