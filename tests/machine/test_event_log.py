# SPDX-License-Identifier: MIT
"""The event log: events reach the history before those who wait, in one order, and nothing is called back under its lock."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.history.reader import History
from harness.history.record import FORMAT, Header, Qmp, Record
from harness.history.writer import HistoryWriter
from harness.machine import event_log
from harness.machine.event_log import EventLog

PATIENCE = 20.0
"""Seconds after which a thread that should have ended is deadlocked."""

HEADER = Header(format=FORMAT, harness="0", run="r", guest="twin", wall="2026-01-01T00:00:00Z")


def event(name: str) -> dict[str, object]:
    """A message that tells of an event."""
    data = {"guest": False} if name == "RESET" else {}
    return {"event": name, "data": data, "timestamp": {"seconds": 1, "microseconds": 2}}


def test_events_of_several_threads_have_one_order(tmp_path: Path) -> None:
    """Four threads bring events at once: those who wait get them in the order of the history, numbered upwards."""
    barrier = threading.Barrier(4)
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        writer.write(HEADER)
        log = EventLog(writer, lambda _: None)

        def bring(connection: int) -> None:
            barrier.wait(PATIENCE)
            for number in range(50):
                log.passed("in", event(f"E{connection}.{number}"), connection)

        threads = [threading.Thread(target=bring, args=(number,), daemon=True) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        taped = [record.message["event"] for record in History(tmp_path) if isinstance(record, Qmp)]
        found = [log.wait_event(name, Deadline(1, "test"), after=0, match={}).serial for name in taped]
    assert list(range(1, 201)) == found


def test_an_event_is_in_the_history_before_it_is_waited_for(tmp_path: Path) -> None:
    """While a listener still hears of an event, nobody has been given it; the lock of the log is free meanwhile."""
    early: list[int] = []
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        log = EventLog(writer, lambda _: None)

        def listen(_: Record) -> None:
            asking = threading.Thread(target=lambda: early.append(len(log.events("RESET"))), daemon=True)
            asking.start()
            asking.join(PATIENCE)

        writer.subscribe(listen)
        log.passed("in", event("RESET"), 1)
        assert ([0], 1) == (early, len(log.events("RESET")))


def test_a_wait_misses_nothing_that_comes_while_it_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that another thread brings during the check ends the wait at once, not after its nap."""
    monkeypatch.setattr(event_log, "LONGEST_NAP", 10 * PATIENCE)
    found: list[str] = []
    with HistoryWriter(tmp_path / "history.jsonl") as writer:

        def check(_: str) -> None:
            bringing = threading.Thread(target=log.passed, args=("in", event("RESET"), 1), daemon=True)
            bringing.start()
            bringing.join(PATIENCE)

        log = EventLog(writer, check)
        waiting = threading.Thread(
            target=lambda: found.append(
                log.wait_event("RESET", Deadline(10 * PATIENCE, "test"), after=0, match={}).name
            ),
            daemon=True,
        )
        waiting.start()
        waiting.join(3 * PATIENCE)
        assert ["RESET"] == found


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            {"event": "RESET", "data": {}, "timestamp": {"seconds": 1, "microseconds": 2}},
            "the event RESET is not what QEMU's schema promises: Object missing required field `guest`",
        ),
        (
            {"event": "STOP", "data": {}},
            "an event ('STOP') is not what QEMU's schema promises: Object missing required field `timestamp`",
        ),
        (
            {
                "event": "ACPI_DEVICE_OST",
                "data": {"info": {"device": "cpu-1", "slot": "1", "slot-type": "CPU", "source": 1}},
                "timestamp": {"seconds": 1, "microseconds": 2},
            },
            (
                "the event ACPI_DEVICE_OST is not what QEMU's schema promises: "
                "Object missing required field `status` - at `$.info`"
            ),
        ),
        (
            {
                "event": "DEVICE_DELETED",
                "data": {"device": "\ud800", "path": ""},
                "timestamp": {"seconds": 1, "microseconds": 2},
            },
            (
                "a message from or to QEMU is not Unicode text: 'utf-8' codec can't encode character '\\ud800' in position "
                "0: surrogates not allowed"
            ),
        ),
    ],
)
def test_what_breaks_the_schema_is_the_infrastructures(
    tmp_path: Path, message: dict[str, object], words: str
) -> None:
    """An event without what QEMU's schema promises, or with a name that no file can hold, ends the wait in plain words."""
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        writer.write(HEADER)
        log = EventLog(writer, lambda _: None)
        log.passed("in", message, 1)
        with pytest.raises(InfrastructureError) as caught:
            log.wait_event("RESET", Deadline(PATIENCE, "test"), after=0, match={})
    assert caught.value.message == words
