# SPDX-License-Identifier: MIT
"""Counts the lines of code in harness/ and of C in guest_drivers/: lines that are neither blank nor only a comment or a
docstring.

``python -m tests.code_lines`` prints the count of each room and of each of the driver's folders, and the totals.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from pathlib import Path

HARNESS = Path(__file__).resolve().parents[1] / "harness"
DRIVERS = HARNESS.parent / "guest_drivers" / "hpnotify"

COMMENT_OR_STRING = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:[^\"\\\n]|\\.)*\"", re.DOTALL)

NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(text: str) -> int:
    """Return the number of lines of ``text``, Python source, that hold code. A bare string is a docstring."""
    prose: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            held.update(range(token.start[0], token.end[0] + 1))
    return len(held - prose)


def c_code_lines(text: str) -> int:
    """Return the number of lines of ``text``, C source, that hold code."""

    def kept(found: re.Match[str]) -> str:
        return found[0] if found[0].startswith('"') else "\n" * found[0].count("\n")

    return sum(1 for line in COMMENT_OR_STRING.sub(kept, text).splitlines() if line.strip())


def count_folders(root: Path = DRIVERS) -> Counter[str]:
    """Return the lines of C of each folder directly in ``root``."""
    folders: Counter[str] = Counter()
    for path in sorted(root.rglob("*.[ch]")):
        folders[path.relative_to(root).parts[0]] += c_code_lines(path.read_text(encoding="utf-8"))
    return folders


def count_rooms(root: Path = HARNESS) -> Counter[str]:
    """Return the lines of code of each room, a folder or a module directly in ``root``."""
    rooms: Counter[str] = Counter()
    for path in sorted(root.rglob("*.py")):
        rooms[path.relative_to(root).parts[0]] += code_lines(path.read_text(encoding="utf-8"))
    return rooms


if __name__ == "__main__":
    for found, whole in ((count_rooms(), "harness/"), (count_folders(), "guest_drivers/hpnotify/")):
        for part, lines in sorted(found.items()):
            print(f"{lines:7} {part}")
        print(f"{found.total():7} {whole}")
