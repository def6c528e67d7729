# SPDX-License-Identifier: MIT
"""The index of class names in docs/glossary.md: ``python -m tests.docs.glossary`` writes it anew from the code."""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

from tests.syntax import parse, statements

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "glossary.md"
BEGIN, END = "<!-- class names: begin -->\n", "<!-- class names: end -->\n"

# A class, or an alias of a type: CamelCase. Constants are in capitals throughout, and most statements that assign are theirs.
_DEFINES = re.compile(r"(?:class +|(?=\w+ *=))[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*\b")
_CLASS = re.compile(r'class [^\n#]*:\n(?:    """(?:[^\\]|\\.)*?"""\n)?', re.DOTALL)
"""The beginning of a class, if it is one line, and its docstring."""
_NAME = re.compile(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")


class Named(NamedTuple):
    """A public name of a type: where it is defined, and the first sentence about it."""

    name: str
    module: str
    meaning: str


@functools.cache
def public_names() -> tuple[Named, ...]:
    """Return each class and each alias of a type that a module of harness/ defines for others; the modules are parsed once."""
    return tuple(_public_names())


def _public_names() -> Iterator[Named]:
    for path in sorted((ROOT / "harness").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        texts = list(statements(path.read_text(encoding="utf-8")))
        for text, after in zip(texts, [*texts[1:], ""], strict=True):
            if not _DEFINES.match(text):
                continue
            # Nothing but its beginning is said of a class, and the tree of all of them takes longest to make.
            begin = _CLASS.match(text)
            (node,) = parse(f"{begin[0]}    pass\n" if begin else text).body
            if isinstance(node, ast.ClassDef):
                name, said = node.name, ast.get_docstring(node) or ""
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name, said = node.targets[0].id, _string(after) or f"`{shorten(ast.unparse(node.value), 80)}`"
            else:
                continue
            if _NAME.fullmatch(name) and not _is_no_type(node):
                yield Named(name, module, _first_sentence(said))


def _string(text: str) -> str:
    return str(ast.literal_eval(text)) if text.startswith('"') else ""


def _is_no_type(node: ast.stmt) -> bool:
    """Return whether an assignment makes a type variable, or declares a parameter of a command."""
    value = ast.unparse(node.value) if isinstance(node, ast.Assign) else ""
    return value.startswith(("TypeVar(", "ParamSpec(")) or "typer." in value


def _first_sentence(text: str) -> str:
    joined = re.sub(r"``([^`]*)``", r"`\1`", " ".join(text.split("\n\n")[0].split()))
    joined = re.sub(r":(?:class|mod|func|meth|attr|data):`~?([^`]*)`", r"`\1`", joined)
    sentence = re.split(r"(?<=[.:;]) ", joined)[0].rstrip(".:;")
    return sentence.replace("|", "\\|")


def index() -> str:
    """Return the index: one table a room."""
    rooms: defaultdict[str, list[Named]] = defaultdict(list)
    for named in public_names():
        rooms[named.module.split(".")[1]].append(named)
    lines = []
    for room, names in sorted(rooms.items()):
        lines += [f"### {room}", "", "| name | module | meaning |", "| --- | --- | --- |"]
        for name, module, meaning in sorted(names):
            lines.append(f"| `{name}` | `{module.removeprefix('harness.')}` | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Write the index between its marks."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{index()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
