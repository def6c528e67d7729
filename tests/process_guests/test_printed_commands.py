# SPDX-License-Identifier: MIT
"""Every command that is printed can be typed as it stands, in each way in which the harness is started."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.invocation import STARTED_AS

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parents[2]

HANG = """
name = "it's stuck"
summary = "what it waits for never comes"

[[do]]
op = "add-cpu"

[[do]]
op = "wait-for"
what = "memory-arrival"
timeout = 1
"""

RUNS = "my runs"
STARTED = [
    ["run", "veto", "--guest", "host", "--runs", RUNS],
    ["run", "cpu-and-dimm", "--guest", "host", "--runs", RUNS, "--inject-fault", "complete-before-start"],
    ["run", "./stuck.toml", "--guest", "host", "--runs", RUNS],
    ["check", f"{RUNS}/latest"],
    ["check", RUNS],
    ["run", "--gest", "host"],
    ["rules", "--id", "nosuch"],
]
"""A run that holds, one that is violated, one that fails; runs judged again; two mistakes."""

SECONDS = 60.0


class Started:
    """One way to start the harness: ``words`` are what one types, ``program`` is what printed commands begin with."""

    def __init__(self, place: Path, words: list[str], program: str, environment: dict[str, str]) -> None:
        self.place = place
        self.words = words
        self.program = program
        self._environment = environment

    def run(self, command: list[str]) -> tuple[int, str]:
        """Run a command to its end, pressing Ctrl-C once a guest is given to the user; return its exit code and output."""
        deadline = Deadline(SECONDS, shlex.join(command))
        with subprocess.Popen(
            command,
            cwd=self.place,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        ) as process:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if "Ctrl-C ends it" in line:
                    os.killpg(process.pid, signal.SIGINT)
                assert not deadline.expired
            return process.wait(deadline.remaining()), said


def printed(said: str, program: str) -> Iterator[str]:
    """Yield the commands in an output: from the program's name to the end of the line, or of the quotation."""
    for line in said.splitlines():
        for found in re.finditer(rf"(?<![\w/]){re.escape(program)} (?=[a-z-])", line):
            quote = line[found.start() - 1 : found.start()]
            text = line[found.start() :]
            yield text.partition("' ")[0] if quote == "'" else text


WAYS = ("python -m harness", "harness", "./lab harness")


def started(way: str, place: Path) -> Started:
    """The harness of this clone, started in one of the ways."""
    (place / "bin").mkdir(parents=True)
    (place / "stuck.toml").write_text(HANG)
    entry = place / "bin" / "harness"
    entry.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:1] = [{str(ROOT)!r}]\n"
        "from harness.cli.main import main\nsys.exit(main())\n"
    )
    entry.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != STARTED_AS}
    if way == "harness":
        environment["PATH"] = f"{entry.parent}:{environment['PATH']}"
        return Started(place, ["harness"], "harness", environment)
    if way == "./lab harness":
        # What ./lab does once everything is set up; the environment at hand is the one of the tests.
        become = (
            "import os, sys; from pathlib import Path; from harness.setup.main import CLONE, Lab;"
            f"Lab(CLONE, os.environ).become(Path({str(place)!r}), 'harness', sys.argv[2:])"
        )
        lab = place / "lab"
        lab.write_text(
            f"#!/bin/bash\nexport LAB_COMMAND=$0\nexport PYTHONPATH={shlex.quote(str(ROOT))}\n"
            f'exec {shlex.quote(sys.executable)} -c {shlex.quote(become)} "$@"\n'
        )
        lab.chmod(0o755)
        return Started(place, ["./lab", "harness"], "./lab harness", environment)
    environment["PYTHONPATH"] = str(ROOT)
    return Started(place, [sys.executable, "-m", "harness"], f"{sys.executable} -m harness", environment)


def all_printed(start: Started) -> list[str]:
    """Return the commands that the harness prints in all that is done with it, each once."""
    commands: dict[str, None] = {}
    for words in STARTED:
        _, said = start.run([*start.words, *words])
        commands |= dict.fromkeys(printed(said, start.program))
    return list(commands)


def test_printed_commands_can_be_typed(tmp_path: Path) -> None:
    """Each is known to the harness and finds what it names; the words that it begins with are those that were typed.

    Started in another way the harness prints the same commands after its name. One of them is typed.
    """
    ways = [started(way, tmp_path / str(number)) for number, way in enumerate(WAYS)]
    commands = [all_printed(way) for way in ways]
    first, *others = ways
    tried: dict[str, int] = {}
    waiting = list(commands[0])
    while waiting:
        command = waiting.pop(0)
        if command in tried:
            continue
        tried[command], said = first.run(["bash", "-c", command])
        if "evidence show" in command:
            waiting += printed(said, first.program)
    refused = {command: code for command, code in tried.items() if code not in (0, 1, 3)}
    assert {} == refused
    kinds = {shlex.split(command)[len(first.words)] for command in tried}
    assert {"show", "repro", "evidence", "check", "rules", "run"} == kinds
    for way, said_by_it in zip(others, commands[1:], strict=True):
        code, said = way.run(["bash", "-c", said_by_it[0]])
        assert code in (0, 1, 3), said
        assert _without_names(said_by_it, way) == _without_names(commands[0], first)


def _without_names(commands: list[str], way: Started) -> list[str]:
    """Return the commands without the program's name, and runs without their times, which differ in every run."""
    rest = [command.removeprefix(way.program).replace(str(way.place), "PLACE") for command in commands]
    return [re.sub(r"[0-9]{8}-[0-9]{6}-([a-z-]+)-[0-9a-f]{4}", r"\1", command) for command in rest]
