# SPDX-License-Identifier: MIT
"""A run on a terminal that its user stopped and left."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest
from twin.running import CHECKED, qemu_processes

from harness.deadline import Deadline
from harness.history.reader import History
from harness.history.record import End
from harness.host.lease import Leases

pytestmark = pytest.mark.qemu


def lease_holders() -> set[int]:
    """Return the processes that hold a lease, or wait for one."""
    return {one.claim.pid for one in Leases().held()}


def test_a_stopped_terminal_holds_up_neither_run_nor_guest(tmp_path: Path) -> None:
    """With all output stopped the run goes to its end and its guest is ended; the result waits for the terminal."""
    master, slave = os.openpty()
    termios.tcflow(slave, termios.TCOOFF)
    words = ["run", "cpu-and-dimm", "--restore", "--accel", "tcg", "--runs", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, CHECKED, *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm"},
    )
    said = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # a pseudo-terminal that nobody has open any more
            while True:
                said.extend(os.read(master, 1 << 16))

    leased: set[int] = set()

    def judged() -> bool:
        leased.update(lease_holders())
        return any(tmp_path.glob("*/verdict.json"))

    reader = threading.Thread(target=read, daemon=True)
    try:
        Deadline(120, "the verdict").poll(judged, interval=0.1)
        # The verdict is given when all has been ended; what is left is to print it.
        assert ([], None) == (qemu_processes(tmp_path), process.poll())
        assert (True, False) == (process.pid in leased, process.pid in lease_holders())
        (history,) = {file.resolve() for file in tmp_path.glob("*/history.jsonl")}
        assert [True] == [
            record.outcome == "completed" for record in History(history) if isinstance(record, End)
        ]
        termios.tcflow(slave, termios.TCOON)
        reader.start()
        assert 0 == process.wait(60)
        os.close(slave)
        reader.join(10)
        assert b"HOLDS" in said
    finally:
        process.kill()
        process.wait()
        os.close(master)
