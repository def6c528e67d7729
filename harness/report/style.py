# SPDX-License-Identifier: MIT
"""Colour for terminals, and only for terminals."""

from __future__ import annotations

import os
import textwrap
from typing import TextIO


class Style:
    """Puts words in colour and folds lines, or leaves them as they are.

    ``width`` is the number of columns that lines are folded at, 0 for never.
    """

    def __init__(self, *, colour: bool, width: int = 0) -> None:
        self.colour = colour
        self.width = width

    def fold(self, line: str, *, indent: int | None = None, breaking: bool = False) -> list[str]:
        """Return ``line`` in pieces that fit, the later ones indented by ``indent``, or a little more than the first.

        A word that is too long stays whole, so that it can be copied. With ``breaking`` only paths and addresses do.
        """
        if not self.width or len(line) <= self.width:
            return [line]
        further = len(line) - len(line.lstrip()) + 4 if indent is None else indent
        room = max(self.width, 40)
        whole = any("/" in word for word in line.split() if len(word) > room - further)
        return textwrap.wrap(
            line,
            room,
            subsequent_indent=" " * further,
            break_on_hyphens=False,
            break_long_words=breaking and not whole,
        )

    def bad(self, text: str) -> str:
        """Red: a violation or a failure."""
        return self._paint("1;31", text)

    def good(self, text: str) -> str:
        """Green: holds."""
        return self._paint("1;32", text)

    def doubtful(self, text: str) -> str:
        """Yellow: unknown, or a warning."""
        return self._paint("1;33", text)

    def faint(self, text: str) -> str:
        """Grey: what one may skip."""
        return self._paint("2", text)

    def strong(self, text: str) -> str:
        """Bold: a heading."""
        return self._paint("1", text)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


PLAIN = Style(colour=False)
"""What a pipe gets."""


def is_terminal(stream: TextIO) -> bool:
    """True if ``stream`` is a terminal that understands cursor movement."""
    try:
        return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    except ValueError:
        return False


def style_for(stream: TextIO) -> Style:
    """Return the style for ``stream``: folded on a terminal, and coloured unless the user set ``NO_COLOR`` (no-color.org)."""
    if not is_terminal(stream):
        return PLAIN
    return Style(colour=not os.environ.get("NO_COLOR"), width=columns(stream))


def columns(stream: TextIO) -> int:
    """Return the width of the terminal that ``stream`` is, 80 if it does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def rows(stream: TextIO) -> int:
    """Return the height of the terminal that ``stream`` is, 24 if it does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).lines or 24
    except (OSError, ValueError):
        return 24
