# SPDX-License-Identifier: MIT
"""The scripts that go to Windows: values in them stay values, and they parse as PowerShell."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.transport.powershell import BODIES, Windows, quoted

QUOTES = "'\u2018\u2019\u201a\u201b"


@given(st.text(alphabet=st.one_of(st.sampled_from(QUOTES + '$`"\n;'), st.characters())))
def test_a_quoted_value_is_one_literal(value: str) -> None:
    """Between the outer quotes every quote that PowerShell knows stands twice, so none ends the literal."""
    literal = quoted(value)
    assert ("'", "'") == (literal[0], literal[-1])
    inner = literal[1:-1]
    assert "" == re.sub(f"([{QUOTES}])\\1|[^{QUOTES}]", "", inner, flags=re.DOTALL)
    assert value == re.sub(f"([{QUOTES}])\\1", r"\1", inner)


def test_an_encoded_script_is_the_script() -> None:
    """UTF-16 in Base64, as powershell.exe wants it, after a preamble that makes errors stop and output UTF-8."""
    line = Windows().invoke("'é'")
    decoded = base64.b64decode(line.rpartition(" ")[2]).decode("utf-16-le")
    assert "$ErrorActionPreference = 'Stop'" == decoded.splitlines()[0]
    assert "'é'" == decoded.splitlines()[-1]


def test_every_operation_fits_a_command_line() -> None:
    """With paths as long as Windows takes them without a prefix."""
    dialect, path = Windows(), "C:\\" + "x" * 256
    scripts = [
        dialect.size(path),
        dialect.digest(path),
        dialect.settle(path, path, "0" * 64),
        dialect.remove(path),
        dialect.listing(path),
        dialect.prepare(path),
        dialect.launch(path),
        dialect.state(path),
        dialect.read(path, 1 << 40, 1 << 40),
        dialect.write(path, 1 << 40),
    ]
    assert len(BODIES) - 1 == len(scripts)  # all but the runner, which is a file
    assert [] == [script for script in scripts if len(dialect.invoke(script)) > dialect.longest_line]


@pytest.mark.parametrize("operation", sorted(BODIES))
def test_every_operation_parses(operation: str) -> None:
    """As PowerShell, by a grammar that is not ours."""
    tree_sitter = pytest.importorskip("tree_sitter", reason="tree-sitter is not installed")
    grammar = pytest.importorskip("tree_sitter_powershell", reason="tree-sitter-powershell is not installed")
    text = Windows().write("C:\\x", 0) if operation == "write" else BODIES[operation]
    tree = tree_sitter.Parser(tree_sitter.Language(grammar.language())).parse(text.encode())
    assert not tree.root_node.has_error
