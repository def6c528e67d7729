# SPDX-License-Identifier: MIT
"""Shows the stages of a run while it goes on: one updating line per running stage on a terminal, plain lines elsewhere.

The view listens to the history and never disturbs the run (:mod:`harness.report.live_block`).
"""

from __future__ import annotations

import time
from typing import TextIO

from harness.history.record import OperationProgress, Record, Stage
from harness.report.escape import printable
from harness.report.live_block import LiveBlock
from harness.report.style import Style


class StageView(LiveBlock):
    """Give it to the history: ``with StageView() as view: writer.subscribe(view)``; it takes records of any kind.

    ``stream`` is standard error if not given, so that standard output stays for the result. ``quiet`` shows nothing
    (for ``--json``). ``terminal`` and ``style`` say how to show it; found out from the stream if not given.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        quiet: bool = False,
        terminal: bool | None = None,
        style: Style | None = None,
    ) -> None:
        super().__init__(stream, quiet=quiet, terminal=terminal, style=style)
        self._running: list[tuple[str, int, str]] = []
        self._begun: set[str] = set()
        self._operating = False

    def __call__(self, record: Record) -> None:
        """Take notice of a record; anything but stages and their notes is passed over.

        What a machine notes of its own while an operation is carried out is not shown: it says the operation again.
        """
        if isinstance(record, OperationProgress):
            self._operating = record.phase == "begin"
        if not isinstance(record, Stage):
            return
        with self._changed:
            if record.phase == "begin":
                self._begun.add(record.name)
                self._running.append((record.name, record.host_ns, record.detail))
                self._show([])
            elif record.phase == "note":
                if self._operating and record.name not in self._begun:
                    return
                self._show([f"  {printable(record.name, 40)}: {printable(record.detail, 200)}"])
            else:
                self._show(self._finish(record))

    def __exit__(self, *raised: object) -> None:
        self.close(interrupted=raised[0] is not None)

    def close(self, *, interrupted: bool = False) -> None:
        """Stop updating. Stages still running get a last line each, marked as not finished; idempotent.

        A stream that does not take the last lines in time is left, with its thread. If it goes on, the thread writes
        how many lines are not shown.
        """
        with self._changed:
            now = time.monotonic_ns()
            word = "interrupted" if interrupted else "not finished"
            last = [
                line
                for name, began, _ in self._running
                for line in self._ended(name, now - began, word, ok=False)
            ]
            self._running.clear()
            self._show(last)
        self.stop()

    def _finish(self, record: Stage) -> list[str]:
        took, detail = 0, record.detail
        for place in range(len(self._running) - 1, -1, -1):
            if self._running[place][0] == record.name:
                _, began, beginning = self._running.pop(place)
                took, detail = record.host_ns - began, detail or beginning
                break
        return self._ended(record.name, took, detail, ok=record.phase == "end")

    def _ended(self, name: str, took: int, detail: str, *, ok: bool) -> list[str]:
        sign = self._style.good("✓") if ok else self._style.bad("✗")
        head = f"{printable(name, 40)} {_seconds(took)}"
        words = f"  {printable(detail, 200)}" if detail else ""
        first, *rest = self._style.fold(f"✓ {head}{words}")
        plain = len(f"✓ {head}")
        return [f"{sign}{first[1:plain]}{self._style.faint(first[plain:])}", *map(self._style.faint, rest)]

    def _block(self) -> list[str]:
        now = time.monotonic_ns()
        return [self._line(name, now - began, detail) for name, began, detail in self._running]

    def _line(self, name: str, elapsed: int, detail: str) -> str:
        words = f"  {printable(detail, 200)}" if detail else ""
        return f"… {printable(name, 40)} {_seconds(elapsed)}{words}"


def _seconds(nanoseconds: int) -> str:
    return f"{max(0, min(nanoseconds, 1 << 62)) / 1e9:.1f} s"
