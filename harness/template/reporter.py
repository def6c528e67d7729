# SPDX-License-Identifier: MIT
"""Stages of a build as records on its history, so that the terminal and the log show the same steps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from harness.errors import HarnessError
from harness.history.record import Stage
from harness.history.writer import HistoryWriter
from harness.template.progress import BuildPosition


class Reporter:
    """The writer of a build's position. ``seconds`` adds up the time of each stage."""

    def __init__(self, writer: HistoryWriter, seconds: dict[str, float] | None = None) -> None:
        self.seconds = dict(seconds or {})
        self._writer = writer
        self._current = ""
        self._stage = ""
        self._began = 0.0

    def reach(self, reached: BuildPosition) -> None:
        """End the current stage or step, and begin this one."""
        self.end()
        self._current, self._stage, self._began = reached.words(), str(reached.stage), time.monotonic()
        self._writer.write(Stage(name=self._current, phase="begin"))

    def end(self, error: HarnessError | None = None) -> None:
        """End the current stage or step, if there is one, successfully or with ``error``."""
        if not self._current:
            return
        took = time.monotonic() - self._began
        self.seconds[self._stage] = round(self.seconds.get(self._stage, 0.0) + took, 1)
        phase = "fail" if error else "end"
        self._writer.write(Stage(name=self._current, phase=phase, detail=error.message if error else ""))  # type: ignore[arg-type]
        self._current = ""

    def note(self, text: str) -> None:
        """Record a note within a stage."""
        self._writer.write(Stage(name=self._current or "build", phase="note", detail=text))

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """Record the start and end of the host's own work. Text appended to the yielded list becomes the detail of its end."""
        said: list[str] = []
        self._writer.write(Stage(name=name, phase="begin"))
        try:
            yield said
        except HarnessError as error:
            self._writer.write(Stage(name=name, phase="fail", detail=error.message))
            raise
        self._writer.write(Stage(name=name, phase="end", detail="; ".join(said)))
