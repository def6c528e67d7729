# SPDX-License-Identifier: MIT
"""A namespace takes its mounts and its processes with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from tests.fresh.namespace import run_apart

pytestmark = pytest.mark.root

MOUNTS = 'mount -t tmpfs none "$1" && touch "$1/inside"'
WAITS = 'sleep 600 & echo ready > "$2"; wait'
"""A shell that leaves a child: both must go."""


def sleepers(marker: str) -> list[int]:
    """Return the processes that were started with ``marker`` in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FRESH_TEST") == marker:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def apart(script: str, place: Path, seconds: float = 60) -> int:
    """Run a shell script in a namespace of its own."""
    words = ["sh", "-c", script, "sh", str(place), str(place.parent / "ready")]
    return run_apart(
        words, Deadline(seconds, "the test"), environment={**os.environ, "FRESH_TEST": str(place)}
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "place"
    path.mkdir()
    return path


def test_a_mount_is_seen_inside_only(place: Path) -> None:
    """And the exit status comes back."""
    assert 7 == apart(f'{MOUNTS} && test -e "$1/inside" && exit 7', place)
    assert [] == [each.name for each in place.iterdir()]


def test_what_takes_too_long_is_ended_with_its_children(place: Path) -> None:
    """The deadline's name says what it was."""
    with pytest.raises(InfrastructureError, match="the test: not finished within 3 s"):
        apart(f"{MOUNTS} && {WAITS}", place, seconds=3)
    assert (place.parent / "ready").exists()
    assert [] == sleepers(str(place))


PROGRAM = """
import os, sys
from harness.deadline import Deadline
from tests.fresh.namespace import run_apart
run_apart(["sh", "-c", sys.argv[1], "sh", *sys.argv[2:]], Deadline(60, "it"), environment=os.environ)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_whoever_is_killed_leaves_nothing(
    place: Path, number: signal.Signals, wait_until: Callable[[Callable[[], object]], None]
) -> None:
    """The kernel ends the namespace when the program that started it is gone."""
    ready = place.parent / "ready"
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, f"{MOUNTS} && {WAITS}", str(place), str(ready)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "FRESH_TEST": str(place)},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(ready.exists)
        assert 3 < len(sleepers(str(place)))
    finally:
        program.send_signal(number)
        program.wait()
    wait_until(lambda: not sleepers(str(place)))
    assert [] == [each.name for each in place.iterdir()]
