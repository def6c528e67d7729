# SPDX-License-Identifier: MIT
"""The lock on a file: one at a time, said to whoever waits, and gone with the process that holds it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import InfrastructureError, UsageError
from harness.host.file_lock import locked, locked_or_refused

HOLDER = """
import sys, signal
from pathlib import Path
from harness.deadline import Deadline
from harness.host.file_lock import locked

with locked(Path(sys.argv[1]), "counting sheep", Deadline(60, "lock"), print):
    print("holds", flush=True)
    signal.pause()
"""


def test_whoever_waits_says_so_and_gives_up_at_its_deadline(tmp_path: Path) -> None:
    """The one that waits is told once what the other does, and in the end who holds what."""
    lock = tmp_path / "lock"
    said: list[str] = []
    with (
        locked(lock, "counting sheep", Deadline(60, "test"), said.append),
        pytest.raises(InfrastructureError, match="another run has been counting sheep"),
        locked(lock, "counting sheep", Deadline(0.2, "test"), said.append),
    ):
        pass
    assert ["another run is counting sheep; waiting for it"] == said


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    """A holder that was killed holds nothing."""
    lock = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert b"holds\n" == holder.stdout.readline()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    entered = False
    with locked(lock, "counting sheep", Deadline(60, "test"), pytest.fail):
        entered = True
    assert entered


def test_a_lock_that_is_held_refuses_at_once(tmp_path: Path) -> None:
    """A second user is told so, without a descriptor left open; when the first ends, the lock is free."""
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    locked_or_refused(first, "", hint="")
    with pytest.raises(UsageError, match="another one counts sheep") as caught:
        locked_or_refused(second, "another one counts sheep", hint="Wait.")
    assert "Wait." == caught.value.hint
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(second)
    os.close(first)
    third = os.open(tmp_path, os.O_RDONLY)
    locked_or_refused(third, "another one counts sheep", hint="Wait.")
    os.close(third)
