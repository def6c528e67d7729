# SPDX-License-Identifier: MIT
"""The follower: appended bytes arrive, in order, without polling."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.capture.live.follower import Follower
from harness.interrupts import interruptible


def test_appended_bytes_arrive_in_order(tmp_path: Path) -> None:
    """What another writer appends reaches the sink on the kernel's notice, whole and in order."""
    file = tmp_path / "log"
    file.write_bytes(b"before ")
    got = bytearray()
    enough = threading.Event()

    def sink(data: bytes) -> None:
        got.extend(data)
        if b"end" in got:
            enough.set()

    follower = Follower()
    follower.add(file, sink)
    follower.start()
    with file.open("ab", buffering=0) as writer:
        for number in range(300):
            writer.write(b"%d " % number)
        writer.write(b"end")
    assert enough.wait(10)
    follower.close()
    assert bytes(got) == b"before " + b"".join(b"%d " % n for n in range(300)) + b"end"


def test_drain_leaves_nothing_behind(tmp_path: Path) -> None:
    """After drain everything written before it was handed on, with or without the thread."""
    file = tmp_path / "log"
    file.touch()
    got = bytearray()
    follower = Follower()
    follower.add(file, got.extend)
    with file.open("ab", buffering=0) as writer:
        writer.write(b"x" * 200_000)
    follower.drain()
    assert len(got) == 200_000
    follower.close()
    follower.close()


def test_failing_sink_is_told_to_whoever_drains(tmp_path: Path) -> None:
    """An exception of a sink stops the following and is raised again by drain."""
    file = tmp_path / "log"
    file.write_bytes(b"x")

    def sink(data: bytes) -> None:
        raise RuntimeError("no room")

    follower = Follower()
    follower.add(file, sink)
    follower.start()
    follower._thread.join(10)
    with pytest.raises(RuntimeError, match="no room"):
        follower.drain()
    with pytest.raises(RuntimeError, match="no room"):
        follower.close()


def test_close_lets_go_of_its_descriptors(tmp_path: Path) -> None:
    """A closed follower keeps no file open."""
    file = tmp_path / "log"
    file.touch()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    follower = Follower()
    follower.add(file, lambda data: None)
    follower.start()
    follower.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


NO_INSTANCE = """
import resource
from harness.capture.live.follower import Follower
from harness.errors import InfrastructureError
first = Follower()
try:
    Follower()
except InfrastructureError as error:
    print(error.message, error.hint, sep="|")
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    Follower()
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.root
def test_a_user_without_an_inotify_instance() -> None:
    """It is told from a process without a descriptor: both have the same error number (inotify_init1(2))."""
    limit = 'echo 1 > /proc/sys/user/max_inotify_instances && exec "$@"'
    command = ["unshare", "--map-root-user", "sh", "-c", limit, "sh", sys.executable, "-c", NO_INSTANCE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [
        (
            "this user has no inotify instance left, of which each guest needs one|Run fewer guests at once, or allow more, "
            "for instance: sudo sysctl fs.inotify.max_user_instances=1024"
        ),
        "Too many open files",
    ], done.stderr


def test_interrupted_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal takes effect once the thread is known, so that it is ended before its descriptors are closed."""
    follower = Follower()
    start = follower._thread.start

    def struck() -> None:
        signal.raise_signal(signal.SIGINT)
        start()

    monkeypatch.setattr(follower._thread, "start", struck)
    with interruptible(), pytest.raises(KeyboardInterrupt):
        follower.start()
    assert follower._thread.is_alive()
    follower.close()
    assert (follower._thread.is_alive(), follower.error) == (False, None)
