# SPDX-License-Identifier: MIT
"""One step of the set-up: its output, its deadline, its last words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import InfrastructureError, MissingPart
from harness.setup.step import run, run_watched

FINISHER = """
import os, sys
from pathlib import Path
from harness.deadline import Deadline
from harness.setup.step import run

os.mkfifo("answer")
command = ["sh", "-c", "echo started > started; read line < answer; echo done > finished"]
os.mkfifo("started")
try:
    run(command, Path("log"), Deadline(30, "the step"), environment=os.environ, finish=True)
except KeyboardInterrupt:
    print("interrupted after", Path("finished").read_text().strip())
"""


def test_a_step_returns_its_own_output_and_adds_it_to_the_log(tmp_path: Path) -> None:
    """Two steps share a log; each gets only what it printed itself."""
    log = tmp_path / "log"
    deadline = Deadline(20, "the test")
    run(["echo", "one"], log, deadline, environment=os.environ)
    ended = run(["sh", "-c", "echo two >&2; exit 3"], log, deadline, environment=os.environ)
    assert (3, "two\n", "") == ended
    assert log.read_text() == "$ echo one\none\n$ sh -c 'echo two >&2; exit 3'\ntwo\n"


def test_a_step_that_does_not_end_is_ended(tmp_path: Path) -> None:
    """At the deadline the message names the step, the program, the time and the log."""
    with pytest.raises(InfrastructureError, match=r"waiting: 'sleep' did not end within 0\.2 s") as caught:
        run(["sleep", "60"], tmp_path / "log", Deadline(0.2, "waiting"), environment=os.environ)
    assert str(tmp_path / "log") in caught.value.hint


def test_a_step_that_is_watched_shows_what_it_has_printed(tmp_path: Path) -> None:
    """Nothing of an earlier step is among it, and the result is that of a step that is not watched."""
    seen: list[str] = []
    os.mkfifo(tmp_path / "go")
    (tmp_path / "log").write_text("earlier\n")

    def watch(text: str) -> None:
        seen.append(text)
        if text == "one\n" and len(seen) < 100:
            seen.extend([""] * 100)
            (tmp_path / "go").write_text("go\n")

    command = ["sh", "-c", f"echo one; read line < {tmp_path}/go; echo two >&2; exit 3"]
    ended = run_watched(command, tmp_path / "log", Deadline(30, "the test"), watch, environment=os.environ)
    assert (3, "one\ntwo\n", "") == ended
    assert {"", "one\n"} <= set(seen) <= {"", "one\n", "one\ntwo\n"}


def test_a_watched_step_that_does_not_end_is_ended(tmp_path: Path) -> None:
    """At the deadline the message is that of any other step."""
    with pytest.raises(InfrastructureError, match=r"waiting: 'sleep' did not end within 0\.2 s") as caught:
        run_watched(
            ["sleep", "60"],
            tmp_path / "log",
            Deadline(0.2, "waiting"),
            lambda _: None,
            environment=os.environ,
        )
    assert str(tmp_path / "log") in caught.value.hint


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It is a missing part, not a traceback."""
    with pytest.raises(MissingPart, match="the test needs 'no-such-program'"):
        run(["no-such-program"], tmp_path / "log", Deadline(5, "the test"), environment=os.environ)


def test_ctrl_c_lets_a_package_manager_finish(tmp_path: Path) -> None:
    """The signal goes to the whole terminal group; the step is spared, ends well, and only then is it raised."""
    process = subprocess.Popen(
        [sys.executable, "-c", FINISHER], cwd=tmp_path, stdout=subprocess.PIPE, text=True, process_group=0
    )
    started, answer = tmp_path / "started", tmp_path / "answer"
    Deadline(20, "the step's start").poll(started.exists)
    started.read_text()  # returns once the step writes: it runs now
    os.killpg(process.pid, signal.SIGINT)
    with answer.open("w") as file:
        file.write("go on\n")
    assert process.communicate(timeout=20)[0] == "interrupted after done\n"
