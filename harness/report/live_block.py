# SPDX-License-Identifier: MIT
"""A block of lines that is redrawn at the bottom of a terminal, below the lines that are finished.

A thread of its own writes to the stream, and what it still has to show is bounded: a terminal that the user stopped (Ctrl-S),
or a pipe that is not read, holds up nothing else. When the stream goes away the block falls silent. The cursor is never
hidden and no mode of the terminal is changed, so that no signal can leave the terminal changed. What is shown is always a whole
line again when :meth:`LiveBlock.stop` returns, unless the stream is stopped then.
"""

from __future__ import annotations

import sys
import threading
from typing import Self, TextIO

from harness import locks
from harness.report.escape import printable
from harness.report.style import Style, columns, is_terminal, rows, style_for

TICK = 0.1
"""Seconds between two updates of the elapsed time on a terminal."""

MOST_LINES = 1000
"""Finished lines that are kept for a stream that takes none; later ones are counted."""

LAST_WORDS = 2.0
"""Seconds that the stream gets to take the last lines."""

NARROWEST = 20
"""Columns that a line of the block has at least."""


class LiveBlock:
    """The base of a view: it implements :meth:`_block`, and calls :meth:`_show` with what is finished.

    The end of a ``with`` statement stops it.

    ``stream`` is standard error if not given. ``quiet`` shows nothing. ``terminal`` and ``style`` are found out from the stream
    if not given. The lock ``_changed`` protects what :meth:`_block` reads.
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
        self._finished: list[str] = []
        self._unshown = 0
        self._drawn: list[str] = []
        self._width = 0
        self._stale = False
        self._closed = False
        self._writer: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _block(self) -> list[str]:
        """Return the lines below the finished ones, on a terminal. They are cut at its width. The caller holds the lock."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Print a line above the block."""
        with self._changed:
            self._show([printable(text, 400)])

    def stop(self) -> None:
        """Clear the block, and stop updating; idempotent.

        A stream that does not take the last lines in time is left, with its thread. If it goes on, the thread writes
        how many lines are not shown.
        """
        with self._changed:
            self._closed = True
            # The last frame has no block.
            self._stale = self._stale or bool(self._drawn)
            self._changed.notify_all()
        if self._writer is not None:
            self._writer.join(LAST_WORDS)
        with self._changed:
            self._unshown += len(self._finished)
            self._finished.clear()

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
        """Write the finished lines and redraw the block below them, whenever something changed or time passed."""
        while not (self._closed and not self._stale):
            with self._changed:
                pause = TICK if self._terminal and self._drawn else None
                self._changed.wait_for(lambda: self._stale or self._closed, pause)
                self._stale = False
                text = self._frame()
            if text:
                self._write(text)

    def _frame(self) -> str:
        finished, self._finished = self._finished, []
        if self._unshown:
            finished.append(f"{self._unshown} lines are not shown: the output was stopped")
            self._unshown = 0
        if not self._terminal:
            return "".join(f"{line}\n" for line in finished)
        width = max(NARROWEST, columns(self._stream) - 1)
        # Back to the first line of the block, and clear from there to the end of the screen. A terminal that became narrower
        # has wrapped the lines.
        up = sum(max(1, -(-len(line) // (width + 1))) for line in self._drawn) - 1
        text = ("\r" + (f"\x1b[{up}A" if up > 0 else "") + "\x1b[J") if self._drawn else ""
        text += "".join(f"{line}\n" for line in finished)
        block = (
            [] if self._closed else [line[:width] for line in self._block()][: max(1, rows(self._stream) - 1)]
        )
        if (block, width, finished) == (self._drawn, self._width, []):
            return ""
        self._drawn, self._width = block, width
        return text + "\n".join(block)

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
