# SPDX-License-Identifier: MIT
"""The watch waits without a lock: whoever it asks may wait for the thread that brings it records."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.history.record import Record
from harness.history.writer import HistoryWriter
from harness.machine.event_log import EventLog
from harness.run.watch import Watch

SHUTDOWN = {"event": "SHUTDOWN", "data": {}, "timestamp": {"seconds": 1, "microseconds": 2}}

PATIENCE = 10.0
"""Seconds after which a thread that should have ended is deadlocked."""


@pytest.mark.parametrize("asked", ["alive", "met"])
def test_a_wait_ends_while_an_event_arrives(tmp_path: Path, asked: str) -> None:
    """A wait that asks the event log ends although an event is on its way from there to the watch."""
    writer = HistoryWriter(tmp_path / "history.jsonl")
    log = EventLog(writer, lambda _: None)
    arriving, asking = threading.Event(), threading.Event()

    def arrive(_: Record) -> None:
        arriving.set()
        asking.wait(PATIENCE)

    def ask() -> bool:
        # As LibvirtMachine.check_alive does for a machine that is gone.
        arriving.wait(PATIENCE)
        asking.set()
        return bool(log.events("SHUTDOWN"))

    writer.subscribe(arrive)
    questions: dict[str, Callable[[], bool]] = {"alive": lambda: True, "met": lambda: True, asked: ask}

    def alive() -> None:
        questions["alive"]()

    watch = Watch(writer, alive=alive)
    answers: list[bool] = []
    threads = [
        threading.Thread(target=lambda: log.passed("in", SHUTDOWN, 1), daemon=True),
        threading.Thread(
            target=lambda: answers.append(watch.wait(questions["met"], Deadline(PATIENCE / 2, "test"))),
            daemon=True,
        ),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [False, False] == [thread.is_alive() for thread in threads]
    assert [True] == answers
    writer.close()
