# SPDX-License-Identifier: MIT
"""Reports about several runs: two side by side, and all of a set, from which one gets to each run's own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.judged import judged
from harness.cli.run_set import run_named, runs_named
from harness.contract.checker import judge_history
from harness.contract.coverage import coverage
from harness.contract.verdict import RunVerdict
from harness.errors import UsageError
from harness.history.run_directory import REPORT, RunDirectory
from harness.lab.nightly_state import STATE
from harness.report.escape import printable
from harness.report.page.comparison import ComparedReport, comparison_document
from harness.report.page.run_set import RunSetDocument
from harness.report.page.writing import check_ended, link_to, run_report, write_document
from harness.run.judging import open_history
from harness.store.source import night_sources

if TYPE_CHECKING:
    from harness.cli.documents import ReportDocument

COMPARISON = "comparison.html"
"""The page of a comparison, beside the history of the second run."""


def compare_runs(first: str, second: str, out: Path | None) -> ReportDocument:
    """Write the comparison of two runs of one plan, and the report of each that has none."""
    histories = [open_history(run_named(word)) for word in (first, second)]
    for history in histories:
        check_ended(history)
    out = out or histories[1].path.parent / COMPARISON
    runs = []
    for history in histories:
        verdict = judge_history(history)
        link = link_to(run_report(history, verdict), out)
        runs.append(ComparedReport(history=history, verdict=verdict, link=link))
    document, result = comparison_document(runs[0], runs[1])
    return {"report": str(out), "bytes": write_document(document, out), "verdict": result, "runs": len(runs)}


def report_set(word: str, out: Path | None, *, quiet: bool) -> ReportDocument:
    """Write the report of all runs that ``word`` names, and the report of each run that has none."""
    named = Path(word)
    if not (os.path.exists(word) or has_magic(word)):  # noqa: PTH110 - Path's raises for too long a name
        raise UsageError(
            f"{word}: no such directory",
            hint="Name one that holds runs, for example runs, or the directory of a nightly run.",
        )
    cells = list(_cells(word))
    if out is None and not os.path.isdir(word):  # noqa: PTH112 - as above
        raise UsageError(
            f"{word!r} is not a directory in which a page could lie", hint="Name the page: -o runs.html."
        )
    out = out or named / REPORT
    document = RunSetDocument(printable(named.resolve().name if os.path.isdir(word) else word))  # noqa: PTH112
    for _, point, repetition, why in (cell for cell in cells if cell[0] is None):
        document.miss(point, repetition, why)
    there = [(path, point, repetition) for path, point, repetition, _ in cells if path is not None]
    with judged([path for path, *_ in there], quiet=quiet) as results:

        def verdicts() -> Iterator[RunVerdict]:
            for run, (path, point, repetition) in zip(results, there, strict=True):
                link = ""
                if run.verdict is not None:
                    with contextlib.suppress(UsageError):
                        link = link_to(run_report(open_history(path), run.verdict), out)
                    yield run.verdict
                at = point or " ".join(filter(None, (run.guest or "?", run.plan, _fault(path))))
                document.add(run, point=at, repetition=repetition, link=link)

        rules = coverage(verdicts())
    told = document.document(rules)
    return {
        "report": str(out),
        "bytes": write_document(told, out),
        "verdict": told["verdict"],
        "runs": told["runs"],
    }


def _cells(word: str) -> Iterator[tuple[Path | None, str, int, str]]:
    """Yield each run: where it is, its point and its repetition, "" and 0 if they are not known, and why there is none."""
    if os.path.isfile(os.path.join(word, STATE)):  # noqa: PTH113, PTH118 - Path's raises for too long a name
        for source in night_sources(Path(word)):
            if source.counted:
                yield source.path, source.point, source.repetition, source.word
        return
    for path in runs_named([word]):
        yield path, "", 0, ""


def _fault(path: Path) -> str:
    """Return the fault that was injected into a run, so that such runs are points of their own."""
    with contextlib.suppress(UsageError):
        fault = RunDirectory(path).facts().fault
        return f"with {fault}" if fault else ""
    return ""
