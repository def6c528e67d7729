# SPDX-License-Identifier: MIT
"""Sources are read faster than by the standard library, and to the same end."""

from __future__ import annotations

import ast
import gc
import io
import tokenize
from pathlib import Path

import pytest

from tests.syntax import comments, imports, nodes, parse, statements

TEXT = '''# first
a = "# none"  # second
b = r"\\\\"  # third
c = "a\\"# none", '# "none', b'#'  # it's the "fourth"
"""
# none \\""" ' " #
""" # fifth
d = f"{a}#{'#'}" ''  # sixth
# seventh'''


@pytest.mark.parametrize("text", [TEXT, "", Path(__file__).read_text()])
def test_comments_and_nodes_are_those_of_the_standard_library(text: str) -> None:
    """With their lines, and in any string."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    assert [(one.start[0], one.string) for one in tokens if one.type == tokenize.COMMENT] == list(
        comments(text)
    )
    walked = sorted(ast.dump(node, include_attributes=True) for node in ast.walk(ast.parse(text)))
    assert walked == sorted(ast.dump(node, include_attributes=True) for node in nodes(parse(text)))


NESTED = '''"""Text:

import none
from none import none
"""
import a, b.c as d
from e import (
    f,  # first
    g as h,
)
def i():
    try:
        from .j import k
    except ImportError:
        import l  # other
    return """
    import none
"""
'''


@pytest.mark.parametrize("text", [NESTED, "", Path(__file__).read_text(), Path(pytest.__file__).read_text()])
def test_imports_are_those_of_the_tree(text: str) -> None:
    """In functions and branches, over several lines; none inside of a string."""
    walked = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert sorted(map(ast.unparse, walked)) == sorted(map(ast.unparse, imports(text)))


def test_statements_are_those_of_a_module() -> None:
    """Not what begins a line inside of a string or of brackets, nor a comment."""
    text = '''# comment
"""The module.
class None_:
"""
import a
# another
X = [
    1,
]
Y = """
Z = 1
"""
@a(
    b
)
class C(
    A,
):
    """C."""

    x = 1
def f() -> None:
# odd
    return
'''
    found = [each.split("\n")[0] for each in statements(text)]
    assert ['"""The module.', "import a", "X = [", 'Y = """', "@a(", "class C(", "def f() -> None:"] == found
    assert "# comment\n" + "".join(statements(text)) == text


def test_garbage_is_searched_for_again_whatever_is_parsed() -> None:
    """Also after a text that cannot be parsed."""
    with pytest.raises(SyntaxError):
        parse("(")
    assert gc.isenabled()
