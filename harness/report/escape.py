# SPDX-License-Identifier: MIT
"""Makes text that a guest may have chosen safe to show: on one line, of bounded length, without control over a terminal."""

from __future__ import annotations

import unicodedata

LONGEST = 160
"""Characters of one guest-chosen string that are shown before it is cut."""

MOST_CHARACTERS = 4096
"""Characters that are kept with what is shown for them."""


def printable(text: str, limit: int = LONGEST) -> str:
    r"""Return ``text`` with everything escaped that a terminal would act on or not show, cut after ``limit`` characters.

    Control characters (also the C1 ones), line and paragraph separators, bidirectional controls, zero-width and
    combining characters, lone surrogates and unassigned code points become ``\x1b``, ``\u202e``, ``\U000e0001``.
    A backslash stays as it is, because Windows' symbolic link names are full of them. A cut ends in ``…(+N)``, where
    N counts the characters left out.
    """
    shown = text[:limit]
    if not (shown.isascii() and shown.isprintable()):
        shown = shown.translate(_SHOWN)
    return shown if len(text) <= limit else f"{shown}…(+{len(text) - limit})"


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a printable text takes: East Asian wide characters take two (UAX #11)."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(one) in ("W", "F") else 1 for one in text)


def cell(text: str, width: int) -> str:
    """Return ``text`` as :func:`printable` shows it, in at most ``width`` columns: a longer one is cut and ends in ``…``.

    For a column of a table, in which what is escaped counts with all its characters.
    """
    room = width
    shown: list[str] = []
    for place, character in enumerate(text):
        piece = printable(character)
        room -= columns_of(piece)
        if room < 0 or (room == 0 and place + 1 < len(text)):
            return _cut("".join([*shown, piece]), width)
        shown.append(piece)
    return "".join(shown)


def _cut(shown: str, width: int) -> str:
    while shown and columns_of(shown) > width - 1:
        shown = shown[:-1]
    return f"{shown}…"


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return a printable text with spaces up to ``width`` columns, on its left if it is to stand on the ``right``."""
    spaces = " " * max(0, width - columns_of(text))
    return f"{spaces}{text}" if right else f"{text}{spaces}"


def _shown(character: str) -> str:
    if character.isprintable() and not unicodedata.combining(character):
        return character if unicodedata.category(character) not in ("Mn", "Me") else _escape(character)
    return _escape(character)


class _Characters(dict[int, str]):
    """What is shown for each character, looked up when it first comes."""

    def __missing__(self, code: int) -> str:
        if len(self) >= MOST_CHARACTERS:
            self.clear()
        found = self[code] = _shown(chr(code))
        return found


_SHOWN = _Characters()


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def printable_block(text: str, *, lines: int = 40, limit: int = 1000) -> list[str]:
    """Return ``text`` as printable lines, at most ``lines`` of them, each cut after ``limit`` characters.

    For messages of several lines in which a guest's or QEMU's words are quoted. When lines are left out, those kept
    are the first and the last ones, because a failing program says why at its end.
    """
    given = text.splitlines()
    if len(given) > lines:
        head = lines // 2
        tail = lines - head - 1
        given = [*given[:head], f"… {len(given) - head - tail} lines left out …", *given[-tail:]]
    return [printable(line.expandtabs(4), limit) for line in given]
