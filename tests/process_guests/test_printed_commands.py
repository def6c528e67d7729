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


@pytest.fixture(params=["python -m harness", "harness", "./lab harness"])
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Started:
    """The harness of this clone, started in each of the ways."""
    place = tmp_path / "place"
    (place / "bin").mkdir(parents=True)
    (place / "stuck.toml").write_text(HANG)
    entry = place / "bin" / "harness"
    entry.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:1] = [{str(ROOT)!r}]\n"
        "from harness.cli.main import main\nsys.exit(main())\n"
    )
    entry.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != STARTED_AS}
    if request.param == "harness":
        environment["PATH"] = f"{entry.parent}:{environment['PATH']}"
        return Started(place, ["harness"], "harness", environment)
    if request.param == "./lab harness":
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


def test_printed_commands_can_be_typed(started: Started) -> None:
    """Each is known to the harness and finds what it names; the words that it begins with are those that were typed."""
    commands: dict[str, None] = {}
    for words in STARTED:
        _, said = started.run([*started.words, *words])
        commands |= dict.fromkeys(printed(said, started.program))
    tried: dict[str, int] = {}
    waiting = list(commands)
    while waiting:
        command = waiting.pop(0)
        if command in tried:
            continue
        tried[command], said = started.run(["bash", "-c", command])
        if "evidence show" in command:
            waiting += printed(said, started.program)
    refused = {command: code for command, code in tried.items() if code not in (0, 1, 3)}
    assert {} == refused
    kinds = {shlex.split(command)[len(started.words)] for command in tried}
    assert {"show", "repro", "evidence", "check", "rules", "run"} == kinds
