# SPDX-License-Identifier: MIT
"""Running the programs that build and sign, each within a deadline and with everything it started."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

from harness.deadline import Deadline
from harness.errors import InfrastructureError, MissingPart

PACKAGES = {
    "make": "make",
    "x86_64-w64-mingw32-gcc": "gcc-mingw-w64-x86-64",
    "x86_64-w64-mingw32-dlltool": "gcc-mingw-w64-x86-64",
    "clang": "clang",
    "lld-link": "lld",
    "osslsigncode": "osslsigncode",
}
"""The Debian package of each program."""


class ProgramResult(NamedTuple):
    """A program that ended: its exit status, and what it wrote to both streams."""

    status: int
    output: str

    def last_lines(self, count: int = 12) -> str:
        """Return the end of the output, for an error message."""
        return "\n  ".join(self.output.strip().splitlines()[-count:])


def run(command: list[str], deadline: Deadline, *, cwd: Path | None = None) -> ProgramResult:
    """Run a program in the C locale and return it whatever its exit status was.

    Raises MissingPart if there is no such program, InfrastructureError if it cannot be run or does not end before the
    deadline; nothing it started is left running then.
    """
    try:
        process = subprocess.Popen(
            command, cwd=cwd, env={**os.environ, "LC_ALL": "C"}, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise MissingPart(
            f"{deadline.what} needs '{command[0]}', which is not installed",
            hint=f"Install it with: apt-get install {PACKAGES.get(command[0], command[0])}",
        ) from error
    except OSError as error:
        raise InfrastructureError(f"cannot run '{command[0]}': {error.strerror}") from error
    try:
        output, _ = process.communicate(timeout=max(0.001, deadline.remaining()))
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(
            f"{deadline.what}: '{command[0]}' did not end within {deadline.seconds:g} s",
            hint="Try again when the machine is less busy.",
        ) from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return ProgramResult(process.returncode, output)
