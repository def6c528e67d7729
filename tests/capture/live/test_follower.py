# SPDX-License-Identifier: MIT
"""The follower: appended bytes arrive, in order, without polling."""

from __future__ import annotations

import os
import signal
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
