# SPDX-License-Identifier: MIT
"""``harness run PLAN`` and ``harness demo``: boot a guest, hot-add, record, judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.parameters import Json
from harness.cli.run_options import with_run_options
from harness.errors import ExitCode
from harness.run.options import RunOptions, made

if TYPE_CHECKING:
    from harness.run.run import RunResult


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("demo")(demo)
    app.command("run")(run)


@with_run_options("demo")
def demo(
    options: dict[str, Any],
    list_faults: Annotated[
        bool, typer.Option("--list-faults", help="Explain the faults that can be injected and stop.")
    ] = False,
    json: Json = False,
) -> int:
    """Boot the twin, hot-add a processor and a DIMM, show the callbacks in order and the verdict."""
    from harness.guest.fault_injection import INJECTED_FAULTS

    if list_faults:
        from harness.cli.output import say

        say(
            f"{name:25}{fault.does}\n{'':25}must be {fault.verdict} by {fault.rule}, in {fault.plan}"
            for name, fault in INJECTED_FAULTS.items()
        )
        return ExitCode.HOLDS
    wanted = made("demo", options)
    plan = INJECTED_FAULTS[wanted.inject_fault].plan if wanted.inject_fault else "cpu-and-dimm"
    return _perform(plan, wanted, json=json)


@with_run_options("run")
def run(
    options: dict[str, Any],
    plan: Annotated[
        str, typer.Argument(metavar="PLAN", help="A built-in plan's name, or the path of a TOML file.")
    ] = "",
    list_plans: Annotated[
        bool, typer.Option("--list-plans", help="Name the built-in plans and stop.")
    ] = False,
    retry_of: Annotated[
        str,
        typer.Option(
            metavar="RUN", help="This is the second attempt of that run, whose infrastructure failed."
        ),
    ] = "",
    json: Json = False,
) -> int:
    """Execute a plan on a guest, record everything, judge it."""
    from harness.cli.output import say
    from harness.run.plan import built_in_plans

    if list_plans:
        say(f"{found.name:21}{found.summary}" for found in built_in_plans().values())
        return ExitCode.HOLDS
    return _perform(plan, made("run", options), json=json, retry_of=retry_of)


def _perform(plan: str, options: RunOptions, *, json: bool, retry_of: str = "") -> int:
    """Run, with the stage view on standard error and the result on standard output."""
    import os
    import sys

    from harness.report.stage_view import StageView
    from harness.run.plan import find_plan
    from harness.run.request import RunRequest
    from harness.run.run import perform
    from harness.setup.cache import cache_directory

    request = RunRequest(
        **vars(options),
        plan=find_plan(plan),
        cache=cache_directory(os.environ),
        argv=sys.argv,
        attempt=2 if retry_of else 1,
        retry_of=retry_of,
    )
    with StageView(quiet=json) as view:
        result = perform(request, listeners=(view,), retry=options.retry)
    show_result(result, json=json)
    return result.exit_code


def result_document(result: RunResult) -> dict[str, Any]:
    """Return what is said of a run to programs."""
    document: dict[str, Any] = {"directory": str(result.directory), "verdict": result.verdict}
    if result.failure_class is not None:
        document["failure_class"] = result.failure_class
    if result.first is not None:
        document["first_attempt"] = str(result.first.directory)
    if (error := result.error) is not None:
        document["error"] = {
            "message": error.message,
            "hint": error.hint,
            "class": error.failure_class,
            "stage": result.stage,
        }
    return document


def show_result(result: RunResult, *, json: bool) -> None:
    """Print what became of a run."""
    import sys

    from harness.cli.output import complain_of, say, say_json
    from harness.contract.explanation import explainer
    from harness.contract.verdict import Level
    from harness.report.escape import printable
    from harness.report.style import style_for
    from harness.report.timeline import HEADING, timeline
    from harness.report.verdict_text import evidence_lines, verdict_lines

    error = result.error
    if json:
        say_json(result_document(result))
        return
    if result.first is not None and result.first.error is not None:
        say(
            f"The first attempt, {result.first.directory}, failed: {printable(result.first.error.message, 300)}"
        )
    if error is not None and not any(
        rule.exercised for rule in result.verdict.rules if rule.level is not Level.GATE
    ):
        # Nothing was there to judge: the error is all there is to say.
        say(
            [
                *evidence_lines(result.directory, judged=False),
                f"Class: {result.failure_class}, in stage {result.stage}",
            ]
        )
        complain_of(error)
        return
    style, explain = style_for(sys.stdout), explainer(result.history)
    say([HEADING, *timeline(result.history, style=style), ""])
    say(verdict_lines(result.verdict, evidence=result.directory, explain=explain, style=style))
    if error is not None:
        complain_of(error)
