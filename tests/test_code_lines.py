# SPDX-License-Identifier: MIT
"""The count of lines of code: what counts and what does not."""

from __future__ import annotations

from tests.code_lines import c_code_lines, code_lines


def test_blank_lines_comments_and_docstrings_do_not_count() -> None:
    """Two statements over three lines are three lines, whatever is written about them."""
    text = '"""About."""\n\n# Why.\nvalue = (\n    "two"\n\n)\n\ndef call() -> None:\n    """Do it."""\n'
    assert 4 == code_lines(text)


def test_comments_of_c_do_not_count() -> None:
    """A comment beside code leaves its line; a comment of several lines, or what looks like one in a string, does not."""
    text = '/* About\n * it. */\n\nint one; /* why */\n// what\nchar two[] = "/* no comment";\nint three;\n/* x */\n'
    assert 3 == c_code_lines(text)
