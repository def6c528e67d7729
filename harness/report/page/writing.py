# SPDX-License-Identifier: MIT
"""Writes the report of a run that has ended: atomically, and readable by its owner only."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.contract.verdict import RunVerdict
from harness.errors import MAKE_ROOM, HarnessError, UsageError, system_errors
from harness.history.private import replacing
from harness.history.reader import History
from harness.history.record import End
from harness.history.run_directory import REPORT, RunDirectory
from harness.invocation import invocation
from harness.report.page.document import ReportInput, report_document
from harness.report.page.html import page
from harness.report.page.perfetto import perfetto_trace


def report_path(history: History) -> Path:
    """Return the default place of a run's report: beside its history."""
    return history.path.parent / REPORT


def check_ended(history: History) -> None:
    """Raise UsageError if the run has not ended: its history has no last record, and ``run.json`` has no end time."""
    facts = RunDirectory(history.path.parent).brief()
    if facts.finished and facts.run == history.header.run:
        return
    ended = False
    for record in history:
        ended = isinstance(record, End)
    if not ended:
        raise UsageError(
            f"the run in {history.path.parent} has not ended: it still goes on, or it was killed",
            hint=f"What it recorded so far: {invocation('show', history.path.parent)}",
        )


def write_report(history: History, verdict: RunVerdict, out: Path) -> int:
    """Write the report of a judged run to ``out`` and return its size in bytes.

    Raises UsageError if ``out`` is a directory, InfrastructureError if it cannot be written.
    """
    return _write(lambda: page(report_document(ReportInput(history=history, verdict=verdict))), out)


def write_trace(history: History, verdict: RunVerdict, out: Path) -> int:
    """Write the timeline of a judged run as a Perfetto trace, as :func:`write_report` writes the page."""
    return _write(lambda: perfetto_trace(report_document(ReportInput(history=history, verdict=verdict))), out)


def _write(made: Callable[[], bytes], out: Path) -> int:
    # Path.is_dir raises where a directory cannot be entered.
    if os.path.isdir(out):  # noqa: PTH112
        raise UsageError(f"{out} is a directory", hint=f"Name a file in it: {out / REPORT}")
    with system_errors(f"cannot write the report {out}", hint=f"Name another place. {MAKE_ROOM}"):
        whole = made()
        with replacing(out) as file:
            file.write(whole)
    return len(whole)


def write_document(document: dict[str, Any], out: Path) -> int:
    """Write the page of a document about several runs, as :func:`write_report` does for one."""
    return _write(lambda: page(document), out)


def run_report(history: History, verdict: RunVerdict) -> Path | None:
    """Return the report beside a run's history. Write it unless there is a newer one.

    Return None if the run has not ended, or if its directory cannot be written.
    """
    report = report_path(history)
    try:
        if report.stat().st_mtime >= history.path.stat().st_mtime:
            return report
    except OSError:
        pass
    try:
        check_ended(history)
        write_report(history, verdict, report)
    except HarnessError:
        return None
    return report


def link_to(report: Path | None, out: Path) -> str:
    """Return the link from the page ``out`` to a report, "" if ``report`` is None."""
    if report is None:
        return ""
    way = os.path.relpath(os.path.realpath(report), os.path.realpath(out.parent))
    return quote(way if way.startswith(f"..{os.sep}") else f".{os.sep}{way}", errors="surrogateescape")
