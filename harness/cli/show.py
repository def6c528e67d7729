# SPDX-License-Identifier: MIT
"""``harness show``: everything that is known about one recorded run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.output import say_json, say_result
from harness.cli.parameters import Json
from harness.errors import ExitCode, UsageError
from harness.invocation import invocation

if TYPE_CHECKING:
    from harness.cli.documents import ShowDocument, TimingDocument
    from harness.history.reader import History


def show(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run directory or history file, 'latest', or the id of a run in runs/."
        ),
    ],
    everything: Annotated[
        bool, typer.Option("--all", help="Every record of the history, one line each.")
    ] = False,
    timing: Annotated[
        bool, typer.Option("--timing", help="Only how long each stage took, and each consequence of an add.")
    ] = False,
    json: Json = False,
) -> int:
    """Show a recorded run: its timeline, the whole verdict, the observations, the rules that were never exercised.

    The output is that of --verbose at the end of a run. The exit code is 0 for every verdict.
    """
    from harness.cli.conclusion import say_details, say_summary, timeline_lines
    from harness.cli.run_set import run_named
    from harness.contract.checker import judge_history
    from harness.history.run_directory import HISTORY, history_file
    from harness.report.operations import operations
    from harness.run.judging import open_history

    path = run_named(run)
    if path.is_dir() and not history_file(path).exists():
        raise UsageError(
            f"{path} is not the directory of a run: it has no {HISTORY}",
            hint=f"To judge all runs in a directory: {invocation('check', path)}",
        )
    history = open_history(path)
    if timing:
        return _say_timing(str(path), history, json=json)
    verdict = judge_history(history)
    note = getattr(history, "note", "")
    if json:
        document: ShowDocument = {
            "path": str(path),
            "verdict": verdict,
            "operations": operations(history),
            "timeline": [*timeline_lines(history, everything=everything)][1:-1],
        }
        say_json(document)
        return ExitCode.HOLDS
    say_details(verdict, history, everything=everything)
    say_summary(verdict, history, path=path, notes=[note] if note else [], detailed=True)
    return ExitCode.HOLDS


def _say_timing(path: str, history: History, *, json: bool) -> int:
    """Print the stages of a run with their times."""
    from harness.report.timing import HEADING, stages

    found = stages(history)
    document: TimingDocument = {"path": path, "stages": found}
    say_result(document, [HEADING, *(one.line for one in found)], json=json)
    return ExitCode.HOLDS
