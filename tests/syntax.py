# SPDX-License-Identifier: MIT
"""The syntax trees of sources that tests read: all of the harness's take a third of a second.

Each node is an object that the garbage collector would look at again and again while a tree is made, which takes longer than
making it. ``ast.walk`` takes twice as long as :func:`nodes`.
"""

from __future__ import annotations

import ast
import bisect
import gc
import re
from collections.abc import Iterator

STRING_OR_COMMENT = re.compile(
    r"'''(?:[^\\]|\\.)*?'''|'(?:[^'\\\n]|\\.)*'|"
    r'"""(?:[^\\]|\\.)*?"""|"(?:[^"\\\n]|\\.)*"|'
    r"(#[^\n]*)",
    re.DOTALL,
)
"""A string, in which # begins no comment, or a comment."""

BEGINS = re.compile(r"^[^\s#)\]}]", re.MULTILINE)
"""Where a statement of a module begins, if it is not inside of a string."""


IMPORT = re.compile(r"^[ \t]*(?:from [\w.]+ import (?:\([^)]*\)|.*)|import .*)", re.MULTILINE)


def parse(text: str) -> ast.Module:
    """Return the tree of a module, as ``ast.parse`` does."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        if enabled:
            gc.enable()


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node of a tree, those that follow each other in the text in no particular order."""
    left = [tree]
    while left:
        node = left.pop()
        yield node
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                left.extend(part for part in value if isinstance(part, ast.AST))
            elif isinstance(value, ast.AST):
                left.append(value)


def imports(text: str) -> list[ast.Import | ast.ImportFrom]:
    """Return the import statements of a module, wherever they stand on lines of their own. Nothing else of it is parsed."""
    inside = [hit.span() for hit in STRING_OR_COMMENT.finditer(text) if "\n" in hit[0]]
    found = [
        hit[0].lstrip()
        for hit in IMPORT.finditer(text)
        if not any(begin < hit.start() < end for begin, end in inside)
    ]
    return [one for one in parse("\n".join(found)).body if isinstance(one, ast.Import | ast.ImportFrom)]


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield the comments of a module with the numbers of their lines, as tokenize does, which takes ten times as long."""
    number = place = 0
    for hit in STRING_OR_COMMENT.finditer(text):
        if comment := hit[1]:
            number += text.count("\n", place, hit.start())
            place = hit.start()
            yield number + 1, comment


def statements(text: str) -> Iterator[str]:
    """Yield the statements of a module as text, without what stands before the first. A decorator is one of its own."""
    inside = [hit.span() for hit in STRING_OR_COMMENT.finditer(text) if "\n" in hit[0]]
    begins = [hit.start() for hit in BEGINS.finditer(text)]
    for begin, end in reversed(inside):
        del begins[bisect.bisect_right(begins, begin) : bisect.bisect_left(begins, end)]
    for begin, end in zip(begins, [*begins[1:], len(text)], strict=True):
        yield text[begin:end]
