# SPDX-License-Identifier: MIT
"""A step: one child process of the set-up, its output in a log file, its failure one message with the last words."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.deadline import Deadline
from harness.errors import InfrastructureError, MissingPart

LAST_LINES = 12
"""How much of a failed step's output its message shows."""
FRAMES = re.compile(r"^([ \t]*)Traceback \(most recent call last\):\n(?:\1[ \t]+.*\n)*", re.MULTILINE)
"""The frames of a traceback, which tell a user nothing; the line after them says what happened."""


class StepResult(NamedTuple):
    """How a step ended: its exit status and all its output."""

    status: int
    output: str

    def last_words(self) -> str:
        """Return the last lines of the output, indented, without blank ones, after a line break; "" for none."""
        lines = [line.rstrip() for line in FRAMES.sub("", self.output).splitlines() if line.strip()]
        return "".join(f"\n    {line[:300]}" for line in lines[-LAST_LINES:])

    def says(self, *words: str) -> bool:
        """Tell whether any of ``words`` is in the output."""
        return any(word in self.output for word in words)


def run(
    command: Sequence[str],
    log: Path,
    deadline: Deadline,
    *,
    environment: Mapping[str, str],
    descriptors: Sequence[int] = (),
    finish: bool = False,
) -> StepResult:
    """Run ``command`` to its end, adding its output to ``log``.

    ``descriptors`` stay open in the child. With ``finish`` Ctrl-C does not reach the child and is raised only when it
    has ended: a package manager stopped half-way leaves the machine broken. Raises MissingPart when there is no such
    program and InfrastructureError when the deadline passes.
    """
    with log.open("ab+") as file:
        file.write(f"$ {shlex.join(command)}\n".encode())
        file.flush()
        start = file.tell()
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                pass_fds=tuple(descriptors),
                process_group=0 if finish else None,
            )
        except FileNotFoundError as error:
            raise MissingPart(f"there is no program {command[0]!r} on this machine") from error
        try:
            status = child.wait(timeout=deadline.remaining())
        except KeyboardInterrupt:
            if not finish:
                child.terminate()
            child.wait()
            raise
        except subprocess.TimeoutExpired as error:
            child.terminate()
            child.wait()
            raise InfrastructureError(
                f"{deadline.what} did not end within {deadline.seconds:g} s: {shlex.join(command)}",
                hint=f"What it printed is in {log}",
            ) from error
        file.seek(start)
        return StepResult(status, file.read().decode(errors="replace"))
