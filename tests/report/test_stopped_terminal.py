# SPDX-License-Identifier: MIT
"""A terminal that takes nothing, because it was stopped or is not read, holds up neither the history nor the end."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from harness.history.record import Stage
from harness.history.writer import HistoryWriter
from harness.report import live_block
from harness.report.stage_view import StageView
from harness.report.style import Style

PLAIN = Style(colour=False)

PATIENCE = 30.0
"""Seconds after which what should have ended hangs."""

NOTES = 1000
"""More lines than a pseudo-terminal and the view together keep."""


class Terminal:
    """A pseudo-terminal that is not read until :meth:`read` begins to; ``stream`` writes to it."""

    def __init__(self) -> None:
        self._master, slave = os.openpty()
        self.stream: TextIO = open(slave, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        self._said = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)

    def stop(self) -> None:
        """Stop the output, as Ctrl-S does."""
        termios.tcflow(self.stream.fileno(), termios.TCOOFF)

    def go_on(self) -> None:
        """Let the output go on, as Ctrl-Q does."""
        termios.tcflow(self.stream.fileno(), termios.TCOON)

    def read(self) -> None:
        """Begin to read, as a terminal window does."""
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # Linux ends a pseudo-terminal that nobody has open with EIO
            while data := os.read(self._master, 1 << 16):
                self._said += data

    def close(self) -> str:
        """Close it and return what was read."""
        self.stream.close()
        if self._reader.ident is not None:
            self._reader.join(PATIENCE)
        os.close(self._master)
        return self._said.decode("utf-8")


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A pseudo-terminal that is not read."""
    terminal = Terminal()
    yield terminal
    with contextlib.suppress(OSError):
        terminal.close()


def shown_and_not(text: str) -> tuple[int, int]:
    """Return how many notes and last lines a terminal got, and how many it was told that it did not get."""
    shown = len(re.findall(r"^.*  (?:noted|boot): |✗ boot ", text, re.MULTILINE))
    return shown, sum(int(number) for number in re.findall(r"(\d+) lines are not shown", text))


def let_writer_end() -> None:
    """Wait for the threads of views to end."""
    for thread in threading.enumerate():
        if thread.name == "stage-view":
            thread.join(PATIENCE)


@pytest.mark.parametrize("stopped", [True, False])
def test_the_history_goes_on(
    tmp_path: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """A thousand notes reach the history though the terminal takes none; later it says how many it did not show."""
    monkeypatch.setattr(live_block, "LAST_WORDS", PATIENCE)
    monkeypatch.setattr(live_block, "MOST_LINES", NOTES // 3)
    if stopped:
        terminal.stop()
    view = StageView(terminal.stream, terminal=True, style=PLAIN)
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        writer.subscribe(view)

        def write() -> None:
            for number in range(NOTES):
                writer.write(Stage(name="noted", phase="note", detail=f"{number:0200}"))

        writing = threading.Thread(target=write, daemon=True)
        writing.start()
        writing.join(PATIENCE)
        assert (False, NOTES) == (writing.is_alive(), writer.count)
    terminal.go_on()
    terminal.read()
    view.close()
    shown, unshown = shown_and_not(terminal.close())
    assert NOTES == shown + unshown
    assert 0 < unshown < NOTES


def test_a_terminal_that_stays_stopped_does_not_keep_the_view(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing ends in its time; when the terminal goes on, it is told what it did not get."""
    monkeypatch.setattr(live_block, "LAST_WORDS", 0.1)
    terminal.stop()
    view = StageView(terminal.stream, terminal=True, style=PLAIN)
    view(Stage(name="boot", phase="begin"))
    view(Stage(name="boot", phase="note", detail="slow"))
    closing = threading.Thread(target=view.close, daemon=True)
    closing.start()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    terminal.go_on()
    terminal.read()
    let_writer_end()
    shown, unshown = shown_and_not(terminal.close())
    assert 2 == shown + unshown


PROGRAM = """
import sys
from harness.history.record import Stage
from harness.report.stage_view import StageView
with StageView(terminal=True) as view:
    view(Stage(name="boot", phase="begin"))
print("over", flush=True)
"""


def test_a_terminal_that_stays_stopped_does_not_keep_the_process(terminal: Terminal) -> None:
    """A program whose standard error stays stopped comes to its end, with the exit code that it wanted."""
    terminal.stop()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=terminal.stream.fileno(),
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (0, "over\n") == (done.returncode, done.stdout)
