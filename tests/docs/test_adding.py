# SPDX-License-Identifier: MIT
"""The how-to pages are followed to the letter in a copy of the project, and their commands print what they say."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from docs.howto import HowToStep, ProjectCopy, steps

PAGES = [
    pytest.param("rules.md", "## How to add a rule", id="rule"),
    pytest.param("operations.md", "## How to add an operation", id="operation", marks=pytest.mark.host),
    pytest.param("options.md", "## How to add an option", id="option", marks=pytest.mark.host),
    pytest.param("commands.md", "## How to add a command", id="command"),
    pytest.param("guests.md", "## How to add a guest", id="guest", marks=pytest.mark.qemu),
    pytest.param("repro.md", "## From a failed run to a test", id="repro", marks=pytest.mark.host),
    pytest.param("explore.md", "## From a fault to the smallest plan", id="explore", marks=pytest.mark.host),
    pytest.param("history.md", "## How to add a capture channel", id="channel", marks=pytest.mark.host),
]

IN_ORDER = HowToStep(
    "run",
    "",
    "$ python -m tests.docs.glossary\n…\n"
    "$ python -m pytest -q tests/docs/test_glossary.py tests/test_architecture.py tests/test_layout.py "
    "-k 'one_thing or index or rooms or row_says or one_way or one_place or never_judges or stands_in'\n…\n",
)
"""What holds for every addition to the project, whichever page was followed: names, rooms, arrows."""


@pytest.fixture(scope="module")
def one_copy(tmp_path_factory: pytest.TempPathFactory) -> ProjectCopy:
    """The copy of all tests: making one takes as long as what most pages have done in it."""
    return ProjectCopy(tmp_path_factory.mktemp("project") / "copy")


@pytest.fixture
def copy(one_copy: ProjectCopy) -> ProjectCopy:
    """A copy of the project as it is."""
    one_copy.reset()
    return one_copy


def test_a_copy_is_as_it_was_again(tmp_path: Path) -> None:
    """What was changed, even to as many bytes, removed, or made, also in new directories, is undone."""
    copy = ProjectCopy(tmp_path / "copy", ["docs", "README.md"])
    before = contents(copy.root)
    (copy.root / "README.md").write_bytes((copy.root / "README.md").read_bytes().swapcase())
    (copy.root / "docs" / "cli.md").unlink()
    (copy.root / "runs" / "one").mkdir(parents=True)
    (copy.root / "runs" / "one" / "run.json").touch()
    (copy.root / "runs" / "latest").symlink_to("one")
    assert before != contents(copy.root)
    copy.reset()
    assert before == contents(copy.root)


def contents(place: Path) -> dict[str, bytes]:
    """What is in a directory: each file's bytes, b"" for a directory."""
    return {
        os.path.relpath(path, place): path.read_bytes() if path.is_file() else b""
        for path in place.rglob("*")
    }


@pytest.mark.parametrize(("page", "heading"), PAGES)
def test_the_page_leads_to_a_working_addition(page: str, heading: str, copy: ProjectCopy) -> None:
    """Every step can be taken, and the page's commands and tests find a complete addition."""
    copy.follow(steps(page, heading))


def test_the_additions_leave_the_rooms_in_order(copy: ProjectCopy) -> None:
    """What all pages add, in one copy: its names, rooms and arrows are in order."""
    for page, heading in (row.values for row in PAGES):
        copy.follow([step for step in steps(str(page), str(heading)) if step.kind != "run"])
    copy.follow([IN_ORDER])


COMMAND = steps("commands.md", "## How to add a command")


@pytest.mark.parametrize(
    "left_out", [n for n, step in enumerate(COMMAND) if step.kind != "run"], ids=lambda n: COMMAND[n].place
)
def test_a_step_that_is_left_out_is_noticed(left_out: int, copy: ProjectCopy) -> None:
    """A page that does not name a step of adding a command fails at its own commands."""
    *others, proof = [step for n, step in enumerate(COMMAND) if n != left_out]
    copy.follow(others)
    with pytest.raises(AssertionError, match=r"\$ (harness records|python -m (pytest|tests))"):
        copy.follow([proof])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (HowToStep("create", "README.md", ""), "README.md is there already"),
        (HowToStep("change", "README.md", " no such line\n+more\n"), "README.md has 0 places like this"),
        (HowToStep("change", "README.md", " # Hotplug…\n+…\n"), "what is to be added is written in full"),
        (HowToStep("run", "", "$ echo seen\nsaid\n"), "the page prints\nsaid"),
        (HowToStep("run", "", "$ false\n"), "$ false"),
    ],
)
def test_a_step_that_cannot_be_taken_is_named(step: HowToStep, message: str, tmp_path: Path) -> None:
    """Steps that no longer fit the project, and commands that print something else."""
    with pytest.raises(AssertionError, match=re.escape(message)):
        ProjectCopy(tmp_path / "copy", ["README.md"]).follow([step])
