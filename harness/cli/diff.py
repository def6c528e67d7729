# SPDX-License-Identifier: MIT
"""``harness diff``: whether runs of the same plan, on several guests or with several builds, delivered the
same notifications."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.output import say_result
from harness.cli.parameters import Json
from harness.errors import ExitCode, UsageError
from harness.invocation import invocation
from harness.report.style import style_for

if TYPE_CHECKING:
    from harness.cli.documents import ComparedRun, DiffDocument, FindingsDiff


def diff(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Two or more run directories or history files of one plan; or the findings of two acceptances.",
        ),
    ],
    json: Json = False,
) -> int:
    """Compare the notifications of runs of one plan, without what must differ or cannot be shown; or two findings."""
    if len(runs) == 2 and all(one.endswith(".json") for one in runs):
        return _findings(Path(runs[0]), Path(runs[1]), json=json)

    from harness.cli.run_set import runs_named
    from harness.report.transcript import read_transcript
    from harness.report.transcript_comparison import compare_transcripts, transcript_lines

    paths = runs_named(runs)
    if len(paths) < 2:
        raise UsageError(
            f"{runs[0]} is one run, and there is nothing to compare it with",
            hint=f"Name two or more: {invocation('diff', 'RUN-ON-TWIN', 'RUN-ON-WINE')}",
        )
    transcripts = [read_transcript(path) for path in paths]
    compared = compare_transcripts(transcripts)
    told: list[ComparedRun] = [
        {
            "path": str(path),
            "run": one.run,
            "guest": one.guest,
            "unshown": sorted(one.unshown),
            "missing": one.missing,
        }
        for path, one in zip(paths, transcripts, strict=True)
    ]
    document: DiffDocument = {
        "verdict": compared.verdict,
        "runs": told,
        "differences": compared.differences,
        "stories": compared.stories,
        "steps": compared.steps,
        "exit_code": compared.exit_code,
    }
    say_result(document, transcript_lines(transcripts, compared, style_for(sys.stdout)), json=json)
    return compared.exit_code


def _findings(old: Path, new: Path, *, json: bool) -> int:
    """Print the differences between the findings of two acceptances. A difference is not a failure."""
    from harness.acceptance.findings import changes, read_findings
    from harness.acceptance.findings_text import change_lines

    before, after = read_findings(old), read_findings(new)
    changed = changes(before, after)
    document: FindingsDiff = {"old": before.about, "new": after.about, "changes": changed}
    say_result(document, change_lines(before, changed, style_for(sys.stdout)), json=json)
    return ExitCode.HOLDS
