# SPDX-License-Identifier: MIT
"""A run that goes on is told from one that was killed by the lock on its history."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.contract.checker import judge_history
from harness.history.reader import History

WRITER = """
import sys
from pathlib import Path
from harness.history.record import FORMAT, Header, Stage
from harness.history.writer import HistoryWriter
writer = HistoryWriter(Path(sys.argv[1]))
writer.write(Header(format=FORMAT, harness="0", run="r", guest="host", wall="2026-01-01T00:00:00Z"))
writer.write(Stage(name="boot", phase="begin"))
print("written", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes a history and waits."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "history.jsonl")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        yield process
        process.kill()


def reasons(path: Path) -> list[str]:
    """Return the reasons of the rules that judge the end of a run."""
    return [reason for reason in judge_history(History(path)).reasons if reason.startswith("RUN-COMPLETE: ")]


def test_a_run_that_goes_on(writing: subprocess.Popen[str], tmp_path: Path) -> None:
    """It is unknown because it has not ended, for every reader at once; killed, because it has no end."""
    first, second = History(tmp_path), History(tmp_path)
    assert (first.growing, second.growing) == (True, True)
    assert reasons(tmp_path) == ["RUN-COMPLETE: the run has not ended"]
    writing.kill()
    writing.wait(timeout=60)
    assert not first.growing
    assert reasons(tmp_path) == [
        "RUN-COMPLETE: the history has no end: the run was killed, or the file was cut"
    ]


def test_a_run_that_was_closed(writing: subprocess.Popen[str], tmp_path: Path) -> None:
    """A process that ends by itself holds nothing either."""
    writing.communicate("", timeout=60)
    assert not History(tmp_path).growing
