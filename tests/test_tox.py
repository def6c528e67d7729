# SPDX-License-Identifier: MIT
"""The programs that tox starts beside pytest can be started: nobody else runs the long forms day by day."""

from __future__ import annotations

import configparser
import json
import os
import shlex
from collections.abc import Callable
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
            found.append(tuple(words[: 2 if words[:1] == ["-m"] else 1]))
    return [list(words) for words in dict.fromkeys(found) if words and words[-1].startswith("tests")]


START = """
import gc, json, os, runpy, sys, traceback
from pathlib import Path
import hypothesis, pytest
from harness.cli.readiness import make_ready

make_ready()
gc.freeze()
sys.path[0] = os.getcwd()
for number, words in enumerate(json.loads(sys.argv[2])):
    if not os.fork():
        said = os.open(f"{sys.argv[1]}/{number}", os.O_WRONLY | os.O_CREAT)
        os.dup2(said, 2)
        try:
            if words[0] == "-m":
                runpy.run_module(words[1], run_name="tried")
            else:
                sys.path[0] = str(Path(words[0]).parent.resolve())
                runpy.run_path(words[0], run_name="tried")
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""
"""Does what Python does with each program's words, up to the work itself, in processes that have loaded the harness.

To take its modules apart in the end would take each of them longer than the rest.
"""


@pytest.fixture(scope="module")
def started(
    tmp_path_factory: pytest.TempPathFactory, warm_shell: Callable[..., tuple[int, str]]
) -> dict[str, tuple[int, str]]:
    """How each program ended, and what it wrote to standard error, with no path to the tests set."""
    place = tmp_path_factory.mktemp("said")
    (place / "start.py").write_text(START, encoding="utf-8")
    code, said = warm_shell(
        shlex.join(["python", str(place / "start.py"), str(place), json.dumps(programs())]),
        ROOT,
        {name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert 0 == code, said
    codes = map(int, said.split())
    return {
        words[-1]: (code, (place / str(number)).read_text())
        for number, (words, code) in enumerate(zip(programs(), codes, strict=True))
    }


@pytest.mark.parametrize("name", [words[-1] for words in programs()])
def test_the_program_starts(name: str, started: dict[str, tuple[int, str]]) -> None:
    """Everything that it imports is found from the clone's root."""
    assert (0, "") == started[name]


def test_every_program_is_tried() -> None:
    """The programs that are known by name are among them."""
    assert {
        "tests.soak",
        "tests.recorded.record",
        "tests.contract.reference",
        "tests/guest_drivers/mutants.py",
    } <= {words[-1] for words in programs()}
