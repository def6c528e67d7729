# SPDX-License-Identifier: MIT
"""After the whole suite ``harness ps`` shows no machine of its own: what a test leaves in the registry fails the session."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.host.registry import MachineEntry, Registry


def machines_in(folder: Path) -> list[MachineEntry]:
    """Return the entries of this user's registry whose run directory lies in a folder."""
    return [entry for entry in Registry().entries() if Path(entry.directory).is_relative_to(folder)]


LEFT = pytest.StashKey[list[MachineEntry]]()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look once, when all workers are through."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory is None or hasattr(session.config, "workerinput"):
        return
    if left := machines_in(factory.getbasetemp()):
        session.config.stash[LEFT] = left
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Name what was left on the last lines, where a reader looks for the cause of the failure."""
    for entry in config.stash.get(LEFT, []):
        sys.stdout.write(f"left in the registry: {entry.name}, {entry.directory}\n")
