# SPDX-License-Identifier: MIT
"""The timeline tells a run in order, on one line per thing, and survives any record."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.records import ANY_RECORD, Run, hot_add

from harness.history import driver as d
from harness.history import record as r
from harness.history.reader import History
from harness.history.writer import HistoryWriter
from harness.report.escape import printable
from harness.report.sentence import LANES, lane, sentence
from harness.report.style import Style
from harness.report.timeline import HEADING, timeline


def test_a_hot_add_reads_as_one_story() -> None:
    """Host, QEMU, firmware, driver and guest stand in recorded order; queries and doubled acceptance are left out."""
    expected = [
        "    -99.0 guest    boot 1 (power-on)",
        "    -90.0 driver   hpnotify 0.1.0 loaded, 2 active, IRQL 0, CPU 0, at most 6, QPC at 10000000 Hz",
        "    -89.0 driver   KeRegisterProcessorChangeCallback entered, returned a handle, took 1.00 ms",
        "      0.0 host     add cpu-1: processor into slot 2 as hp-cpu-1, expected added",
        "      0.2 host     device_add id=hp-cpu-1",
        "      2.0 QEMU     device_add: ok",
        "     40.0 firmware _OST CPU slot 2 (hp-cpu-1): device check, success",
        "     45.0 driver   Start NtNumber=2 (group 0, number 2), 2 active, IRQL 0, CPU 0, took 0.50 ms",
        "     80.0 driver   Complete NtNumber=2 (group 0, number 2), 3 active, IRQL 0, CPU 0, took 0.25 ms",
        "    100.0 guest    counts 3 processors, 512 MiB of memory (settled)",
        "    101.0 host     cpu-1: agreed on added: QEMU lists it, _OST (device check, success), guest count 2 -> 3",
        "    110.0 host     run completed",
    ]
    assert expected == list(timeline(hot_add().records))


def test_a_veto_and_its_failure_are_told_with_their_status() -> None:
    """The refusing Start and the Failure that follows name the status in words."""
    run = Run()
    run.sync(0, d.START, 2, active=2, op=0xC000009A)
    run.sync(5, d.FAILURE, 2, active=2)
    lines = list(timeline(run.records))
    assert [True, True] == [
        "Start NtNumber=2" in lines[0] and "vetoed with STATUS_INSUFFICIENT_RESOURCES" in lines[0],
        "Failure NtNumber=2" in lines[1] and "because of STATUS_INSUFFICIENT_RESOURCES" in lines[1],
    ]


def test_a_return_that_is_not_adjacent_keeps_its_own_line() -> None:
    """Something shown between entry and return is not hidden inside the callback's line."""
    run = Run()
    run.sync(0, d.START, 2, active=2, took=10)
    run.add(5, r.Console(text="BUG: soft lockup", severity="crash"))
    entry, leave, console = run.records
    lines = list(timeline([entry, console, leave]))
    assert ["Start NtNumber=2 (", "console crash: BUG", "Start NtNumber=2 returns"] == [
        line[19 : 19 + length] for line, length in zip(lines, (18, 18, 24), strict=True)
    ]


def test_a_copy_from_a_second_channel_is_shown_once() -> None:
    """The same driver record from ETW does not appear as a second event."""
    run = hot_add()
    copies = [
        msgspec.structs.replace(record, channel="etw")
        for record in run.records
        if isinstance(record, d.DriverRecord)
    ]
    assert list(timeline(run.records)) == list(timeline([*run.records, *copies]))


def test_everything_means_one_line_per_record() -> None:
    """With everything asked for, nothing is left out and nothing is joined."""
    records = hot_add().records
    assert len(records) == len(list(timeline(records, everything=True)))


def test_without_an_add_the_first_record_is_zero() -> None:
    """A history that never got to an add still has times from its start."""
    run = Run()
    run.add(7, r.GuestEvent(event="ready"))
    run.add(9, r.End(outcome="interrupted"))
    assert ["0.0", "2.0"] == [line.split()[0] for line in timeline(run.records)]


def test_a_recorded_history_can_be_told_twice(tmp_path: Path) -> None:
    """A history read from its file gives the same lines each time."""
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        for record in hot_add().records:
            writer.write(record, host_ns=record.host_ns)
    history = History(tmp_path)
    assert list(timeline(hot_add().records)) == list(timeline(history)) == list(timeline(history))


@given(st.lists(ANY_RECORD, max_size=8))
def test_any_records_give_one_harmless_line_each(records: list[r.Record]) -> None:
    """Whatever a history holds, each record gives one bounded line without a control character."""
    lines = list(timeline(records, everything=True))
    assert len(records) == len(lines)
    assert all(line.isprintable() and len(line) < 500 for line in lines)


@given(st.lists(ANY_RECORD, max_size=8))
def test_the_selection_never_fails_and_never_grows(records: list[r.Record]) -> None:
    """The default timeline of any records has at most one harmless line each."""
    lines = list(timeline(records))
    assert len(lines) <= len(records)
    assert all(line.isprintable() for line in lines)


@given(ANY_RECORD)
def test_every_record_has_a_lane_and_a_sentence(record: r.Record) -> None:
    """No type of record falls out of the report."""
    assert lane(record) in LANES
    assert sentence(record) != type(record).__name__


def test_the_heading_stands_over_its_columns() -> None:
    """The words of the heading begin where the columns of a line begin."""
    line = list(timeline(hot_add().records))[1]
    assert [line.index("driver"), line.index("hpnotify")] == [HEADING.index("who"), HEADING.index("what")]


def test_on_a_narrow_terminal_a_line_goes_on_below_its_own_words() -> None:
    """With a width of 60 each line fits, and joined again it is the line of the wide timeline."""
    folded = list(timeline(hot_add().records, style=Style(colour=False, width=60)))
    column = HEADING.index("what")
    joined: list[str] = []
    for line in folded:
        if line.startswith(" " * column):
            joined[-1] += line[column - 1 :]
        else:
            joined.append(line)
    assert max(map(len, folded)) <= 60
    assert list(timeline(hot_add().records)) == joined


@pytest.mark.parametrize("text", ["\x1b[31m\x1b]0;title\x07\r\n\u202e\x9b2J" * 9, "n" * 400, "中" * 30])
def test_hostile_text_keeps_its_column(text: str) -> None:
    """What a guest prints is escaped, and goes on below itself, on 80 columns."""
    run = Run()
    run.add(1, r.Console(text=text, severity="warning"))
    lines = list(timeline(run.records, style=Style(colour=False, width=80)))
    assert [line for line in lines if len(line) > 80 or printable(line, 1000) != line] == []
    assert {line[:19].strip() for line in lines[1:]} <= {""}
