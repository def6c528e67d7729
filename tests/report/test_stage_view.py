# SPDX-License-Identifier: MIT
"""The stage view tells how a run goes, leaves whole lines behind, and never disturbs the run."""

import io
import os
import threading
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.history.record import GuestEvent, Stage
from harness.history.writer import HistoryWriter
from harness.report.stage_view import StageView
from harness.report.style import Style

PLAIN = Style(colour=False)


def stage(name: str, phase: str, ms: int = 0, detail: str = "") -> Stage:
    """A stage record at ``ms``."""
    return Stage(name=name, phase=phase, detail=detail, host_ns=10**12 + ms * 1_000_000)  # type: ignore[arg-type]


def screen(raw: str) -> list[str]:
    """Interpret the few codes the view may use, and return the lines that a terminal would show."""
    lines, row, column, place = [""], 0, 0, 0
    while place < len(raw):
        if raw.startswith("\x1b[J", place):
            lines = [*lines[:row], lines[row][:column]]
            place += 3
        elif raw.startswith("\x1b[", place):
            end = raw.index("A", place)
            row -= int(raw[place + 2 : end])
            place = end + 1
        elif raw[place] == "\r":
            column, place = 0, place + 1
        elif raw[place] == "\n":
            row, column, place = row + 1, 0, place + 1
            lines += [""] * (row + 1 - len(lines))
        else:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + raw[place] + line[column + 1 :]
            column, place = column + 1, place + 1
    return lines


def test_off_a_terminal_each_stage_is_one_plain_line() -> None:
    """A finished stage gives its time, a failed one its reason, a note its words."""
    stream = io.StringIO()
    with StageView(stream) as view:
        for record in (
            stage("accelerator", "begin"),
            stage("accelerator", "note", 5, "KVM gave no answer, TCG is used"),
            stage("accelerator", "end", 2900, "tcg"),
            GuestEvent(event="ready"),
            stage("boot", "begin", 3000),
            stage("boot", "fail", 63000, "not ready within 60 s"),
        ):
            view(record)
    expected = "  accelerator: KVM gave no answer, TCG is used\n✓ accelerator 2.9 s  tcg\n✗ boot 60.0 s  not ready within 60 s\n"
    assert expected == stream.getvalue()


def test_on_a_terminal_running_stages_collapse_when_they_end() -> None:
    """Nested stages are redrawn in place; at the end only their finished lines stand, and the cursor is below them."""
    stream = io.StringIO()
    with StageView(stream, terminal=True, style=PLAIN) as view:
        view(stage("operation", "begin", 0, "add-cpu"))
        view(stage("wait", "begin", 10))
        view(stage("wait", "end", 510))
        view.say("something else")
        view(stage("operation", "end", 1000))
    assert ["✓ wait 0.5 s", "something else", "✓ operation 1.0 s  add-cpu", ""] == screen(stream.getvalue())


def test_the_elapsed_time_of_a_running_stage_is_updated() -> None:
    """While a stage runs, its line is written again and again without a new record."""
    stream = io.StringIO()
    with StageView(stream, terminal=True, style=PLAIN) as view:
        view(stage("boot", "begin"))
        seen = Deadline(60, "the line is redrawn").poll(lambda: stream.getvalue().count("… boot") >= 3)
    assert seen


@pytest.mark.parametrize("terminal", [True, False])
def test_an_exception_leaves_no_half_line(terminal: bool) -> None:
    """Ctrl-C in a stage closes its line and says that it was interrupted."""
    stream = io.StringIO()

    def interrupted_run() -> None:
        with StageView(stream, terminal=terminal, style=PLAIN) as view:
            view(stage("boot", "begin"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_run()
    *lines, last = screen(stream.getvalue())
    assert [1, ""] == [len(lines), last]
    assert lines[0].startswith("✗ boot ")
    assert lines[0].endswith(" s  interrupted")


def test_closing_ends_the_view_for_good() -> None:
    """After close nothing is written and no thread is left."""
    stream = io.StringIO()
    view = StageView(stream, terminal=True, style=PLAIN)
    view(stage("boot", "begin"))
    view.close()
    view.close()
    text = stream.getvalue()
    view(stage("late", "begin"))
    assert [text, []] == [
        stream.getvalue(),
        [t.name for t in threading.enumerate() if t.name == "stage-view"],
    ]


def test_quiet_shows_nothing() -> None:
    """With --json the view is silent even about a failure."""
    stream = io.StringIO()
    with StageView(stream, quiet=True) as view:
        view(stage("boot", "begin"))
        view(stage("boot", "fail", 10, "why"))
    assert stream.getvalue() == ""


def test_a_reader_that_goes_away_does_not_end_the_run(tmp_path: Path) -> None:
    """Records still reach the history when the view's pipe has no reader."""
    reader, writing = os.pipe()
    os.close(reader)
    with open(writing, "w", buffering=1) as stream, HistoryWriter(tmp_path / "history.jsonl") as writer:  # noqa: PTH123
        with StageView(stream) as view:
            writer.subscribe(view)
            for phase in ("begin", "end"):
                writer.write(stage("boot", phase))
        count = writer.count
        # The view left nothing in the stream's buffer that closing would send to the pipe.
        stream.close()
    assert count == 2


def test_a_stream_that_went_away_is_not_waited_for() -> None:
    """The writing thread ends at once when the view of a broken pipe is closed, though it has nothing to write."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123
        view = StageView(stream)
        view(stage("boot", "note"))
        Deadline(20, "notice the broken pipe").poll(lambda: view._silent)
        view.close()
    assert [] == [thread for thread in threading.enumerate() if thread.name == "stage-view"]


def test_a_hostile_detail_cannot_move_the_cursor() -> None:
    """A panic's text shown as the reason of a failed stage is escaped."""
    stream = io.StringIO()
    with StageView(stream) as view:
        view(stage("boot", "begin"))
        view(stage("boot", "fail", 10, "\x1b[2Jpanic\nmore"))
    assert stream.getvalue() == "✗ boot 0.0 s  \\x1b[2Jpanic\\x0amore\n"
