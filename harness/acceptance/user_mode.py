# SPDX-License-Identifier: MIT
"""An application's arrival notifications compared with the driver's: ``hpnctl watch --json``."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from harness.history import driver as d
from harness.history.json_file import decoded
from harness.history.reader import History

FILE = "user-mode.jsonl"
MOST_LINES = 10_000
LONGEST_LINE = 8192


_ARRIVAL = re.compile(r"qpc=(\d{1,19}) .*?\bcls=(cpu|memory) ")
"""The performance counter at the message, and the class of the interface, in the format of ``hpnctl
watch``."""


class _Heard(msgspec.Struct):
    """One line: a guest event with its details as ``key=value``."""

    event: str = ""
    detail: str = ""


def heard(directory: Path) -> list[str]:
    """Return sentences on when user mode received each class of arrival, compared with the driver; [] without a listener."""
    files = sorted(directory.rglob(FILE))
    if not files:
        return []
    told: dict[str, list[int]] = {}
    hz = 0
    for record in History(directory):
        if isinstance(record, d.Hello):
            hz = record.hz
        elif isinstance(record, d.AsyncEnter) and record.event == "arrival":
            told.setdefault(record.cls, []).append(record.qpc)
    applications: dict[str, list[int]] = {}
    for line in _lines(files[0]):
        found = _ARRIVAL.match(line.detail) if line.event == "app.arrival" else None
        if found is not None:
            applications.setdefault(found[2], []).append(int(found[1]))
    return [
        _sentence(cls, sorted(applications.get(cls, [])), sorted(told.get(cls, [])), hz)
        for cls in ("cpu", "memory")
    ]


def _lines(file: Path) -> list[_Heard]:
    found: list[_Heard] = []
    with file.open("rb") as stream:
        for _ in range(MOST_LINES):
            line = stream.readline(LONGEST_LINE)
            if not line:
                break
            if (heard := decoded(line, _Heard)) is not None:
                found.append(heard)
    return found


def _sentence(cls: str, applications: list[int], driver: list[int], hz: int) -> str:
    if not applications:
        return f"user mode heard of no {cls} arrival, the driver of {len(driver)}"
    if not driver or hz <= 0:
        return f"user mode heard of {len(applications)} {cls} arrivals, the driver of none"
    apart = (applications[0] - driver[0]) * 1_000_000 // hz
    order = "after" if apart >= 0 else "before"
    return (
        f"user mode heard of the first {cls} arrival {abs(apart)} us {order} the driver "
        f"({len(applications)} and {len(driver)} arrivals)"
    )
