# SPDX-License-Identifier: MIT
"""The progress of runs that are under way, read from their run directories: each run's stage and plan operation.

The run itself is not asked, so a run that hangs is shown too. Each look reads the new part of the history, up to a
limit.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from harness.history.private import open_regular
from harness.history.record import OperationProgress, Stage
from harness.history.run_directory import FACTS, HISTORY, RunDirectory

LARGEST_LOOK = 1 << 20
"""Bytes of a history that one look reads. A run writes less in half a second. The next looks read the rest of a larger
part."""

MARKS = (b'{"k":"stage"', b'{"k":"operation"')
"""The first bytes of the lines that are decoded. The tag is the first field of every record."""


class RunProgress:
    """The progress of the run at ``directory``. ``stage`` is the innermost stage under way, "" for none.

    ``operation`` is the number of the current or last plan operation, 0 for none. ``doing`` is its name, "" if it has
    ended.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.operation = 0
        self.doing = ""
        self._stages: list[str] = []
        self._at = 0

    @property
    def stage(self) -> str:
        """The stage under way."""
        return self._stages[-1] if self._stages else ""

    def look(self) -> None:
        """Read the new part of the history. A history that cannot be read changes nothing."""
        with contextlib.suppress(OSError):
            with open_regular(self.directory / HISTORY) as file:
                file.seek(self._at)
                data = file.read(LARGEST_LOOK)
            end = data.rfind(b"\n") + 1
            # A line longer than a look is skipped.
            self._at += end or (len(data) if len(data) == LARGEST_LOOK else 0)
            for line in data[:end].splitlines():
                if line.startswith(MARKS):
                    self._note(line)

    def _note(self, line: bytes) -> None:
        try:
            record = msgspec.json.decode(line, type=Stage | OperationProgress)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if isinstance(record, OperationProgress):
            self.operation, self.doing = record.index, record.name if record.phase == "begin" else ""
        elif record.phase == "begin":
            self._stages.append(record.name)
        elif record.phase != "note" and record.name in self._stages:
            self._stages.remove(record.name)


class FollowedRuns:
    """The runs in a directory of runs, found by their commands. Runs that existed before are ignored."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._ignored = set(self._names())
        self._found: dict[tuple[str, ...], RunProgress] = {}

    def look(self, commands: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], RunProgress]:
        """Return the progress of the newest run of each command, for those that have made their run directory."""
        wanted = set(commands)
        # A command that has ended may be started again, with another run.
        self._found = {command: found for command, found in self._found.items() if command in wanted}
        for name in self._names():
            if name in self._ignored or not (self._runs / name / FACTS).is_file():
                continue
            self._ignored.add(name)
            command = tuple(RunDirectory(self._runs / name).brief().argv[1:])
            if command in wanted:
                self._found[command] = RunProgress(self._runs / name)
        for found in self._found.values():
            found.look()
        return dict(self._found)

    def _names(self) -> list[str]:
        try:
            # "latest" and its drafts are links.
            with os.scandir(self._runs) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError:
            return []
