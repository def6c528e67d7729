# SPDX-License-Identifier: MIT
"""Nothing a guest chose reaches a terminal as anything but visible characters."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.escape import cell, columns_of, padded, printable, printable_block

ANY_TEXT = st.text(st.characters(exclude_categories=[]))


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("plain words", "plain words"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\rb\nc\td", "a\\x0db\\x0ac\\x09d"),
        ("\x9b2J", "\\x9b2J"),
        ("user\u202etxt.exe", "user\\u202etxt.exe"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("\u2028next", "\\u2028next"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
        ("z\u0301\u20dd", "z\\u0301\\u20dd"),
        (r"\??\ACPI#0007", r"\??\ACPI#0007"),
        ("Größe 漢", "Größe 漢"),
    ],
)
def test_each_dangerous_kind_of_character_is_escaped(given_text: str, expected: str) -> None:
    """Control, C1, bidirectional, zero-width, separator, surrogate, tag and combining characters become visible."""
    assert expected == printable(given_text)


def test_a_long_string_is_cut_and_says_how_much_is_missing() -> None:
    """Ten characters are kept of twelve, and the cut counts the two."""
    assert "xxxxxxxxxx…(+2)" == printable("x" * 12, 10)


@given(ANY_TEXT)
def test_no_text_keeps_a_character_that_a_terminal_acts_on(text: str) -> None:
    """Whatever comes in, only printable characters without combining ones come out."""
    shown = printable(text)
    assert shown.isprintable()
    assert [] == [c for c in shown if unicodedata.category(c) in ("Mn", "Me", "Cf", "Cc", "Cs", "Zl", "Zp")]


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=160))
def test_harmless_text_is_left_alone(text: str) -> None:
    """Visible ASCII passes unchanged."""
    assert text == printable(text)


def test_a_block_keeps_its_first_and_last_lines() -> None:
    """Of a hundred lines the first two, the last two and a note of the rest are shown."""
    block = printable_block("\n".join(str(n) for n in range(100)), lines=5)
    assert ["0", "1", "… 96 lines left out …", "98", "99"] == block


@given(ANY_TEXT, st.integers(min_value=3, max_value=10))
def test_a_block_is_bounded_and_printable(text: str, lines: int) -> None:
    """However many lines come in, at most the allowed number comes out, each printable."""
    block = printable_block(text, lines=lines)
    assert len(block) <= lines
    assert all(line.isprintable() for line in block)


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_cell_has_its_width(text: str, width: int) -> None:
    """What is escaped counts with all its characters; what was cut ends in an ellipsis."""
    shown = cell(text, width)
    assert columns_of(shown) <= width
    assert shown == printable(text) or shown.endswith("…")
    assert columns_of(padded(shown, width)) == columns_of(padded(shown, width, right=True)) == width
