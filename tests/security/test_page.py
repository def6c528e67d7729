# SPDX-License-Identifier: MIT
"""docs/security.md names a test for every line of its threat model, and each of them exists."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from tests.syntax import parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def rows() -> list[list[str]]:
    """Return the rows of the tables that name tests."""
    found = []
    for table in re.findall(r"^\|.*\| held by \|\n\|[- |]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        found += [line.strip("|").split(" | ") for line in table.splitlines()]
    return found


def test_every_line_names_its_tests() -> None:
    """No promise without a test."""
    assert len(rows()) > 20
    assert [] == [row for row in rows() if not re.search(r"`tests/\S+::\w+`", row[-1])]


def test_every_test_exists() -> None:
    """Files, classes and functions are where the page says."""
    read = functools.cache(lambda path: parse((ROOT / path).read_text(encoding="utf-8")))
    missing = []
    for path, names in re.findall(r"`(tests/\S+?\.py)((?:::\w+)+)`", PAGE):
        tree: ast.AST | None = read(path)
        for name in names.split("::")[1:]:
            body = getattr(tree, "body", [])
            tree = next((node for node in body if getattr(node, "name", "") == name), None)
        if tree is None:
            missing.append(path + names)
    assert [] == missing
