# SPDX-License-Identifier: MIT
"""The driver's sources: their folder, their revision, and the digest of what is built from them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import MissingPart
from harness.package import data_folder
from harness.program import run_program
from harness.setup.cache import WORKABLE

IMPORT_LISTS = ("ntoskrnl", "hal", "wdfldr")
"""The lists of the driver's allowed imports, ``cross/imports/*.def``."""


def driver_folder() -> Path:
    """Return ``guest_drivers/hpnotify``. Raises MissingPart if the package has no data."""
    return data_folder("guest_drivers") / "hpnotify"


def source_error(output: str) -> str:
    """Return the first line in which a compiler reports an error in a source, "" if it reports none, or that it lacks a file."""
    found = re.search(r"^.*:\d+: error: .*$", output, re.MULTILINE)
    return found[0].strip()[:300] if found is not None and "fatal error: " not in output else ""


def makefile(folder: Path, name: str, place: Path) -> Path:
    """Return the path of ``name/Makefile`` of the sources, for ``make -f``, which splits paths at spaces.

    If the package's directory has a space in its path, the returned path leads through a link in ``place``.
    """
    if not WORKABLE.fullmatch(str(folder)):
        link = place / "sources"
        link.symlink_to(folder)
        folder = link
    return folder / name / "Makefile"


def digest_of_folders(root: Path, folders: Iterable[str], *others: str) -> str:
    """Return 64 hex digits that identify every file below ``folders`` of ``root``, names included, and ``others``.

    The path of ``root`` does not count, nor do compiled Python files there.
    """
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.parent.name != "__pycache__":
                content = path.read_bytes()
                digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    for other in others:
        digest.update(f"{len(other)}\0{other}".encode())
    return digest.hexdigest()


def revision(folder: Path, deadline: Deadline) -> str:
    """Return the git revision of the sources, with ``-dirty`` if they differ from it, "" outside a repository.

    The package may be installed inside another repository, whose revision says nothing about the sources.
    """
    try:
        tracked = run_program(["git", "ls-files", "--", "."], deadline, cwd=folder)
        head = run_program(["git", "rev-parse", "HEAD"], deadline, cwd=folder)
        changed = run_program(["git", "status", "--porcelain", "--", "."], deadline, cwd=folder)
    except MissingPart:
        return ""
    if head.status or changed.status or not tracked.output.strip():
        return ""
    return head.output.strip() + ("-dirty" if changed.output.strip() else "")


def allowed_imports() -> dict[str, frozenset[str]]:
    """Return the driver's allowed imports by library in lower case: exports of every supported Windows."""
    allowed: dict[str, frozenset[str]] = {}
    for name in IMPORT_LISTS:
        text = (driver_folder() / "cross" / "imports" / f"{name}.def").read_text(encoding="utf-8")
        words = [line.split(";")[0].strip() for line in text.splitlines()]
        library = next(word.split()[1] for word in words if word.startswith("LIBRARY "))
        exports = words[words.index("EXPORTS") + 1 :]
        allowed[library.lower()] = frozenset(word for word in exports if word)
    return allowed
