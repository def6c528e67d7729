# SPDX-License-Identifier: MIT
"""A guest's own recordings, which it supplies at the end of its plan, and which are judged with the
history."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import msgspec

from harness.capture.offline.recordings import FILES
from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.guest.guest import CollectedFile, Guest
from harness.history.json_file import indented

FOLDER = "guest"
"""The folder of a guest's own files in the directory of a successful run."""

LIST = "collected.json"
"""The list of the files with their SHA-256, and of what could not be collected, beside the files."""


def hand_over(guest: Guest, into: Path, run: Path, deadline: Deadline) -> list[CollectedFile]:
    """Make ``guest`` put its files into the directory ``into``, and the driver's channels where a judge finds them.

    Raises InfrastructureError if the run directory cannot be written.
    """
    try:
        into.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = guest.collect(into, deadline)
        (into / LIST).write_bytes(_described(found, run))
        for one in found:
            if one.channel and one.file is not None and not (run / FILES[one.channel]).exists():
                _link(one.file, run / FILES[one.channel])
    except OSError as error:
        raise InfrastructureError(
            f"cannot write {error.filename}: {error.strerror}", hint="Is there room on the disk?"
        ) from error
    return found


def summary(found: list[CollectedFile]) -> str:
    """Return one line about what was supplied and what was not."""
    had = [one.name for one in found if one.file is not None]
    refused = [f"{one.name}: {one.refused}" for one in found if one.refused]
    return "; ".join([", ".join(had) or "nothing", *refused])[:1000]


def _described(found: list[CollectedFile], run: Path) -> bytes:
    rows = []
    for one in found:
        row = {name: value for name, value in msgspec.structs.asdict(one).items() if value}
        if one.file is not None:
            row["file"] = str(one.file.relative_to(run)) if one.file.is_relative_to(run) else one.file.name
        rows.append(row)
    return indented(rows)


def _link(file: Path, target: Path) -> None:
    """Link a file, or copy it if the file system has no links: a trace may be large."""
    with contextlib.suppress(OSError):
        os.link(file, target)
        return
    shutil.copyfile(file, target)
