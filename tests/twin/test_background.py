# SPDX-License-Identifier: MIT
"""A run in the background of a script, where Ctrl-C is ignored, still ends on SIGTERM."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from twin.running import qemu_processes

from harness.deadline import Deadline
from harness.errors import ExitCode
from harness.history.reader import History
from harness.history.record import End

pytestmark = pytest.mark.qemu


def test_terminated_where_interrupts_are_ignored(tmp_path: Path) -> None:
    """SIGINT does nothing; SIGTERM ends the run with 143, a closed history and no process."""
    command = [sys.executable, "-m", "harness", "demo", "--accel", "tcg", "--runs", str(tmp_path)]
    # The shell's own way to start a job that Ctrl-C does not concern.
    script = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    with subprocess.Popen(script, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        Deadline(60, "QEMU").poll(lambda: bool(qemu_processes(tmp_path)))
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert ExitCode.TERMINATED == process.wait(60)
    assert [] == qemu_processes(tmp_path)
    (directory,) = [path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()]
    last = list(History(directory))[-1]
    assert isinstance(last, End)
    assert "interrupted" == last.outcome
