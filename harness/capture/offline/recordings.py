# SPDX-License-Identifier: MIT
"""The recordings of channels in a run directory, found by their usual names, without reading them."""

from __future__ import annotations

import mmap
from pathlib import Path

from harness.history.reader import History

FILES = {
    "debugcon": "debugcon.log",
    "etw": "hpnotify.etl",
    "dbgprint": "dbgprint.jsonl",
    "dbgprint-etw": "dbgprint.etl",
    "ring": "ring.jsonl",
}
"""The file of each channel in a run directory."""


def recordings(history: History) -> dict[str, Path]:
    """Return the files of channels that are beside a history under their usual names, and that it lacks."""
    directory = history.path.parent
    present = {name: directory / file for name, file in FILES.items() if (directory / file).is_file()}
    return {name: file for name, file in present.items() if not _has(history.path, name)}


def _has(history: Path, channel: str) -> bool:
    """Return whether a history names the channel, in a driver's record or in an account."""
    with history.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return any(text.find(b'"%s":"%s"' % (key, channel.encode())) >= 0 for key in (b"channel", b"name"))
