# SPDX-License-Identifier: MIT
"""A table of texts, as lines for a terminal and as Markdown. What a guest may have chosen is escaped in both."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from harness.report.escape import cell, columns_of, padded, printable
from harness.report.style import Style

LONGEST_CELL = 200
"""Characters of a cell that are shown."""

NARROWEST = 24
"""Columns that the last column of a table needs beside the others on a terminal. If it has fewer, it goes below them."""

LEAST_COLUMN = 8
"""Columns to which a column is reduced at most."""

INDENT = 4
"""The indent of a last column that is below the others."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!&])")


class AnswerTable(msgspec.Struct, frozen=True, kw_only=True):
    """``empty`` is said in place of a table without rows. Columns that are named in ``right`` hold numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    empty: str = "none"
    right: frozenset[str] = frozenset()

    def _cells(self) -> list[list[str]]:
        return [
            ["" if value is None else printable(str(value), LONGEST_CELL) for value in row]
            for row in self.rows
        ]

    def lines(self, style: Style) -> list[str]:
        """Return the table for a terminal: columns padded, the last one folded at its width.

        If the other columns do not fit, the widest of them are cut.
        """
        heading = [*map(style.strong, style.fold(printable(self.title, LONGEST_CELL), breaking=True))]
        cells = self._cells()
        if not cells:
            return [*heading, f"  {self.empty}"]
        head = list(self.columns)
        widths = [
            max(columns_of(row[at]) for row in [list(self.columns), *cells])
            for at in range(len(self.columns))
        ]
        if style.width:
            widths = [*_fitting(widths[:-1], style.width - 2), widths[-1]]
            head, *cells = [
                [*(cell(text, width) for text, width in zip(row[:-1], widths, strict=False)), row[-1]]
                for row in [head, *cells]
            ]
        rows = [[line] for line in (self._line(row, widths) for row in [head, *cells])]
        if style.width:
            indent = sum(width + 2 for width in widths[:-1]) + 2
            if indent + min(widths[-1], NARROWEST) > style.width:
                indent = INDENT
                rows = [
                    [self._line(row[:-1], widths[:-1]), f"{' ' * INDENT}{row[-1]}".rstrip()]
                    for row in [head, *cells]
                ]
            rows = [
                [piece for line in row if line for piece in style.fold(line, indent=indent, breaking=True)]
                for row in rows
            ]
        head, *body = rows
        return [*heading, *map(style.faint, head), *(line for row in body for line in row)]

    def _line(self, row: list[str], widths: list[int]) -> str:
        cells = [
            padded(text, width, right=name in self.right)
            for text, width, name in zip(row, widths, self.columns, strict=False)
        ]
        return f"  {'  '.join(cells)}".rstrip()

    def markdown(self) -> list[str]:
        """Return the table as GitHub's and GitLab's Markdown take it."""
        title = [f"**{escaped(self.title)}**", ""]
        cells = self._cells()
        if not cells:
            return [*title, escaped(self.empty), ""]
        rule = ["---:" if name in self.right else "---" for name in self.columns]
        rows = [list(self.columns), rule, *([escaped(one) for one in row] for row in cells)]
        return [*title, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _fitting(widths: list[int], room: int) -> list[int]:
    """Return the widths of columns with two spaces between, so that they take at most ``room``: the widest are reduced."""
    fitting = [*widths]
    while fitting and sum(fitting) + 2 * (len(fitting) - 1) > room and max(fitting) > LEAST_COLUMN:
        fitting[fitting.index(max(fitting))] -= 1
    return fitting


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return _MARKDOWN.sub(r"\\\1", text)
