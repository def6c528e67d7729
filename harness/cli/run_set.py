# SPDX-License-Identifier: MIT
"""The set of recorded runs that the arguments of a command line name.

An argument is a run directory, a history file, a directory whose entries are runs (``runs``, or those of a
nightly run), a quoted pattern (``'runs/*-veto-*'``), or the id of a run. A pattern may also be expanded by
the shell.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from glob import has_magic, iglob
from pathlib import Path

from harness.errors import BadHistory, UsageError
from harness.history.run_directory import HISTORY

RUNS = Path("runs")
"""The folder in which a run is found by its id: the default folder of run directories."""


def run_named(word: str) -> Path:
    """Return the run that ``word`` names: a path, ``latest``, the id of a run in ``runs``, or a unique end of one.

    A word that names nothing is returned as a path, so that its reader reports the error.
    """
    if os.path.exists(word) or not word or os.sep in word:  # noqa: PTH110 - Path's raises for too long a name
        return Path(word)
    try:
        if (RUNS / word).exists():
            return RUNS / word
        ending = [one for one in RUNS.iterdir() if one.name.endswith(f"-{word}") and not one.is_symlink()]
    except OSError:
        return Path(word)
    return ending[0] if len(ending) == 1 else Path(word)


def runs_named(words: Iterable[str]) -> list[Path]:
    """Return the runs that ``words`` name, in their order, each once.

    A word that names nothing is returned as a path, so that judging it reports the error and continues with
    the others. Raises BadHistory for a directory without a run, UsageError for a pattern that matches none.
    """
    return _distinct(path for word in words for path in _meant(word))


def run_set(word: str) -> list[Path]:
    """Return the runs that one word of a set names: as :func:`runs_named`, or several of them joined with ``:``, like PATH."""
    if os.path.exists(word) or os.pathsep not in word:  # noqa: PTH110 - Path's raises for too long a name
        return runs_named([word])
    return runs_named(part for part in word.split(os.pathsep) if part)


def _meant(word: str) -> list[Path]:
    path = run_named(word)
    word = str(path)
    if has_magic(word) and not os.path.lexists(word):
        found = [one for match in sorted(iglob(word)) for one in _inside(Path(match))]  # noqa: PTH207 - absolute patterns
        if not found:
            raise UsageError(f"no run matches {word!r}", hint=f"A run is a directory with a {HISTORY}.")
        return found
    if not os.path.isdir(word):  # noqa: PTH112 - as above
        return [path]
    found = _inside(path)
    if not found:
        if not os.access(path, os.R_OK):
            raise BadHistory(f"{path}: Permission denied", hint="Give a directory that you may read.")
        raise BadHistory(
            f"{path} is neither a run nor a directory of runs",
            hint=f"A run directory holds a file called {HISTORY}.",
        )
    return found


def _inside(path: Path) -> list[Path]:
    """Return the runs at ``path`` for a pattern or a directory: itself, or those directly in it."""
    # Not Path's methods: they raise for a directory without search permission.
    if not os.path.isdir(path):  # noqa: PTH112
        return [path] if path.suffix == ".jsonl" else []
    if _may_be_run(path):
        return [path]
    try:
        names = sorted(os.listdir(path))  # noqa: PTH208
    except OSError:
        return []
    inside = [path / name for name in names]
    return [one for one in inside if os.path.isdir(one) and _may_be_run(one)]  # noqa: PTH112


def _may_be_run(path: Path) -> bool:
    """Return whether a directory has a history, or may have one: judging reports one without search permission."""
    return not os.access(path, os.X_OK) or os.path.exists(path / HISTORY)  # noqa: PTH110


def one_run(path: Path) -> Path:
    """Return ``path`` if it is a directory that may be entered. Raises UsageError with the system's message."""
    try:
        # Of its own entry, to detect a directory without search permission.
        os.stat(f"{path}/{os.curdir}")  # noqa: PTH116
    except (OSError, ValueError) as error:
        # A ValueError is about a null byte in the name.
        raise UsageError(
            f"{path}: {getattr(error, 'strerror', error)}",
            hint="Give the directory of a run, for example runs/latest.",
        ) from error
    return path


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """Skip a run that was already named: ``runs/*`` names the newest twice, once as the link ``runs/latest``."""
    chosen: dict[Path, Path] = {}
    for path in paths:
        # Path.resolve raises for circular links.
        real = Path(os.path.realpath(path))
        if real not in chosen or chosen[real].is_symlink():
            chosen[real] = path
    return list(chosen.values())
