# SPDX-License-Identifier: MIT
"""The programs that tox starts beside pytest can be started: nobody else runs the long forms day by day."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def programs() -> list[list[str]]:
    """Return the words that start each program of our own, from the commands in tox.ini."""
    document = configparser.RawConfigParser()
    document.read(ROOT / "tox.ini", encoding="utf-8")
    found = []
    for section in document.sections():
        for line in document.get(section, "commands", fallback="").splitlines():
            words = line.partition("LAB_PYTHON:python}")[2].split()
            found.append(words[: 2 if words[:1] == ["-m"] else 1])
    return [words for words in found if words and words[-1].startswith("tests")]


IMPORT = """
import runpy, sys
from pathlib import Path
if sys.argv[1] == "-m":
    runpy.run_module(sys.argv[2], run_name="tried")
else:
    sys.path[0] = str(Path(sys.argv[1]).parent.resolve())
    runpy.run_path(sys.argv[1], run_name="tried")
"""
"""Does what Python does with a program's words, up to the work itself."""


@pytest.mark.parametrize("words", programs(), ids=lambda words: words[-1])
def test_the_program_starts(words: list[str]) -> None:
    """Everything that it imports is found from the clone's root, with no path to the tests set."""
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "") == (ended.returncode, ended.stderr)


def test_every_program_is_tried() -> None:
    """The programs that are known by name are among them."""
    assert {
        "tests.soak",
        "tests.recorded.record",
        "tests.contract.reference",
        "tests/guest_drivers/mutants.py",
    } <= {words[-1] for words in programs()}
