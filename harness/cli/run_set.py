# SPDX-License-Identifier: MIT
"""What the words of a command line mean as a set of recorded runs.

A word is a run directory, a history file, a directory whose entries are runs (``runs``, or those of a nightly run), a
pattern in quotes (``'runs/*-veto-*'``), or the id of a run. A shell's own expansion of a pattern is as good.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from glob import has_magic, iglob
from pathlib import Path

from harness.errors import BadHistory, UsageError
from harness.history.run_directory import HISTORY

RUNS = Path("runs")
"""Where a run is looked for that is called by its id, as its directory is made there by default."""


def run_named(word: str) -> Path:
    """Return the run that ``word`` means: a path, or ``latest``, or the id of a run in ``runs``, or the end of only one.

    A word that names nothing stands for itself, so that whoever reads it says what is wrong with it.
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

    A word that names nothing stands for itself, so that whoever judges it says what is wrong with it and goes on with the
    others. Raises BadHistory for a directory that holds no run, UsageError for a pattern that matches none.
    """
    return _distinct(path for word in words for path in _meant(word))


def run_set(word: str) -> list[Path]:
    """Return the runs that one word of a set means: as :func:`runs_named`, or several of them joined with ``:``, like PATH."""
    if os.path.exists(word) or os.pathsep not in word:  # noqa: PTH110 - Path's raises for too long a name
        return runs_named([word])
    return runs_named(part for part in word.split(os.pathsep) if part)


def _meant(word: str) -> list[Path]:
    path = run_named(word)
    word = str(path)
    if has_magic(word) and not os.path.exists(word):  # noqa: PTH110 - as above
        found = [one for match in sorted(iglob(word)) for one in _inside(Path(match))]  # noqa: PTH207 - absolute patterns
        if not found:
            raise UsageError(f"no run matches {word!r}", hint=f"A run is a directory with a {HISTORY}.")
        return found
    if not os.path.isdir(word) or (path / HISTORY).exists():  # noqa: PTH112 - as above
        return [path]
    found = _inside(path)
    if not found:
        raise BadHistory(
            f"{path} is neither a run nor a directory of runs",
            hint=f"A run directory holds a file called {HISTORY}.",
        )
    return found


def _inside(path: Path) -> list[Path]:
    """Return the runs at ``path`` that a pattern or a directory can mean: itself, or those directly in it."""
    if not path.is_dir():
        return [path] if path.suffix == ".jsonl" else []
    if (path / HISTORY).exists():
        return [path]
    return sorted(history.parent for history in path.glob(f"*/{HISTORY}"))


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """Leave out a run that was named before: ``runs/*`` names the newest twice, once as the link ``runs/latest``."""
    chosen: dict[Path, Path] = {}
    for path in paths:
        real = path.resolve()
        if real not in chosen or chosen[real].is_symlink():
            chosen[real] = path
    return list(chosen.values())
