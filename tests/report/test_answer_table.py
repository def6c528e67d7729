# SPDX-License-Identifier: MIT
"""Tables of answers at the widths of terminals and pipes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.answer_table import INDENT, NARROWEST, AnswerTable
from harness.report.escape import printable
from harness.report.style import Style

REASON = "the guest did not say within 30 s that the processor is online"
TABLE = AnswerTable(
    title="Runs",
    columns=["when", "s", "run", "reason"],
    rows=[["2026-11-30 10:31", 11, "20261130-103157-veto-4496", REASON], ["2026-11-30 10:30", 0, "r", ""]],
    right=frozenset({"s"}),
)


def test_a_pipe() -> None:
    """No line is folded."""
    assert TABLE.lines(Style(colour=False)) == [
        "Runs",
        "  when               s  run                        reason",
        f"  2026-11-30 10:31  11  20261130-103157-veto-4496  {REASON}",
        "  2026-11-30 10:30   0  r",
    ]


def test_the_last_column_has_room() -> None:
    """It is folded in its place."""
    assert TABLE.lines(Style(colour=False, width=80)) == [
        "Runs",
        "  when               s  run                        reason",
        "  2026-11-30 10:31  11  20261130-103157-veto-4496  the guest did not say within",
        f"{' ' * 51}30 s that the processor is",
        f"{' ' * 51}online",
        "  2026-11-30 10:30   0  r",
    ]


def test_the_last_column_has_no_room() -> None:
    """It goes below the others, and takes no line where it is empty."""
    assert TABLE.lines(Style(colour=False, width=72)) == [
        "Runs",
        "  when               s  run",
        "    reason",
        "  2026-11-30 10:31  11  20261130-103157-veto-4496",
        f"    {REASON}",
        "  2026-11-30 10:30   0  r",
    ]


def test_a_short_last_column_stays() -> None:
    """It needs no more room than it takes."""
    table = AnswerTable(title="t", columns=["a", "b"], rows=[["x" * 70, "yes"]])
    assert table.lines(Style(colour=False, width=80))[-1] == f"  {'x' * 70}  yes"


@given(
    st.lists(st.lists(st.text("ab ", max_size=30), min_size=3, max_size=3), min_size=1), st.integers(60, 120)
)
def test_nothing_is_lost_and_every_line_fits(rows: list[list[str]], width: int) -> None:
    """At each width, every word of every cell is there, and no line is longer than the terminal."""
    table = AnswerTable(title="t", columns=["one", "two", "three"], rows=rows)
    lines = table.lines(Style(colour=False, width=width))
    said = sorted(word for line in lines[1:] for word in line.split())
    assert said == sorted(
        word for row in [["one", "two", "three"], *rows] for cell in row for word in cell.split()
    )
    longest = max(len(word) for word in said)
    assert all(len(line) <= max(width, INDENT + NARROWEST + longest) for line in lines)


HOSTILE = st.text(
    st.characters(exclude_characters="/", exclude_categories=["Lo"])
    | st.sampled_from("\x1b\x07\r\n\t\x9b\u202e\u200b\ud800"),
    max_size=300,
)


@given(st.lists(st.lists(HOSTILE, min_size=4, max_size=4), min_size=1, max_size=3), HOSTILE)
def test_hostile_texts_break_neither_table_nor_terminal(rows: list[list[str]], title: str) -> None:
    """Whatever hosts and plans are called, nothing raw is shown, and each line fits 80 columns."""
    table = AnswerTable(title=title, columns=["host", "plan", "result", "reason"], rows=rows)
    for line in table.lines(Style(colour=False, width=80)):
        assert printable(line, 10_000) == line
        assert len(line) <= 80, line


def test_wide_characters_take_two_columns() -> None:
    """The next column begins in one place (UAX #11)."""
    table = AnswerTable(
        title="t", columns=["host", "b"], rows=[["中文", "x"], ["abcd", "y"], ["e\u0301", "z"]]
    )
    assert table.lines(Style(colour=False, width=80))[2:] == [
        "  中文     x",
        "  abcd     y",
        "  e\\u0301  z",
    ]


@pytest.mark.parametrize("width", [0, 80])
def test_an_empty_table(width: int) -> None:
    """It says so."""
    table = AnswerTable(title="Runs", columns=["a"], rows=[], empty="no run was recorded")
    assert table.lines(Style(colour=False, width=width)) == ["Runs", "  no run was recorded"]
