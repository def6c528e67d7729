# SPDX-License-Identifier: MIT
"""Shows the stages of a run while it goes on: one updating line per running stage on a terminal, plain lines elsewhere.

The view listens to the tape and never disturbs the run: when its stream goes away it falls silent. What it shows is
always a whole line again when :meth:`StageView.close` returns, whatever ended the run.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

from harness.history.record import Record, Stage
from harness.report.escape import printable
from harness.report.style import Style, columns, is_terminal, style_for

TICK = 0.1
"""Seconds between two updates of the elapsed time on a terminal."""


class StageView:
    """Give it to the tape: ``with StageView() as view: tape.subscribe(view)``; it takes records of any kind.

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
        self._lock = threading.Lock()
        self._running: list[tuple[str, int, str]] = []
        self._drawn = 0
        self._closed = threading.Event()
        self._ticker: threading.Thread | None = None

    def __call__(self, record: Record) -> None:
        """Take notice of a record; anything but a :class:`~harness.history.record.Stage` is passed over."""
        if not isinstance(record, Stage) or self._silent or self._closed.is_set():
            return
        with self._lock:
            if record.phase == "begin":
                self._running.append((record.name, record.host_ns, record.detail))
                self._show([])
                self._start_ticking()
            elif record.phase == "note":
                self._note(record)
            else:
                self._finish(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(interrupted=kind is not None)

    def say(self, text: str) -> None:
        """Print a line above the running stages."""
        with self._lock:
            self._show([printable(text, 400)])

    def close(self, *, interrupted: bool = False) -> None:
        """Stop updating. Stages still running get a last line each, marked as not finished; idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._ticker is not None:
            self._ticker.join()
        with self._lock:
            now = time.monotonic_ns()
            word = "interrupted" if interrupted else "not finished"
            last = [self._ended(name, now - began, word, ok=False) for name, began, _ in self._running]
            self._running.clear()
            self._show(last)

    def _note(self, record: Stage) -> None:
        self._show([f"  {printable(record.name, 40)}: {printable(record.detail, 200)}"])

    def _finish(self, record: Stage) -> None:
        took, detail = 0, record.detail
        for place in range(len(self._running) - 1, -1, -1):
            if self._running[place][0] == record.name:
                _, began, beginning = self._running.pop(place)
                took, detail = record.host_ns - began, detail or beginning
                break
        self._show([self._ended(record.name, took, detail, ok=record.phase == "end")])

    def _ended(self, name: str, took: int, detail: str, *, ok: bool) -> str:
        sign = self._style.good("✓") if ok else self._style.bad("✗")
        words = f"  {self._style.faint(printable(detail, 200))}" if detail else ""
        return f"{sign} {printable(name, 40)} {_seconds(took)}{words}"

    def _show(self, finished: list[str]) -> None:
        """Write the finished lines and redraw the running ones below them, in one write."""
        if self._silent:
            return
        if not self._terminal:
            self._write("".join(f"{line}\n" for line in finished))
            return
        # Back to the first of the running lines, and clear from there to the end of the screen.
        text = (
            ("\r" + (f"\x1b[{self._drawn - 1}A" if self._drawn > 1 else "") + "\x1b[J") if self._drawn else ""
        )
        text += "".join(f"{line}\n" for line in finished)
        width = max(20, columns(self._stream) - 1)
        now = time.monotonic_ns()
        running = [self._line(name, now - began, detail)[:width] for name, began, detail in self._running]
        self._drawn = len(running)
        self._write(text + "\n".join(running))

    def _line(self, name: str, elapsed: int, detail: str) -> str:
        words = f"  {printable(detail, 200)}" if detail else ""
        return f"… {printable(name, 40)} {_seconds(elapsed)}{words}"

    def _write(self, text: str) -> None:
        if not text:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # A closed terminal must not end a run that goes well.
            self._silent = True

    def _start_ticking(self) -> None:
        if self._terminal and self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, name="stage-view", daemon=True)
            self._ticker.start()

    def _tick(self) -> None:
        while not self._closed.wait(TICK):
            with self._lock:
                if self._running:
                    self._show([])


def _seconds(nanoseconds: int) -> str:
    return f"{max(0, min(nanoseconds, 1 << 62)) / 1e9:.1f} s"
