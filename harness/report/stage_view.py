# SPDX-License-Identifier: MIT
"""Shows the stages of a run while it goes on: one updating line per running stage on a terminal, plain lines elsewhere.

The view listens to the history and never disturbs the run. A thread of its own writes to the stream, and what it still has
to show is bounded: a terminal that the user stopped (Ctrl-S), or a pipe that nobody reads, holds up nothing else. When the
stream goes away the view falls silent. What it shows is always a whole line again when :meth:`StageView.close` returns,
whatever ended the run, unless the stream is stopped then.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

from harness import locks
from harness.history.record import OperationProgress, Record, Stage
from harness.report.escape import printable
from harness.report.style import Style, columns, is_terminal, style_for

TICK = 0.1
"""Seconds between two updates of the elapsed time on a terminal."""

MOST_LINES = 1000
"""Finished lines that are kept for a stream that takes none; later ones are counted."""

LAST_WORDS = 2.0
"""Seconds that the stream gets to take the last lines."""


class StageView:
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
        self._stream = sys.stderr if stream is None else stream
        self._silent = quiet
        self._terminal = is_terminal(self._stream) if terminal is None else terminal
        self._style = style or style_for(self._stream)
        self._changed = locks.condition("stage view")
        self._running: list[tuple[str, int, str]] = []
        self._begun: set[str] = set()
        self._operating = False
        self._finished: list[str] = []
        self._unshown = 0
        self._drawn = 0
        self._stale = False
        self._closed = False
        self._writer: threading.Thread | None = None

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(interrupted=kind is not None)

    def say(self, text: str) -> None:
        """Print a line above the running stages."""
        with self._changed:
            self._show([printable(text, 400)])

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
            self._closed = True
            self._changed.notify_all()
        if self._writer is not None:
            self._writer.join(LAST_WORDS)
        with self._changed:
            self._unshown += len(self._finished)
            self._finished.clear()

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

    def _show(self, finished: list[str]) -> None:
        """Note what is to be shown, for the writing thread. The caller holds the lock."""
        if self._silent or self._closed:
            return
        kept = finished[: MOST_LINES - len(self._finished)]
        self._finished += kept
        self._unshown += len(finished) - len(kept)
        self._stale = True
        self._changed.notify_all()
        if self._writer is None:
            writer = threading.Thread(target=self._work, name="stage-view", daemon=True)
            try:
                writer.start()
            except RuntimeError:
                # The system gives no thread. The run needs some itself, and says so.
                self._silent = True
                return
            self._writer = writer

    def _work(self) -> None:
        """Write the finished lines and redraw the running ones below them, whenever something changed or time passed."""
        while not (self._closed and not self._stale):
            with self._changed:
                pause = TICK if self._terminal and self._running else None
                self._changed.wait_for(lambda: self._stale or self._closed, pause)
                self._stale = False
                text = self._frame()
            self._write(text)

    def _frame(self) -> str:
        finished, self._finished = self._finished, []
        if self._unshown:
            finished.append(f"{self._unshown} lines are not shown: the output was stopped")
            self._unshown = 0
        if not self._terminal:
            return "".join(f"{line}\n" for line in finished)
        # Back to the first of the running lines, and clear from there to the end of the screen.
        text = (
            ("\r" + (f"\x1b[{self._drawn - 1}A" if self._drawn > 1 else "") + "\x1b[J") if self._drawn else ""
        )
        text += "".join(f"{line}\n" for line in finished)
        width = max(20, columns(self._stream) - 1)
        now = time.monotonic_ns()
        running = [self._line(name, now - began, detail)[:width] for name, began, detail in self._running]
        self._drawn = len(running)
        return text + "\n".join(running)

    def _line(self, name: str, elapsed: int, detail: str) -> str:
        words = f"  {printable(detail, 200)}" if detail else ""
        return f"… {printable(name, 40)} {_seconds(elapsed)}{words}"

    def _write(self, text: str) -> None:
        try:
            # Not through Python's buffer: Python needs its lock to end, and a write to a stopped stream would keep it.
            raw = self._stream.buffer.raw  # type: ignore[union-attr]
            data = text.encode(self._stream.encoding or "utf-8", "backslashreplace")
            while data:
                data = data[raw.write(data) or 0 :]
        except AttributeError:  # the stream is in memory
            self._stream.write(text)
        except (OSError, ValueError):
            # A closed terminal must not end a run that goes well.
            self._silent = True


def _seconds(nanoseconds: int) -> str:
    return f"{max(0, min(nanoseconds, 1 << 62)) / 1e9:.1f} s"
