# SPDX-License-Identifier: MIT
"""One PowerShell for all tests of a process, and a Windows of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from part_markers import needs
from powershell import texts
from powershell.doubles import PROGRAM
from powershell.server import Server, World

MakeWorld = Callable[..., World]


@pytest.fixture(scope="session")
@needs("powershell")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It has doubles for every command that a script of the project uses."""
    made = Server(tmp_path_factory.mktemp("powershell") / "home", texts.used())
    yield made
    made.close()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every Windows shares: the double of its programs, and the path by which scripts reach the one that they run in."""
    folder = tmp_path_factory.mktemp("windows")
    (folder / "double").write_text(PROGRAM)
    (folder / "double").chmod(0o755)
    return folder


@pytest.fixture
def make_world(tmp_path: Path, shared: Path) -> MakeWorld:
    """Makes a new Windows, with all programs."""
    programs = texts.programs()
    number = 0

    def make() -> World:
        nonlocal number
        number += 1
        return World(tmp_path / f"world{number}", shared / "world", shared / "double", programs)

    return make
