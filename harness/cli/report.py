# SPDX-License-Identifier: MIT
"""``harness report``: a recorded run, two side by side, or a set of them, as one HTML file to look at and to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.output import say_result
from harness.cli.parameters import Json
from harness.errors import ExitCode, UsageError
from harness.invocation import invocation

if TYPE_CHECKING:
    from harness.cli.documents import ReportDocument


def report(
    run: Annotated[
        str,
        typer.Argument(
            metavar="[RUN]", help="A run directory or history file, 'latest', or the id of a run in runs/."
        ),
    ] = "",
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare", metavar="A B", help="Two runs of one plan side by side, the first difference first."
        ),
    ] = None,
    several: Annotated[
        str,
        typer.Option(
            "--set",
            metavar="DIR",
            help="All runs in a directory, or of a nightly run: points by repetitions, what flips, coverage.",
        ),
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file to write; report.html beside the history, or in DIR, by default.",
        ),
    ] = None,
    perfetto: Annotated[
        Path | None,
        typer.Option("--perfetto", metavar="FILE", help="Write the timeline as a Perfetto trace too."),
    ] = None,
    json: Json = False,
) -> int:
    """Write a recorded run as one HTML file that fetches nothing: the verdict, what shows it, the timeline, how to do it again.

    With --compare two runs, with --set many of them; each run gets a report of its own then, to which the page leads.

    The exit code is 0, whatever the verdict is, and 64 if there is no run, or it has not ended.
    """
    from harness.cli.run_set import run_named
    from harness.contract.checker import judge_history
    from harness.report.page.writing import check_ended, report_path, write_report, write_trace
    from harness.run.judging import open_history

    if bool(run) + (compare is not None) + bool(several) != 1:
        raise UsageError(
            "name a run, or two with --compare, or a directory of them with --set, and only one of these",
            hint=f"The newest run: {invocation('report', 'latest')}",
        )
    if compare is not None or several:
        from harness.cli.report_many import compare_runs, report_set

        if perfetto is not None:
            raise UsageError("--perfetto is of one run", hint="Leave it out, or name one run.")
        many = (
            report_set(several, output, quiet=json) if compare is None else compare_runs(*compare, out=output)
        )
        text = f"{many['report']}: {many['bytes']} bytes, {many['runs']} runs, {many['verdict']}"
        say_result(many, text, json=json)
        return ExitCode.HOLDS
    history = open_history(run_named(run))
    check_ended(history)
    out = output or report_path(history)
    verdict = judge_history(history)
    size = write_report(history, verdict, out)
    if perfetto is not None:
        write_trace(history, verdict, perfetto)
    document: ReportDocument = {"report": str(out), "bytes": size, "verdict": verdict.verdict, "runs": 1}
    say_result(document, f"{out}: {size} bytes, {verdict.verdict.value}", json=json)
    return ExitCode.HOLDS
