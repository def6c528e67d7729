# SPDX-License-Identifier: MIT
"""The command lines that the pages show.

A command line is a line of an indented block, of a block of the language ``sh``, of one of the language ``console`` after
``$``, and of a ``yaml`` block after ``-`` and a program's name. What else is shown stands in a block of another language;
``text`` is for what a program prints. Behind a command, two spaces or a ``#`` begin what the page says of it.

A block below ``<!-- needs: Windows -->`` has commands that need a Windows guest, or Windows itself.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

MARK = re.compile(r"<!-- needs: (\w+) -->")
FENCE = re.compile(r"\s*```(\w*)")
STARTS = {"sh": "", "": "", "console": r"\$ ", "yaml": r" *- (?=harness |\./lab |python )"}
"""By the language of a block, what a command line begins with; a block without a language is an indented one."""


class ShownCommand(NamedTuple):
    """One command line, where it stands, and what its block says that it needs, "" if nothing."""

    page: str
    line: int
    text: str
    needs: str


class Block(NamedTuple):
    """One block of a page: its language, and its lines with their numbers. ``needs`` is what the mark above it says."""

    language: str
    lines: list[tuple[int, str]]
    needs: str


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced and the indented blocks of a page. An indented block without a fence has no language."""
    language: str | None = None
    found: list[tuple[int, str]] = []
    before = needs = ""
    blank = True
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if language is None and fence:
            if found:
                yield Block("", found, needs)
            language, found, needs = fence[1] or "text", [], before
        elif language is not None:
            if fence:
                yield Block(language, found, needs)
                language, found = None, []
            else:
                found.append((number, line))
        elif line.startswith("    ") and (blank or found):
            needs = needs if found else before
            found.append((number, line[4:]))
        elif line and found:
            yield Block("", found, needs)
            found = []
        if line:
            mark = MARK.fullmatch(line)
            before = mark[1] if mark else before if line.startswith("    ") else ""
        blank = not line
    if found:
        yield Block(language or "", found, needs)


def commands(page: Path) -> Iterator[ShownCommand]:
    """Yield the command lines of a page."""
    for block in blocks(page.read_text(encoding="utf-8")):
        start = STARTS.get(block.language)
        for number, line in block.lines if start is not None else ():
            said = re.match(rf"{start}(\S.*)", line)
            if said:
                text = re.split(r"\s{2,}|\s+# ", said[1])[0].strip()
                yield ShownCommand(page.name, number, text, block.needs)


def shown() -> list[ShownCommand]:
    """Return every command line of every page."""
    return [command for page in PAGES for command in commands(page)]


def environment(tmp_path: Path) -> dict[str, str]:
    """Return a reader's environment: that of ``./lab shell``, with leases and a registry of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "harness").write_text(f'#!/bin/sh\nexec {sys.executable} -m harness "$@"\n')
    (binaries / "harness").chmod(0o755)
    return kept | {
        "PATH": os.pathsep.join([str(binaries), str(Path(sys.executable).parent), kept.get("PATH", os.defpath)]),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_COLOR": "1",
        "CI_PIPELINE_ID": "4711",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "HOTPLUG_HARNESS_LEASES": str(tmp_path / "leases"),
        "LAB_PYTHON": sys.executable,
        "LAB_PACKAGE": "skip",
        "LAB_TOX": str(tmp_path / "tox"),
        "TOX_CONFIG_FILE": str(ROOT / "tox.ini"),
    }  # fmt: skip
