# SPDX-License-Identifier: MIT
"""The revision: the git commit of this code, as far as it can be determined without starting git."""

from __future__ import annotations

import re
from pathlib import Path

BUILT = "revision.txt"
"""The file in the package that names its revision; ``hatch_build.py`` adds it to sdists and wheels, a clone
has none."""

LARGEST = 1 << 20
"""Maximum characters read from a file of git."""
SHORT = 12
COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def revision(package: Path) -> str:
    """Return the revision of the package in the directory ``package`` as text, "" if it is unknown.

    A clone may have uncommitted changes, and running git would cost a tenth of the time of a start; so the
    text says *clone at*. A built package says whether its sources were those of the commit.
    """
    if built := _text(package / BUILT):
        return f"revision {built}" if built.isprintable() and len(built) < 200 else ""
    commit = _commit(package.parent / ".git")
    return f"clone at {commit[:SHORT]}" if commit else ""


def _commit(git: Path) -> str:
    """Return the checked-out commit of the repository ``git``; gitrepository-layout(5) documents the files."""
    if linked := _text(git).removeprefix("gitdir: "):
        # A linked worktree or a submodule has a file that names the git directory.
        git = git.parent / linked
    head = _text(git / "HEAD")
    name = head.removeprefix("ref: ")
    if name == head:
        return head if COMMIT.fullmatch(head) else ""
    if not re.fullmatch(r"refs/[^\0]+", name) or ".." in name:
        return ""
    shared = git / (_text(git / "commondir") or ".")
    for folder in (git, shared):
        if COMMIT.fullmatch(commit := _text(folder / name)):
            return commit
    packed = re.search(
        rf"^({COMMIT.pattern}) {re.escape(name)}$", _text(shared / "packed-refs"), re.MULTILINE
    )
    return packed[1] if packed else ""


def _text(file: Path) -> str:
    """Return the stripped text of a file, "" if it cannot be read or does not exist."""
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(LARGEST).strip()
    except (OSError, ValueError):
        return ""
