# SPDX-License-Identifier: MIT
"""The tests stand in rooms like the code's: docs/architecture.md says the rule, and this holds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
ROOMS = {path.name for path in (ROOT / "harness").iterdir() if (path / "__init__.py").is_file()}
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

AS_A_PROGRAM = re.compile(r'"-m", "harness|pytester')
"""How a test runs the room's code without importing it: as a command, or inside another pytest."""


IN_ROOMS = sorted(path for path in TESTS.rglob("test_*.py") if path.relative_to(TESTS).parts[0] in ROOMS)


@pytest.mark.parametrize("path", IN_ROOMS, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_test_stands_in_the_room_that_it_tests(path: Path) -> None:
    """A test in a room's folder uses a module of that room: itself, by a helper beside it, or as a program."""
    room = ".".join(["harness", *path.relative_to(TESTS).parts[:-1]])
    helpers = [other for other in path.parent.glob("*.py") if not other.name.startswith("test_")]
    helpers += [other / "conftest.py" for other in path.parents if (other / "conftest.py").is_file()]
    imports = re.compile(
        rf"from {room.rpartition('.')[0]} import {room.rpartition('.')[2]}\b|from {room}[.\w]* import"
    )
    texts = [each.read_text(encoding="utf-8") for each in [path, *helpers]]
    assert any(map(imports.search, texts)) or AS_A_PROGRAM.search(texts[0])


def test_each_other_folder_is_on_the_page() -> None:
    """A folder of tests/ that is no room has a row on the page that says what it is for, and each row is a folder."""
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    listed = set(re.findall(r"^\| `tests/(\w+)/`", PAGE, re.MULTILINE))
    assert folders - ROOMS == listed
