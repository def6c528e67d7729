# SPDX-License-Identifier: MIT
"""A printed command begins as the harness was started, and a shell gives its words back as they were."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.invocation import STARTED_AS, invocation, program, quoted

ROOT = Path(__file__).resolve().parents[1]
SAY = "import sys; from harness.invocation import invocation; print(invocation('check', 'a b'))"

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(st.lists(WORDS, min_size=1, max_size=8))
def test_a_shell_gives_the_words_back(words: list[str]) -> None:
    """Whatever the words hold, bash reads them as they were, and nothing printed steers a terminal."""
    line = " ".join(map(quoted, words))
    said = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert [True, words] == [line.isprintable(), said.stdout.decode().split("\0")[:-1]]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (Path("-v"), "./-v"),
        ("-v", "-v"),
        ("", "''"),
        ("runs/latest", "runs/latest"),
        ("it's", "'it'\"'\"'s'"),
        ("a\x1b[2J'\\", r"$'a\x1b[2J\'\\'"),
        ("a\u202e", r"$'a\xe2\x80\xae'"),
        (os.fsdecode(b"\xff"), r"$'\xff'"),
        ("\ud800", r"$'\xed\xa0\x80'"),
    ],
)
def test_words_that_are_quoted(word: str | Path, expected: str) -> None:
    """A path is never an option; control characters, bidirectional controls and bytes that are no text are escaped."""
    assert expected == quoted(word)


def started(*command: str, path: str = os.defpath, **environment: str) -> str:
    """Start Python as a user does, and return what it would print."""
    variables = {"PATH": path, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=variables, cwd=ROOT
    ).stdout.strip()


def script(place: Path) -> Path:
    """An entry point as pip makes one, whose command only says what it would print."""
    place.mkdir()
    file = place / "harness"
    file.write_text(f"#!{sys.executable}\n{SAY}\n")
    file.chmod(0o755)
    return file


def test_a_program_on_the_path_is_called_by_its_name(tmp_path: Path) -> None:
    """One elsewhere is called by its path, also where another of that name is on PATH."""
    mine, other = script(tmp_path / "my bin"), script(tmp_path / "bin")
    assert ["harness check 'a b'", f"'{mine}' check 'a b'", f"'{mine}' check 'a b'"] == [
        started("harness", path=f"{mine.parent}:{os.defpath}"),
        started(str(mine)),
        started(str(mine), path=f"{other.parent}:{os.defpath}"),
    ]


@pytest.mark.parametrize("python", [Path(sys.executable).name, sys.executable])
def test_a_module_is_started_by_the_python_that_was_typed(python: str) -> None:
    """python -m harness, with the name or path of Python and the options that it was given."""
    words = [python, "-X", "utf8", "-m", "harness", "rules", "--id", "nosuch"]
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    assert ended.stderr.endswith(f"All of them: {python} -X utf8 -m harness rules\n")


def test_lab_says_how_it_was_started() -> None:
    """What ./lab says comes before what Python knows, but not if a terminal would act on it."""
    told = started(sys.executable, "-c", SAY, **{STARTED_AS: "../lab harness"})
    evil = started(sys.executable, "-c", SAY, **{STARTED_AS: "\x1b[2J"})
    assert ["../lab harness check 'a b'", True] == [
        told,
        evil.endswith(" check 'a b'") and evil.isprintable(),
    ]


def test_another_program_names_the_harness_of_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under pytest the command is the one beside the Python that runs, and it can be executed."""
    monkeypatch.delenv(STARTED_AS)
    ended = subprocess.run(
        ["bash", "-c", f"{program()} --version"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert [True, True] == [ended.stdout.startswith("harness "), invocation().strip() == program()]
