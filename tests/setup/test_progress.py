# SPDX-License-Identifier: MIT
"""The progress of the set-up: on a terminal one line that changes, elsewhere lines that are few."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

from harness.setup.progress import Progress

SHOWING = """
import sys
from harness.setup.progress import Progress

progress = Progress(sys.stderr)
progress.say("building")
progress.show("a")
progress.show("b" * 200)
progress.clear()
progress.say("done")
"""


def test_a_pipe_gets_only_lines_that_stay() -> None:
    """What changes several times a second would fill a log."""
    stream = io.StringIO()
    progress = Progress(stream)
    progress.say("building")
    for _ in range(100):
        progress.show("a")
    progress.clear()
    assert "lab: building\n" == stream.getvalue()


def test_a_terminal_gets_one_line_that_is_replaced() -> None:
    """Each thing shown takes the place of the last, is no wider than the terminal, and is gone in the end."""
    reading, writing = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", SHOWING], stderr=writing, env=environment, check=True, timeout=60)
    os.close(writing)
    written = b""
    try:
        while piece := os.read(reading, 4096):
            written += piece
    except OSError:
        # Linux says that nobody writes any more.
        pass
    finally:
        os.close(reading)
    wide = "lab: 0:00 " + "b" * 69
    expected = f"lab: building\r\nlab: 0:00 a\r\x1b[K{wide}\r\x1b[K\rlab: done\r\n".replace(
        "\r\x1b[K\r", "\r\x1b[K"
    )
    assert expected == written.decode()
