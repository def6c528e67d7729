# SPDX-License-Identifier: MIT
"""Commands of a fleet as processes that are forked from one which has loaded the engine once.

A new interpreter takes 0.3 s of processor time to load the engine, more than most commands of a small fleet take then.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from harness.forking.fork_server import ForkServer
from tests.started_process import StartedProcess

ROOT = Path(__file__).resolve().parents[2]
MODULES = (
    "alembic.command",
    "distributed",
    "fsspec.implementations.local",
    "harness.cli.readiness:make_ready",
    "harness.fleet.nightly",
    "harness.fleet.scheduler",
    "harness.fleet.worker",
    "harness.store.database",
    "sqlalchemy.dialects.sqlite",
)
"""What the commands of a fleet load."""


@contextlib.contextmanager
def loaded_engine() -> Iterator[ForkServer]:
    """Start the process that commands are forked from when the first is started."""
    with pytest.MonkeyPatch.context() as patch, ForkServer(MODULES) as server:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        # It is started now: its variables are those of this moment.
        server.start(f"{__name__}:nothing").wait()
        patch.undo()
        yield server


def start(
    server: ForkServer,
    words: list[str],
    log: Path,
    *,
    place: Path,
    environment: Mapping[str, str],
    program: str = "",
) -> StartedProcess:
    """Start a command of the harness in the directory ``place``, or a program that is Python; what it says is added to a
    file."""
    with log.open("ab") as output:
        given = [str(place), json.dumps(dict(environment)), program, *words]
        return StartedProcess(server.start(f"{__name__}:begin", given, output=(output, output)))


def nothing() -> int:
    """End at once."""
    return 0


def begin() -> int:
    """Become the command or the program, in the forked process."""
    place, environment, program, *words = sys.argv[1:]
    os.chdir(place)
    os.environ.clear()
    os.environ.update(json.loads(environment))
    sys.argv[1:] = words
    if program:
        exec(program, {"__name__": "__main__"})
        return 0
    from harness.__main__ import main

    return main()
