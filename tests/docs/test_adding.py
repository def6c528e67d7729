# SPDX-License-Identifier: MIT
"""The how-to pages are followed to the letter in a copy of the project, and their commands print what they say."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest
from docs.howto import HowToStep, ProjectCopy, Shell, steps

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
def one_copy(tmp_path_factory: pytest.TempPathFactory, warm_shell: Shell) -> ProjectCopy:
    """The copy of all tests: making one takes as long as what most pages have done in it."""
    return ProjectCopy(tmp_path_factory.mktemp("project") / "copy", warm_shell)


@pytest.fixture
def copy(one_copy: ProjectCopy) -> ProjectCopy:
    """A copy of the project as it is."""
    one_copy.reset()
    return one_copy


def test_a_copy_is_as_it_was_again(tmp_path: Path, warm_shell: Shell) -> None:
    """What was changed, even to as many bytes, removed, or made, also in new directories, is undone."""
    copy = ProjectCopy(tmp_path / "copy", warm_shell, ["docs", "README.md"])
    before = contents(copy.root)
    (copy.root / "README.md").write_bytes((copy.root / "README.md").read_bytes().swapcase())
    (copy.root / "docs" / "cli.md").unlink()
    (copy.root / "runs" / "one").mkdir(parents=True)
    (copy.root / "runs" / "one" / "run.json").touch()
    (copy.root / "runs" / "latest").symlink_to("one")
    assert before != contents(copy.root)
    copy.reset()
    assert before == contents(copy.root)


def test_a_step_changes_the_copy_alone(
    tmp_path: Path, warm_shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of the copy are links to the project's, which no step changes; that a command wrote into one is said."""
    ours = tmp_path / "project" / "harness" / "one.py"
    ours.parent.mkdir(parents=True)
    ours.write_text("one\n")
    monkeypatch.setattr("docs.howto.ROOT", tmp_path / "project")
    copy = ProjectCopy(tmp_path / "copy", warm_shell, ["harness"])
    name = "harness/one.py"
    copy.follow([HowToStep("change", name, "-one\n+two\n"), HowToStep("append", name, "three\n")])
    assert ["one\n", "two\n\n\nthree\n"] == [ours.read_text(), (copy.root / name).read_text()]
    copy.reset()
    assert (copy.root / name).samefile(ours)
    copy.follow([HowToStep("run", "", f"$ echo two >> {name}\n")])
    with pytest.raises(AssertionError, match=r"one\.py was written"):
        copy.reset()


SAYS = """
import os, sys
import harness, pytest
sys.stderr.write("error")
print(harness.__file__, os.environ["NOTE"], sys.stdin.read().strip(), sys.argv[1:], sep="|")
sys.exit(7)
"""


def test_a_program_is_that_of_the_copy(tmp_path: Path, warm_shell: Shell) -> None:
    """It has the copy's modules, and the words, variables, streams and exit status that a process of its own has."""
    for name, text in (("harness/__init__.py", ""), ("tests/says.py", SAYS)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    command = (
        "echo given | NOTE=more python -m tests.says 'a b' 2> said | sed 's/^/> /'; echo ${PIPESTATUS[1]}"
    )
    done = warm_shell(command, tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (0, f"> {tmp_path}/harness/__init__.py|more|given|['a b']\n7\n") == done
    assert "error" == (tmp_path / "said").read_text()


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

ALL = "HOTPLUG_HARNESS_ALL_STEPS"
"""Environment variable: set to anything, every step is left out once."""

SEED, SHARE = 1, 3


def share() -> list[int]:
    """Return the steps that are left out here, the same in every process."""
    every = [n for n, step in enumerate(COMMAND) if step.kind != "run"]
    return every if ALL in os.environ else sorted(random.Random(SEED).sample(every, SHARE))


@pytest.mark.parametrize("left_out", share(), ids=lambda n: COMMAND[n].place)
def test_a_step_that_is_left_out_is_noticed(left_out: int, copy: ProjectCopy) -> None:
    """A page that does not name a step of adding a command fails at its own commands.

    Tried with a seeded share of the steps, and by ``tox -e pages`` with each.
    """
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
def test_a_step_that_cannot_be_taken_is_named(
    step: HowToStep, message: str, tmp_path: Path, warm_shell: Shell
) -> None:
    """Steps that no longer fit the project, and commands that print something else."""
    with pytest.raises(AssertionError, match=re.escape(message)):
        ProjectCopy(tmp_path / "copy", warm_shell, ["README.md"]).follow([step])
