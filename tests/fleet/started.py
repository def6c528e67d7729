# SPDX-License-Identifier: MIT
"""Commands of a fleet as processes that are forked from one which has loaded the engine once.

A new interpreter takes 0.3 s of processor time to load the engine, more than most commands of a small fleet take then.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from harness.forking.fork_server import ForkServer
from tests.fleet import forked_entry
from tests.started_process import StartedProcess

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def loaded_engine(*also: str) -> Iterator[ForkServer]:
    """Start the process that commands are forked from. It loads the modules ``also``, too."""
    with pytest.MonkeyPatch.context() as patch, ForkServer((*forked_entry.ENGINE, *also)) as server:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        # It is started now: its variables are those of this moment.
        server.start(f"{forked_entry.__name__}:make_ready").wait()
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
        return StartedProcess(server.start(f"{forked_entry.__name__}:begin", given, output=(output, output)))
