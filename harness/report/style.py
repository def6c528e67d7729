# SPDX-License-Identifier: MIT
"""Colour for terminals, and only for terminals."""

from __future__ import annotations

import os
from typing import TextIO


class Style:
    """Wraps words in colour, or leaves them as they are: ``Style(colour=False)`` is what a file or a pipe gets."""

    def __init__(self, *, colour: bool) -> None:
        self.colour = colour

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


def is_terminal(stream: TextIO) -> bool:
    """True if ``stream`` is a terminal that understands cursor movement."""
    try:
        return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    except ValueError:
        return False


def style_for(stream: TextIO) -> Style:
    """Return the style for ``stream``: colours on a terminal, unless the user set ``NO_COLOR`` (no-color.org)."""
    return Style(colour=is_terminal(stream) and not os.environ.get("NO_COLOR"))
