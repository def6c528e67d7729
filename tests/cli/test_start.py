# SPDX-License-Identifier: MIT
"""The command while it is loaded: Ctrl-C ends it without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.interrupts import ENDING

BLOCKED = """
import os, sys
open("loading", "w").close()
sys.stdin.read()
"""
"""A module in place of typer: whoever imports it says so and waits."""

ENDS = """
import atexit, sys
from harness.__main__ import main

def end():
    print("ends", flush=True)
    sys.stdin.read()
    print("ended", flush=True)

atexit.register(end)
sys.exit(main())
"""
"""The command, with something to do at its end that takes until standard input ends."""


@pytest.mark.parametrize("words", [["-m", "harness"], ["-c", "from harness.__main__ import main; main()"]])
def test_ctrl_c_while_it_is_loaded(tmp_path: Path, words: list[str]) -> None:
    """SIGINT, as a terminal sends it: the process ends by it, and says nothing."""
    (tmp_path / "typer.py").write_text(BLOCKED)
    os.mkfifo(tmp_path / "loading")
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, *words, "rules"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{root}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with (tmp_path / "loading").open():
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_when_its_work_is_done(number: signal.Signals) -> None:
    """What is to be done at the end is done, and the exit code stays."""
    process = subprocess.Popen(
        [sys.executable, "-c", ENDS, "completion", "bash"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while process.stdout.readline() != "ends\n":
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "ended\n", "")
