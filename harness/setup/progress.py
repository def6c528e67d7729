# SPDX-License-Identifier: MIT
"""Progress of the set-up on standard error: one changing line on a terminal, few lines elsewhere."""

from __future__ import annotations

import os
import shutil
import time
from typing import TextIO

EVERY = 15.0
"""Seconds between two lines without a terminal."""


class Progress:
    """Shows what the user waits for. ``say`` writes a permanent line; ``show`` writes one that the next one replaces."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
        self._shown = False
        self._began = self._last = time.monotonic()

    def say(self, text: str) -> None:
        """Write a permanent line. The times of ``show`` start here."""
        self._write(f"lab: {text}\n")
        self._began = self._last = time.monotonic()

    def show(self, text: str) -> None:
        """Show the current activity and its duration; on a terminal at once, elsewhere every 15 s."""
        now = time.monotonic()
        minutes, seconds = divmod(int(now - self._began), 60)
        line = f"lab: {minutes}:{seconds:02d} {text}"
        if self._live:
            self._write(line[: shutil.get_terminal_size().columns - 1])
            self._shown = True
        elif now - self._last >= EVERY:
            self._last = now
            self._write(f"{line}\n")

    def clear(self) -> None:
        """Remove the shown line."""
        if self._shown:
            self._write("")

    def _write(self, text: str) -> None:
        self._stream.write(f"\r\x1b[K{text}" if self._shown else text)
        self._stream.flush()
        self._shown = False
