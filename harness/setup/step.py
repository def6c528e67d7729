# SPDX-License-Identifier: MIT
"""A step: one child process of the set-up, its output in a log file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.deadline import Deadline
from harness.program import ProgramResult, run_program


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

    ``descriptors`` stay open in the child; ``finish`` and what is raised are as for :func:`run_program`.
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
