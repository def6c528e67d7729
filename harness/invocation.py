# SPDX-License-Identifier: MIT
"""Commands to print: they start the harness in the same way as this process was started.

``./lab harness``, the program ``harness`` and ``python -m harness`` are three ways to the same command line, and often only
one of them works at a user's prompt. ``./lab`` sets :data:`STARTED_AS`; Python identifies the others.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import unicodedata
from pathlib import Path

STARTED_AS = "HOTPLUG_HARNESS_STARTED_AS"
"""The environment variable with the command that starts the harness, quoted. ``./lab`` sets it."""

NAME = "harness"
MODULE = Path(__file__).with_name("__main__.py")


def invocation(*words: str | Path) -> str:
    """Return the command that starts the harness with ``words``, quoted for a shell and harmless on a terminal.

    A word in capitals stands for a value that only the user knows: ``invocation("evidence", "show", "RUN")``.
    """
    return " ".join([program(), *map(quoted, words)])


def program() -> str:
    """Return the command that starts the harness from this process's working directory, quoted: ``./lab harness``."""
    told = os.environ.get(STARTED_AS, "")
    if told and told.isprintable():
        return told
    return " ".join(map(quoted, _started()))


def quoted(word: str | Path) -> str:
    r"""Return ``word`` as one word for a shell. A path is never taken for an option.

    Characters that a terminal would interpret or not show are written as ``$'\x1b'``, for bash, zsh and newer POSIX shells.
    """
    text = f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)
    if all(map(_plain, text)):
        return shlex.quote(text)
    return "$'" + "".join(_escaped(character) for character in text) + "'"


def _started() -> list[str]:
    script = Path(sys.argv[0] if sys.argv else "")
    if _same(script, MODULE):
        words = sys.orig_argv
        places = [
            place for place, word in enumerate(words[1:-1], 1) if words[place : place + 2] == ["-m", NAME]
        ]
        start = words[: places[0] + 2] if places else [words[0], "-m", NAME]
        return start if shutil.which(start[0]) else [sys.executable, "-m", NAME]
    if script.name != NAME:
        # Part of another program, such as pytest: its environment has the harness.
        script = Path(sys.executable).with_name(NAME)
    found = shutil.which(NAME)
    if found and _same(Path(found), script):
        return [NAME]
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", NAME]


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def _plain(character: str) -> bool:
    return character.isprintable() and unicodedata.category(character) not in ("Mn", "Me", "Mc")


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if _plain(character):
        return character
    try:
        code = os.fsencode(character)
    except UnicodeEncodeError:
        code = character.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in code)
