# SPDX-License-Identifier: MIT
"""``harness observe``: what runs showed about undocumented behaviour, and how two sets of runs differ."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.command_tree import command_group
from harness.cli.output import complain, say_result
from harness.cli.parameters import Json, RunPaths
from harness.errors import ExitCode, UsageError, worst
from harness.report.style import style_for

if TYPE_CHECKING:
    from harness.cli.documents import ObserveComparison, ObservedBuild, ObserveDocument, ObservedSet
    from harness.contract.verdict import Judged
    from harness.report.observations import RunSet


def show(
    runs: RunPaths,
    json: Json = False,
) -> int:
    """Show for each guest build and question which values were seen and how often."""
    from harness.cli.run_set import runs_named
    from harness.report.observations import RunSet, show_lines

    sets: dict[str, RunSet] = {}
    codes = _each(runs_named(runs), json, lambda run: sets.setdefault(run.build, RunSet(run.build)).add(run))
    chosen = [sets[build] for build in sorted(sets)]
    document: ObserveDocument = {"builds": [_document(one) for one in chosen], "exit_code": worst(codes)}
    say_result(document, show_lines(chosen, style_for(sys.stdout)) if chosen else [], json=json)
    return worst(codes)


def diff(
    first: Annotated[
        str,
        typer.Argument(
            metavar="RUN-SET-A", help="A run, a directory of runs, a quoted pattern, or some joined with ':'."
        ),
    ],
    second: Annotated[str, typer.Argument(metavar="RUN-SET-B", help="The set to compare with.")],
    json: Json = False,
) -> int:
    """Compare the observations of two sets of runs, for instance of two builds of Windows."""
    from harness.cli.run_set import run_set
    from harness.report.observations import RunSet, compare, comparison_lines

    codes: list[ExitCode] = []
    sets = []
    for word, paths in [(word, run_set(word)) for word in (first, second)]:
        runs = RunSet(word)
        codes += _each(paths, json, runs.add)
        if not runs.runs:
            raise UsageError(f"{word}: no run of this set could be read, so there is nothing to compare")
        sets.append(runs)
    one, other = sets
    compared = compare(one, other)
    document: ObserveComparison = {
        "a": _facts(one),
        "b": _facts(other),
        "questions": compared,
        "exit_code": worst(codes),
    }
    say_result(document, comparison_lines(one, other, compared, style_for(sys.stdout)), json=json)
    return worst(codes)


def _each(paths: list[Path], json: bool, take: Callable[[Judged], None]) -> list[ExitCode]:
    """Judge the runs, pass on the readable ones, report the others and return their exit codes."""
    from harness.cli.judged import judged

    errors = []
    with judged(paths, quiet=json) as results:
        for run in results:
            if run.verdict is None:
                errors.append(run)
            else:
                take(run)
    for run in errors:
        complain(run.error, run.hint)
    return [run.exit_code for run in errors]


def _facts(runs: RunSet) -> ObservedSet:
    return {"name": runs.name, "runs": runs.runs, "builds": runs.builds}


def _document(runs: RunSet) -> ObservedBuild:
    from harness.contract.observe import question

    return {
        "build": runs.name,
        "runs": runs.runs,
        "questions": [
            {"rule": rule, "question": question(rule), "answer": runs.answer(rule)}
            for rule in runs.questions()
        ],
    }


group = command_group("Show what runs revealed about undocumented behaviour.", show=show, diff=diff)
