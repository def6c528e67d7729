# SPDX-License-Identifier: MIT
"""The lock file: the exact version and the hashes of every package that an environment holds, for one Python."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.errors import UsageError

FOLDER = "locks"


def lock_file(clone: Path, version: tuple[int, int] = sys.version_info[:2]) -> Path:
    """Return the lock file of ``clone`` for the Python ``version``. Raises UsageError if there is none for it."""
    found = clone / FOLDER / "python-{}.{}.txt".format(*version)
    if not found.is_file():
        there = sorted(path.stem for path in (clone / FOLDER).glob("python-*.txt"))
        if not there:
            raise UsageError(
                f"{clone / FOLDER} holds no lock file for any Python", hint="Is the checkout complete?"
            )
        raise UsageError(
            f"no versions are locked for Python {version[0]}.{version[1]}: {found} does not exist",
            hint=f"There are lock files for {', '.join(there)}.\n"
            "  Name one of these Pythons: HOTPLUG_HARNESS_PYTHON=/path/to/python3 ./lab …",
        )
    return found


def requirements(text: str) -> dict[str, str]:
    """Return the requirements of a lock file by the name of their package, each with its hashes.

    A requirement continues after lines that end in a backslash; comments are skipped.
    """
    found = {}
    for requirement in text.replace("\\\n", " ").splitlines():
        if requirement and not requirement.startswith("#"):
            found[requirement.partition("==")[0].strip()] = requirement
    return found
