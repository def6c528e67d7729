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
        dialect.operation("size", path=path),
        dialect.operation("digest", path=path),
        dialect.operation("settle", part=path, target=path, sha256="0" * 64),
        dialect.operation("remove", path=path),
        dialect.operation("listing", directory=path),
        dialect.operation("prepare", directory=path),
        dialect.operation("launch", directory=path),
        dialect.operation("state", directory=path),
        dialect.operation("read", path=path, offset=str(1 << 40), length=str(1 << 40)),
        dialect.operation("write", path=path, offset=str(1 << 40)),
    ]
    assert len(BODIES) - 1 == len(scripts)  # all but the runner, which is a file
    assert [] == [script for script in scripts if len(dialect.invoke(script)) > dialect.longest_line]


@pytest.mark.parametrize("operation", sorted(BODIES))
def test_every_operation_parses(operation: str) -> None:
    """As PowerShell, by a grammar that is not ours."""
    tree_sitter = pytest.importorskip("tree_sitter", reason="tree-sitter is not installed")
    grammar = pytest.importorskip("tree_sitter_powershell", reason="tree-sitter-powershell is not installed")
    text = (
        Windows().operation("write", path="C:\\x", offset="0") if operation == "write" else BODIES[operation]
    )
    tree = tree_sitter.Parser(tree_sitter.Language(grammar.language())).parse(text.encode())
    assert not tree.root_node.has_error


def glib_quoted(words: list[str]) -> str:
    """Join arguments as the guest agent's GLib does on Windows (GLib: glib/gspawn-win32.c, protect_argv_string)."""
    line = []
    for word in words:
        escaped = re.sub(r'(\\*)"', r"\1\1\\" + '"', word)
        if not word or " " in word or "\t" in word:
            escaped = '"' + re.sub(r"(\\+)$", r"\1\1", escaped) + '"'
        line.append(escaped)
    return " ".join(line)


def test_glib_quotes_as_its_source_says() -> None:
    """What cmd.exe would get of a line with quotes in it: backslashes that it takes for themselves."""
    assert r'cmd.exe /d /c "\"C:\a b\x.exe\" machine"' == glib_quoted(
        ["cmd.exe", "/d", "/c", '"C:\\a b\\x.exe" machine']
    )


@given(st.text(alphabet=st.one_of(st.sampled_from("\"\\ '%&|<>^"), st.characters(exclude_characters="\0"))))
def test_the_guest_agent_gets_no_inner_quote(line: str) -> None:
    """GLib changes nothing of what is inside the arguments; the line is whole, a literal of a script or an argument."""
    words = Windows().arguments(line)
    joined = glib_quoted(words)
    assert '\\"' not in joined.replace('\\\\"', "")
    if words[0] == "cmd.exe":
        assert ["/d", "/c", line] == words[1:]
        assert '"' not in line
    else:
        assert glib_quoted(words) == " ".join(words)
        text = base64.b64decode(words[-1]).decode("utf-16-le", "surrogatepass")
        assert f"$line = {quoted(line)}\n" in text


def test_a_line_of_the_guest_agent_fits() -> None:
    """CreateProcess takes 32,767 characters (W32: processthreadsapi/nf-processthreadsapi-createprocessw.md)."""
    dialect = Windows()
    assert 32_767 > len(glib_quoted(dialect.arguments('"' + "x" * (dialect.longest_line - 2) + '"')))
