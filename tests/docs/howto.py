# SPDX-License-Identifier: MIT
"""The steps of a how-to page, read from its code blocks and applied to a copy of the project as a reader would.

The sentence before a block says what to do with it::

    Create `FILE`:                      the block is the whole file
    At the end of `FILE`, add:          the block goes there, after two blank lines
    In `FILE`:                          a diff block: lines to find once, to remove (-) and to add (+)
    Run:                                a console block: commands after "$ ", each with what it prints

In a diff and in printed text ``…`` stands for anything within a line, and a line of its own ``…`` for any lines.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.linked_copy import link_or_copy

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    "harness",
    "docs",
    "tests",
    "guest_drivers",
    "vm_templates",
    "pyproject.toml",
    "lab.toml",
    "README.md",
    "CHANGELOG.md",
)

WRITTEN = (".md", ".json")
"""What programs of the project write into: pages and tables."""

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACES = (
    ("create", re.compile(r"Create `([^`]+)`:\Z")),
    ("append", re.compile(r"At the end of `([^`]+)`, add:\Z")),
    ("change", re.compile(r"In `([^`]+)`:\Z")),
    ("run", re.compile(r"Run()(?: in `\./lab shell`)?:\Z")),
)


@dataclass(frozen=True)
class HowToStep:
    """One block of a page: ``create``, ``append`` or ``change`` the file ``place``, or ``run`` commands."""

    kind: str
    place: str
    text: str


def steps(page: str, heading: str) -> list[HowToStep]:
    """Return the steps below a heading of a page. Raises AssertionError for a block that does not say where it goes."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    begin = text.index(f"\n{heading}\n")
    level = heading.index(" ")
    ends = [
        match.start()
        for match in re.finditer(rf"^(?:```.*?^```$|#{{1,{level}}} .*?$)", text, re.MULTILINE | re.DOTALL)
        if match.start() > begin + 1 and match[0].startswith("#")
    ]
    section = text[begin : ends[0] if ends else len(text)]
    found = []
    for block in BLOCK.finditer(section):
        sentence = section[: block.start()].rstrip().rpartition("\n\n")[2].replace("\n", " ")
        places = [(kind, said[1]) for kind, place in PLACES if (said := place.search(sentence))]
        assert len(places) == 1, f"{page}: what is to be done with this block? {sentence!r}\n{block[2]}"
        found.append(HowToStep(*places[0], block[2]))
    assert found, f"{page} has no step below {heading!r}"
    return found


class Shell(Protocol):
    """Executes a command line in a directory with an environment. Returns its exit status and what it writes."""

    def __call__(self, command: str, cwd: Path, environment: Mapping[str, str], /) -> tuple[int, str]: ...


class ProjectCopy:
    """A copy of the project in an empty directory, which a page's steps change. ``names`` are what is copied.

    ``shell`` executes their commands. What is a link to the project's file is replaced when a step changes it. So no command may
    write into such a file, other than into those of ``WRITTEN``; :meth:`reset` says so if one did.
    """

    def __init__(self, root: Path, shell: Shell, names: Sequence[str] = COPIED) -> None:
        self.root = root
        self._shell = shell
        root.mkdir()
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, root / name, symlinks=True, copy_function=_copy)
            else:
                shutil.copy2(ROOT / name, root / name)
        self._copied = self._files()

    def reset(self) -> None:
        """Make it the copy again that it was, whatever steps and their commands wrote.

        What is copied keeps the project's time, so what was written since has another. Raises AssertionError for a file of the
        project that was written.
        """
        found = self._files()
        changed = [name for name, state in found.items() if state != self._copied.get(name)]
        for name in changed:
            file, source = self.root / name, ROOT / name
            assert file.is_symlink() or not source.exists() or not file.samefile(source), (
                f"the project's {source} was written: a step's command may write into files of {WRITTEN} alone"
            )
        for name in changed:
            (self.root / name).unlink()
        for name in (name for name, state in self._copied.items() if state != found.get(name)):
            _copy(str(ROOT / name), str(self.root / name), follow_symlinks=False)
        for directory, _, _ in os.walk(self.root, topdown=False):
            if not os.listdir(directory):  # noqa: PTH208
                os.rmdir(directory)  # noqa: PTH106

    def _files(self) -> dict[str, tuple[int, int]]:
        """Return the size and the time of change of each file in it, links not followed."""
        found = {}
        places = [str(self.root)]
        beginning = len(places[0]) + 1
        for place in places:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        places.append(entry.path)
                    else:
                        state = entry.stat(follow_symlinks=False)
                        found[entry.path[beginning:]] = state.st_size, state.st_mtime_ns
        return found

    def follow(self, steps: list[HowToStep]) -> None:
        """Apply each step in order. Raises AssertionError where the page and the project differ."""
        for step in steps:
            getattr(self, f"_{step.kind}")(step)

    def _create(self, step: HowToStep) -> None:
        file = self.root / step.place
        assert not file.exists(), f"{step.place} is there already"
        file.write_text(step.text, encoding="utf-8")

    def _append(self, step: HowToStep) -> None:
        file = self.root / step.place
        _replace(file, f"{file.read_text(encoding='utf-8')}\n\n{step.text}")

    def _change(self, step: HowToStep) -> None:
        file = self.root / step.place
        text = file.read_text(encoding="utf-8")
        lines = [(line[:1] or " ", line[1:]) for line in step.text.splitlines()]
        old = "".join(f"({_pattern(line)})\n" for sign, line in lines if sign != "+")
        places = list(re.finditer(rf"^{old}", text, re.MULTILINE))
        assert len(places) == 1, f"{step.place} has {len(places)} places like this:\n{step.text}"
        kept = iter(places[0].groups())
        new = ""
        for sign, line in lines:
            assert sign != "+" or "…" not in line, f"what is to be added is written in full: {line}"
            line = line if sign == "+" else next(kept)
            new += "" if sign == "-" else f"{line}\n"
        _replace(file, text[: places[0].start()] + new + text[places[0].end() :])

    def _run(self, step: HowToStep) -> None:
        for part in re.split(r"^\$ ", step.text, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            code, output = self._shell(command, self.root, self._environment())
            said = f"$ {command}\n{output}"
            assert code == 0, said
            assert re.fullmatch(_pattern(printed.rstrip()), output.rstrip()), (
                f"the page prints\n{printed}\nseen\n{said}"
            )

    def _environment(self) -> dict[str, str]:
        """Return the reader's environment: a shell of ``./lab shell`` in the copy."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
        return {**kept, "PATH": path, "PYTHONPATH": str(self.root), "NO_COLOR": "1", "COLUMNS": "100"}


def _copy(source: str, copy: str, *, follow_symlinks: bool = True) -> None:
    """Copy a file with its times if a command may write into it. Python and pytest replace what they compile."""
    (shutil.copy2 if source.endswith(WRITTEN) else link_or_copy)(
        source, copy, follow_symlinks=follow_symlinks
    )


def _replace(file: Path, text: str) -> None:
    """Write a file that may be a link to the project's."""
    file.unlink()
    file.write_text(text, encoding="utf-8")


def _pattern(text: str) -> str:
    """Return a regular expression for text in which ``…`` stands for anything, a line of its own for any lines."""
    pieces = re.split(r"^…$\n?", text, flags=re.MULTILINE)
    return r"(?:.*\n)*(?:.*\Z)?".join("[^\n]*".join(map(re.escape, piece.split("…"))) for piece in pieces)
