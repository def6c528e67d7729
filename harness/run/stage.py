# SPDX-License-Identifier: MIT
"""Stages of a run as records, so that the log, the stage view and pytest all see the same steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness.errors import HarnessError, of_shortage
from harness.history.record import Stage
from harness.history.writer import HistoryWriter


class Stages:
    """Writes stage records; ``current`` is the innermost current stage, which a fault names."""

    def __init__(self, writer: HistoryWriter) -> None:
        self.current = "start"
        self._writer = writer

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """Record the start and end of a stage. Items appended to the yielded list become the detail of its end.

        Raises InfrastructureError if the host ran out of a resource.
        """
        self.current = name
        said: list[str] = []
        self._writer.write(Stage(name=name, phase="begin"))
        try:
            yield said
        except Exception as error:
            known = error if isinstance(error, HarnessError) else of_shortage(error)
            if known is None:
                raise
            # What a program printed follows in further lines, and is shown with the error.
            self._writer.write(Stage(name=name, phase="fail", detail=known.message.partition("\n")[0]))
            if known is error:
                raise
            raise known from error
        self._writer.write(Stage(name=name, phase="end", detail="; ".join(said)))

    def note(self, name: str, detail: str) -> None:
        """Record progress inside a stage."""
        self._writer.write(Stage(name=name, phase="note", detail=detail))
