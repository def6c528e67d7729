# SPDX-License-Identifier: MIT
"""What the processes of a small fleet are forked from, and what they become (``started.py``). It does not load pytest."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys

ENGINE = (
    "distributed",
    "fsspec.implementations.chained",
    "fsspec.implementations.local",
    "harness.cli.main",
    "harness.cli.nightly_plan",
    "harness.cli.nightly_view",
    "harness.cli.nightly_watch",
    "harness.cli.notification",
    "harness.cli.readiness:make_ready",
    "harness.cli.retention",
    "harness.fleet.entry",
    "harness.fleet.nightly",
    "harness.fleet.scheduler",
    "harness.fleet.worker",
    "harness.lab.cell_choice",
    "harness.lab.nightly",
    "tornado.platform.asyncio",
    f"{__name__}:make_ready",
)
"""What the commands of a fleet load, but for the result store."""
STORE = (
    "alembic.command",
    "alembic.config",
    "harness.store.loader",
    "harness.store.models",
    "harness.store.morning",
    "harness.store.nightly_keeper",
    "sqlalchemy.dialects.sqlite",
)
"""What a nightly run loads which has an outcome to keep: as much again as the engine."""


def make_ready() -> None:
    """Make the commands of a fleet, in the process that others are forked from."""
    from harness.cli.command_tree import command_for

    with contextlib.suppress(ModuleNotFoundError):
        # dask needs it on Python 3.11 alone.
        importlib.import_module("importlib_metadata._adapters")
    for command in ("fleet", "nightly", "worker"):
        command_for([command])


def begin() -> int:
    """Become a command or a program, in the forked process."""
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
