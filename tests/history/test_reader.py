# SPDX-License-Identifier: MIT
"""A history is decoded once, however often it is read, also while it is being written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from decodes import counted_decodes

from harness.history import reader
from harness.history.reader import History
from harness.history.record import FORMAT, End, Header, Record, Stage
from harness.history.writer import HistoryWriter

HEADER = Header(format=FORMAT, harness="0", run="r", guest="twin", wall="")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[HistoryWriter]:
    """A history that has its header."""
    with HistoryWriter(tmp_path) as made:
        made.write(HEADER)
        yield made


def stages(count: int) -> list[Record]:
    """Some records."""
    return [Stage(name=f"stage {n}", phase="note") for n in range(count)]


def write(writer: HistoryWriter, records: list[Record]) -> list[Record]:
    """Write records; return them as written."""
    return [writer.write(record) for record in records]


def test_each_record_is_decoded_once(writer: HistoryWriter) -> None:
    """Reading again decodes nothing."""
    write(writer, stages(9))
    history = History(writer.path)
    with counted_decodes() as decodes:
        read = [list(history) for _ in range(3)]
    assert ([10, 10, 10], 10) == ([len(records) for records in read], len(decodes))
    assert read[0] == read[1] == read[2]


def test_a_history_that_grows_is_read_on(writer: HistoryWriter) -> None:
    """What was written since the last time is decoded, and only that."""
    history = History(writer.path)
    with counted_decodes() as decodes:
        for count in (1, 5, 9):
            assert count == len(list(history))
            write(writer, stages(4))
    assert 9 == len(decodes)


def test_a_line_that_is_being_written_is_damage_until_it_is_whole(writer: HistoryWriter) -> None:
    """Half a line ends the history there; once its rest has come, reading goes on behind what was decoded."""
    (last,) = write(writer, [End(outcome="completed")])
    data = writer.path.read_bytes()
    history = History(writer.path)
    os.truncate(writer.path, len(data) - 5)
    assert (1, "line 2 is cut off: the run was killed while writing it") == (
        len(list(history)),
        history.damage,
    )
    writer.path.write_bytes(data)
    assert ([last], "") == (list(history)[1:], history.damage)


def test_damage_stays(writer: HistoryWriter) -> None:
    """A line that is no record is said to be one each time."""
    write(writer, stages(1))
    with writer.path.open("ab") as file:
        file.write(b"{}\n")
    history = History(writer.path)
    said = [(len(list(history)), history.damage.split(":")[0]) for _ in range(2)]
    assert [(2, "line 3")] * 2 == said


def test_large_histories_are_not_kept(writer: HistoryWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the limit on, records are decoded each time; those that were kept before are not."""
    history = History(writer.path)
    written = [*history, *write(writer, stages(9))]
    monkeypatch.setattr(reader, "LARGEST_KEPT", 100)
    with counted_decodes() as decodes:
        assert [written, written] == [list(history), list(history)]
    assert 18 == len(decodes)


def test_two_readers_of_one_history_do_not_disturb_each_other(writer: HistoryWriter) -> None:
    """An iteration that rests while another one reads on yields each record once."""
    written = [HEADER.run, *(stage.name for stage in write(writer, stages(4)))]  # type: ignore[attr-defined]
    history = History(writer.path)
    first = iter(history)
    names = [next(first).run]  # type: ignore[attr-defined]
    write(writer, stages(2))
    assert 7 == len(list(history))
    assert written == [*names, *(stage.name for stage in first)]  # type: ignore[attr-defined]
