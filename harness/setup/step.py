# SPDX-License-Identifier: MIT
"""A step: one child process of the set-up, its output in a log file."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.program import ProgramResult, end_program, readable, run_program, start_program

TICK = 0.25
"""Seconds between two checks of a watched step."""


def run(
    command: Sequence[str],
    log: Path,
    deadline: Deadline,
    *,
    environment: Mapping[str, str],
    descriptors: Sequence[int] = (),
    finish: bool = False,
) -> ProgramResult:
    """Run ``command`` to its end, adding its output to ``log``.

    ``descriptors`` stay open in the child; ``finish`` and the errors raised are those of :func:`run_program`.
    """
    with log.open("ab+") as file:
        file.write(f"$ {shlex.join(command)}\n".encode())
        file.flush()
        start = file.tell()
        ended = run_program(
            command, deadline, environment=environment, log=file, descriptors=descriptors, finish=finish,
            slow=f"What it printed is in {log}",
        )  # fmt: skip
        file.seek(start)
        return ProgramResult(ended.status, file.read().decode(errors="replace"))


def run_watched(
    command: Sequence[str],
    log: Path,
    deadline: Deadline,
    watch: Callable[[str], None],
    *,
    environment: Mapping[str, str],
    descriptors: Sequence[int] = (),
) -> ProgramResult:
    """Run ``command`` as :func:`run` does. ``watch`` is called four times a second with all output so far."""
    with log.open("ab+") as file:
        file.write(f"$ {shlex.join(command)}\n".encode())
        file.flush()
        start = file.tell()

        def printed() -> str:
            return os.pread(file.fileno(), os.fstat(file.fileno()).st_size - start, start).decode(
                errors="replace"
            )

        child = start_program(
            command, deadline.what, environment=environment, stdout=file, descriptors=descriptors
        )
        try:
            ended = os.pidfd_open(child.pid)
            try:
                while not readable(ended, TICK):
                    watch(printed())
                    if deadline.expired:
                        raise InfrastructureError(
                            f"{deadline.what}: '{command[0]}' did not end within {deadline.seconds:g} s",
                            hint=f"What it printed is in {log}",
                        )
            finally:
                os.close(ended)
            status = child.wait()
        finally:
            end_program(child)
        return ProgramResult(status, printed())
