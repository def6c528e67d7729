# SPDX-License-Identifier: MIT
"""``harness explore``: executes generated plans until one breaks a rule, and finds the smallest plan that does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.output import complain, say_result
from harness.cli.parameters import Json
from harness.cli.run import ListFaults, say_faults
from harness.cli.run_options import with_run_options
from harness.errors import UsageError
from harness.interrupts import interrupted_by, interruption
from harness.invocation import invocation
from harness.report.escape import printable
from harness.run.options import made

if TYPE_CHECKING:
    from harness.explore.exploration import ExplorationReport

ABSENT = {
    "monitor": "the guests of an exploration are not interactive",
    "report": "use harness report for the run of a finding",
    "retry": "a plan without a result is only counted",
    "runs": "--into names the folder",
}
UNITS = {"s": 1, "m": 60, "h": 3600}
LONGEST = 7 * 24 * 3600
MOST_JOBS = 256


@with_run_options("run", without=ABSENT)
def explore(
    options: dict[str, Any],
    budget: Annotated[
        str, typer.Option(metavar="TIME", help="Time limit: 90s, 10m, 2h. Shrinking may exceed it.")
    ] = "10m",
    plans: Annotated[int | None, typer.Option(metavar="N", min=1, help="Maximum number of plans.")] = None,
    into: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Folder of the corpus and the findings, reused by the next exploration."
        ),
    ] = Path("exploration"),
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MOST_JOBS,
            help="Number of concurrent guests. Default: one a processor; for process guests 24 a processor, at most 64.",
        ),
    ] = None,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going", help="Continue after the first new finding, until the budget is used up."
        ),
    ] = False,
    list_faults: ListFaults = False,
    json: Json = False,
) -> int:
    """Generate legal plans and execute them until one breaks a rule or the harness; then find the smallest such plan."""
    if list_faults:
        return say_faults()
    from harness.cli.exploration_view import ExplorationView
    from harness.explore.exploration import Exploration, usual_jobs
    from harness.setup.cache import cache_directory

    seconds = _seconds(budget)
    wanted = made("run", {"restore": None, **options})
    code = 0
    with ExplorationView(seconds, quiet=json) as view:
        exploration = Exploration(
            wanted,
            into,
            cache=cache_directory(os.environ),
            seconds=seconds,
            most=plans,
            jobs=jobs or usual_jobs(wanted.guest),
            going_on=keep_going,
            say=lambda line: view.say(printable(line, 300)),
            tick=lambda: view.now(exploration.report),
        )
        view.now(exploration.report)
        try:
            exploration.perform()
        except KeyboardInterrupt:
            code = 128 + interruption()
    report = exploration.report
    if code:
        complain(interrupted_by(code - 128))
    say_result(report, _lines(report), json=json)
    return code or report.exit_code


def _seconds(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    try:
        seconds = float(number) * UNITS[unit]
    except (KeyError, ValueError):
        seconds = 0.0
    if not 1 <= seconds <= LONGEST:
        raise UsageError(
            f"--budget: expected a time from 1s to 168h, got {text!r}",
            hint="Give a number with its unit: 10m.",
        )
    return seconds


def _why_nothing(report: ExplorationReport) -> str:
    if report.failed:
        return f"none of the {report.failed} plans had a result"
    if report.ended == "budget":
        return "no plan ended within the budget: give more than --budget had"
    return "no plan was executed"


def _lines(report: ExplorationReport) -> Iterator[str]:
    for finding in report.findings:
        yield f"{finding.signature}"
        yield f"  {printable(finding.reason, 300)}"
        yield f"  Found by plan {finding.first_seen}, {finding.original} operations; {len(finding.operations)} are left:"
        for operation in finding.operations:
            given = " ".join(f"{key}={value}" for key, value in operation.items() if key != "op")
            yield f"    {operation['op']} {printable(given, 200)}".rstrip()
        if finding.reproduced is not None:
            yield f"  Reproduced {finding.reproduced}."
        else:
            yield "  Shrinking did not end; this is the smallest plan so far."
        for name, path in (("Plan", finding.plan), ("Test", finding.test), ("Run", finding.run)):
            if path:
                yield f"  {name}: {path}"
        if finding.run:
            yield f"  Continue: {invocation('repro', finding.run, '--interactive')}"
    for signature, times in report.known.items():
        yield f"known: {printable(signature, 300)}, {times} more times"
    rate = report.plans / report.seconds * 60 if report.seconds else 0.0
    parts = [f"{report.plans} plans in {report.seconds:.0f} s ({rate:.0f} a minute)"]
    parts += [f"{report.failed} without a result"] if report.failed else []
    parts += [f"{report.unknown} unknown"] if report.unknown else []
    parts += [
        f"{report.rules} rules and {report.orders} orders exercised",
        f"{report.corpus} plans in {report.directory}",
    ]
    yield "; ".join(parts)
    if report.nothing_explored:
        yield f"unknown: {_why_nothing(report)}"
        return
    new = len(report.findings)
    yield f"{new} new finding{'s' if new != 1 else ''}" if new else "nothing new found"
