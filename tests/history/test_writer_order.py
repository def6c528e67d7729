# SPDX-License-Identifier: MIT
"""Listeners of a history: every one hears every record once, in the order in which the records are in the file."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.history.reader import History
from harness.history.record import FORMAT, End, Header, Record, Stage
from harness.history.writer import HistoryWriter

HEADER = Header(format=FORMAT, harness="0", run="r", guest="twin", wall="2026-01-01T00:00:00Z")

PATIENCE = 20.0
"""Seconds after which a thread that should have ended is deadlocked."""


class Answering:
    """A listener that notes what it hears, and answers some generations of notes with notes of the next one."""

    def __init__(self, writer: HistoryWriter, answers: dict[int, int]) -> None:
        self.heard: list[int] = []
        self._writer = writer
        self._answers = answers

    def __call__(self, record: Record) -> None:
        """Note the record's number and write the answers."""
        self.heard.append(record.n)
        if isinstance(record, Stage):
            generation = int(record.name)
            for _ in range(self._answers.get(generation, 0)):
                self._writer.write(Stage(name=str(generation + 1), phase="note"))


@given(
    listeners=st.lists(
        st.dictionaries(st.integers(0, 2), st.integers(1, 2), max_size=3), min_size=1, max_size=4
    ),
    writers=st.lists(st.integers(1, 4), min_size=1, max_size=4),
)
def test_every_listener_hears_the_file(
    tmp_path_factory: pytest.TempPathFactory, listeners: list[dict[int, int]], writers: list[int]
) -> None:
    """With listeners that write and several writers, all hear 1 to n in order, and a record before its write returns."""
    path = tmp_path_factory.mktemp("order") / "history.jsonl"
    missed: list[int] = []
    barrier = threading.Barrier(len(writers))
    with HistoryWriter(path) as writer:
        answering = [Answering(writer, answers) for answers in listeners]
        for listener in answering:
            writer.subscribe(listener)
        writer.write(HEADER)

        def write(count: int) -> None:
            barrier.wait(PATIENCE)
            for _ in range(count):
                n = writer.write(Stage(name="0", phase="note")).n
                missed.extend(n for listener in answering if n not in listener.heard)

        threads = [threading.Thread(target=write, args=(count,), daemon=True) for count in writers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert [] == [thread for thread in threads if thread.is_alive()]
    numbers = [record.n for record in History(path)]
    assert [list(range(1, len(numbers) + 1))] * (1 + len(listeners)) == [
        numbers,
        *[one.heard for one in answering],
    ]
    assert [] == missed


def test_an_answer_is_right_behind_its_cause(tmp_path: Path) -> None:
    """Another thread that writes while a listener runs gets a number behind what the listener writes."""
    waiting = threading.Event()
    with HistoryWriter(tmp_path / "history.jsonl") as writer:

        def other() -> None:
            waiting.set()
            writer.write(Stage(name="other", phase="note"))

        thread = threading.Thread(target=other, daemon=True)

        def answer(record: Record) -> None:
            if isinstance(record, Header):
                thread.start()
                waiting.wait(PATIENCE)
                writer.write(Stage(name="answer", phase="note"))

        writer.subscribe(answer)
        writer.write(HEADER)
        thread.join(PATIENCE)
    assert ["", "answer", "other"] == [getattr(record, "name", "") for record in History(tmp_path)]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_a_listener_that_raises_takes_nothing_from_others(tmp_path: Path, kind: type[BaseException]) -> None:
    """Its error reaches the writer after all listeners heard the record and its answers; the history goes on."""
    heard: list[int] = []
    with HistoryWriter(tmp_path / "history.jsonl") as writer:

        def fail(record: Record) -> None:
            if isinstance(record, Header):
                writer.write(Stage(name="answer", phase="note"))
                raise kind("no")

        writer.subscribe(fail)
        writer.subscribe(lambda record: heard.append(record.n))
        with pytest.raises(kind, match="no"):
            writer.write(HEADER)
        before = list(heard)
        writer.write(End(outcome="failed"))
    assert ([1, 2], [1, 2, 3]) == (before, heard)


def test_an_interruption_is_raised_before_other_errors(tmp_path: Path) -> None:
    """Ctrl-C in one listener is not lost behind the error of another."""

    def fail(_: Record) -> None:
        raise ValueError

    def interrupted(_: Record) -> None:
        raise KeyboardInterrupt

    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        writer.subscribe(fail)
        writer.subscribe(interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.write(HEADER)


def test_a_listener_hears_what_is_written_after_it_subscribed(tmp_path: Path) -> None:
    """One that subscribes while a record is delivered hears the answer to it, not the record."""
    heard: list[int] = []
    with HistoryWriter(tmp_path / "history.jsonl") as writer:

        def answer(record: Record) -> None:
            if isinstance(record, Header):
                writer.write(Stage(name="before", phase="note"))
                writer.subscribe(lambda record: heard.append(record.n))
                writer.write(Stage(name="after", phase="note"))

        writer.subscribe(answer)
        writer.write(HEADER)
    assert [3] == heard
