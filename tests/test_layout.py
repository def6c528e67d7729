# SPDX-License-Identifier: MIT
"""The tests stand in rooms like the code's: docs/architecture.md says the rule, and this holds it."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
ROOMS = {path.name for path in (ROOT / "harness").iterdir() if (path / "__init__.py").is_file()}
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

AS_A_PROGRAM = re.compile(r'"-m", "harness|pytester')
"""How a test runs the room's code without importing it: as a command, or inside another pytest."""


@functools.cache
def text_of(path: Path) -> str:
    """The text of a file of tests."""
    return path.read_text(encoding="utf-8")


@functools.cache
def helpers_of(folder: Path) -> tuple[Path, ...]:
    """The files that the tests of a folder can use: those beside them that are no tests, and what is above them."""
    beside = [other for other in folder.glob("*.py") if not other.name.startswith("test_")]
    above = [other / "conftest.py" for other in (folder, *folder.parents)]
    return (*beside, *(other for other in above if other.is_file()))


def uses_its_room(path: Path) -> bool:
    """Whether a test in a room's folder uses a module of that room: itself, by a helper beside it, or as a program."""
    room = ".".join(["harness", *path.relative_to(TESTS).parts[:-1]])
    imports = re.compile(
        rf"from {room.rpartition('.')[0]} import {room.rpartition('.')[2]}\b|from {room}[.\w]* import"
    )
    return any(imports.search(text_of(each)) for each in (path, *helpers_of(path.parent))) or bool(
        AS_A_PROGRAM.search(text_of(path))
    )


def test_a_test_stands_in_the_room_that_it_tests() -> None:
    """Each file of tests in a room's folder uses a module of that room."""
    in_rooms = [path for path in TESTS.rglob("test_*.py") if path.relative_to(TESTS).parts[0] in ROOMS]
    assert len(in_rooms) > 200
    assert [] == sorted(str(path.relative_to(TESTS)) for path in in_rooms if not uses_its_room(path))


def test_each_other_folder_is_on_the_page() -> None:
    """A folder of tests/ that is no room has a row on the page that says what it is for, and each row is a folder."""
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    listed = set(re.findall(r"^\| `tests/(\w+)/`", PAGE, re.MULTILINE))
    assert folders - ROOMS == listed


def test_nothing_else_lies_at_the_top() -> None:
    """What a program of a test left in the folder it ran in must not be committed."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    known = {
        ".ci", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "benchmarks", "docs",
        "guest_drivers", "harness", "hatch_build.py", "lab", "lab.toml", "locks", "pyproject.toml", "tests", "tox.ini", "vm_templates",
    }  # fmt: skip
    assert known == {line.partition("/")[0] for line in listed.stdout.splitlines()}
