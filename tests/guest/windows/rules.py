# SPDX-License-Identifier: MIT
"""What holds for every PowerShell script of the project, whoever wrote it: found in its syntax tree, not by searching."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

INTERACTIVE = {
    "read-host", "pause", "out-gridview", "get-credential", "show-command", "out-host", "write-host", "more",
}  # fmt: skip
"""Commands that wait for a person, or speak to a console that is not there."""

DANGEROUS = {
    "invoke-expression",
    "iex",
    "invoke-webrequest",
    "iwr",
    "invoke-restmethod",
    "irm",
    "start-bitstransfer",
}
"""Commands that make code of text, or fetch something from elsewhere."""

GONE = {"wmic", "wmic.exe", "get-wmiobject", "gwmi"}
"""Commands that newer editions of Windows do not have any more (Microsoft Learn: "Deprecated features for Windows client")."""

ALIASES = {
    "?",
    "%",
    "where",
    "foreach",
    "select",
    "sort",
    "ls",
    "dir",
    "cat",
    "type",
    "echo",
    "rm",
    "del",
    "cp",
    "mv",
    "gc",
}
"""Short names, which a profile may have given another meaning."""


class Fault(NamedTuple):
    """A rule that is broken, and where."""

    rule: str
    line: int
    text: str


def parse(text: str) -> Any:
    """Return the root of the syntax tree."""
    import tree_sitter
    import tree_sitter_powershell

    language = tree_sitter.Language(tree_sitter_powershell.language())
    return tree_sitter.Parser(language).parse(text.encode()).root_node


def nodes(root: Any) -> Iterator[Any]:
    """Yield every node."""
    yield root
    for child in root.children:
        yield from nodes(child)


def continues(node: Any) -> bool:
    """True within a function whose first statement lets errors pass."""
    while node is not None and node.type != "function_statement":
        node = node.parent
    return node is not None and node.text.decode().partition("\n")[2].lstrip().startswith(
        "$ErrorActionPreference = 'Continue'"
    )


def faults(text: str) -> list[Fault]:
    """Return what is wrong with a script."""
    root = parse(text)
    found = []

    def fault(rule: str, node: Any) -> None:
        found.append(Fault(rule, node.start_point[0] + 1, node.text.decode()[:80]))

    for node in nodes(root):
        if node.type == "ERROR" or node.is_missing:
            fault("does not parse", node)
        elif node.type == "command_name":
            name = node.text.decode().lower()
            for words, rule in (
                (INTERACTIVE, "interactive"),
                (DANGEROUS, "dangerous"),
                (GONE, "gone"),
                (ALIASES, "alias"),
            ):
                if name in words:
                    fault(rule, node)
        elif node.type == "merging_redirection_operator" and not continues(node):
            # With errors as a stop, Windows PowerShell 5.1 makes the first line on a program's stderr an error.
            fault("stderr merged", node)
        elif node.type in ("verbatim_here_string_characters", "expandable_here_string_literal"):
            fault("here-string", node)
    return found
