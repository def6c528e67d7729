# SPDX-License-Identifier: MIT
"""Says which tests stay together when ``./lab test`` runs them in several processes (``-n``, ``--dist loadfile``).

The tests of a file share a process: they share its fixtures, so a guest is started once. So do all files that test one of
the parts in :data:`ALONE`. Groups of pytest-xdist would say it for single tests, but pytest 9.2 gives tests names that
pytest-xdist 3.8 cannot append a group to.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler.loadfile import LoadFileScheduling

ALONE = ("libvirt", "wine", "browser", "slurm")
"""Markers of parts that one process uses at a time: a daemon of the host, or programs that need the whole machine."""

MARKER = re.compile(rf"\bmark\.({'|'.join(ALONE)})\b")


def group(file: Path) -> str:
    """Return the part in :data:`ALONE` that a file of tests has the marker of, "" for none."""
    found = set(MARKER.findall(file.read_text(encoding="utf-8")))
    return next((part for part in ALONE if part in found), "")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the processes for ``-n logical``: two for each processor, for tests wait longer than they compute."""
    return 2 * len(os.sched_getaffinity(0))


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Refuse a file that is not there, as pytest does in one process: the processes of pytest-xdist would run no test."""
    config = session.config
    if config.getoption("dist", "no") != "no":
        for given in config.args:
            path = given.partition("::")[0]
            if not (config.invocation_params.dir / path).exists():
                raise pytest.UsageError(f"file or directory not found: {path}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Keep files of one part together, where pytest-xdist's own scheduler keeps only the tests of a file together."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler.loadfile import LoadFileScheduling

    known: dict[str, str] = {}

    class ByFileAndPart(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file not in known:
                known[file] = group(config.rootpath / file) or file
            return known[file]

    return ByFileAndPart(config, log)
