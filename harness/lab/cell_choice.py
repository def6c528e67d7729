# SPDX-License-Identifier: MIT
"""Choosing cells of a matrix: by an expression, or those that failed in an earlier nightly run.

An expression is ``field=value`` with ``and``, ``or``, ``not`` and parentheses: ``guest=twin and not plan=veto``. The
chosen cells are a matrix with its own digest, so their nightly run is not that of all cells.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from harness.choice import check_choice
from harness.errors import UsageError
from harness.lab.matrix import Cell, Matrix
from harness.lab.nightly_state import read_nightly
from harness.lab.summary import word

FIELDS = ("guest", "qemu", "topology", "plan", "repetition")
"""The fields of a cell that an expression can name."""

LONGEST, DEEPEST = 10_000, 100
"""The most characters of an expression, and the deepest nesting of its parentheses and ``not``."""

Wanted = Callable[[Cell], bool]

_TOKEN = re.compile(r"\s*([()]|[^\s()]+)")


def only(matrix: Matrix, expression: str) -> Matrix:
    """Return the matrix of the cells that an expression chooses. Raises UsageError if it chooses none."""
    wanted = _Expression(expression, matrix.cells).read()
    return _chosen(
        matrix, (cell for cell in matrix.cells if wanted(cell)), f"--only {expression!r} chooses no run"
    )


def failed(matrix: Matrix, directory: Path) -> Matrix:
    """Return the matrix of the cells that did not hold in the nightly run at ``directory``, or were skipped there.

    Raises UsageError if there is no such nightly run, or if all of its cells held.
    """
    _, outcomes = read_nightly(directory, hint="Give the name of a nightly run, or its directory.")
    bad = {cell for cell, outcome in outcomes.items() if word(outcome) != "holds"}
    none = f"no run of {directory} failed that is in this matrix"
    return _chosen(matrix, (cell for cell in matrix.cells if cell.id in bad), none)


def _chosen(matrix: Matrix, cells: Iterable[Cell], none: str) -> Matrix:
    found = list(cells)
    if not found:
        raise UsageError(none, hint="'harness nightly --dry-run' lists all runs of the matrix.")
    if len(found) == len(matrix.cells):
        return matrix
    names = "\0".join([matrix.digest, *(cell.id for cell in found)])
    points = {cell.point for cell in found}
    return msgspec.structs.replace(
        matrix,
        cells=found,
        requests={point: asked for point, asked in matrix.requests.items() if point in points},
        digest=hashlib.sha256(names.encode()).hexdigest(),
    )


class _Expression:
    """Parses an expression: ``or`` binds least, then ``and``, then ``not``."""

    def __init__(self, text: str, cells: list[Cell]) -> None:
        if len(text) > LONGEST:
            raise UsageError(f"--only: the expression has {len(text)} characters, more than {LONGEST}")
        self._text = text
        self._words = _TOKEN.findall(text)
        self._at = 0
        self._depth = 0
        self._values = {field: sorted({str(getattr(cell, field)) for cell in cells}) for field in FIELDS}

    def read(self) -> Wanted:
        """Return the predicate of the whole expression. Raises UsageError."""
        found = self._or()
        if self._at < len(self._words):
            raise self._wrong(f"{self._words[self._at]!r} is unexpected")
        return found

    def _next(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def _take(self) -> str:
        word = self._next()
        self._at += 1
        return word

    def _or(self) -> Wanted:
        parts = [self._and()]
        while self._next() == "or":
            self._take()
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else lambda cell: any(part(cell) for part in parts)

    def _and(self) -> Wanted:
        parts = [self._not()]
        while self._next() == "and":
            self._take()
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else lambda cell: all(part(cell) for part in parts)

    def _not(self) -> Wanted:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong("it is nested too deeply")
        word = self._take()
        if word == "not":
            inner = self._not()
            found: Wanted = lambda cell: not inner(cell)  # noqa: E731 - a closure like the others
        elif word == "(":
            found = self._or()
            if self._take() != ")":
                raise self._wrong("a ')' is missing")
        else:
            found = self._comparison(word)
        self._depth -= 1
        return found

    def _comparison(self, word: str) -> Wanted:
        field, sign, value = word.partition("=")
        if not sign:
            raise self._wrong(f"{word!r} is not of the form field=value" if word else "it ends too early")
        check_choice("field of a run", field, FIELDS)
        check_choice(field, value, self._values[field])
        return lambda cell: str(getattr(cell, field)) == value

    def _wrong(self, why: str) -> UsageError:
        return UsageError(
            f"--only {self._text[:200]!r}: {why}", hint="For example: --only 'guest=twin and not plan=veto'"
        )
