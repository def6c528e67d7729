# SPDX-License-Identifier: MIT
"""``harness run PLAN`` and ``harness demo``: boot a guest, hot-add, record, judge."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.output import complain, say, say_json
from harness.cli.parameters import Json, Verbose
from harness.cli.run_options import with_run_options
from harness.errors import ExitCode, UsageError
from harness.interrupts import interrupted_by
from harness.run.options import RunOptions, made

if TYPE_CHECKING:
    from harness.run.run import RunInterrupted, RunResult


ListFaults = Annotated[
    bool, typer.Option("--list-faults", help="Explain the faults that can be injected, then exit.")
]


def say_faults() -> int:
    """Print each fault that can be injected, with what it does and the plan in which it shows, in 80 columns."""
    import textwrap

    from harness.guest.fault_injection import ALL_FAULTS
    from harness.report.run_summary import WIDTH

    name_width = max(map(len, ALL_FAULTS)) + 2
    for name, fault in ALL_FAULTS.items():
        first, *rest = [
            line
            for text in (fault.does, f"must be {fault.verdict} by {fault.rule}, in {fault.plan}")
            for line in textwrap.wrap(text, WIDTH - name_width, break_on_hyphens=False)
        ]
        say([f"{name:{name_width}}{first}", *(f"{'':{name_width}}{line}" for line in rest)])
    return ExitCode.HOLDS


@with_run_options("demo")
def demo(
    options: dict[str, Any],
    list_faults: ListFaults = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Boot the twin, hot-add a processor and a DIMM, and judge whether the driver was notified as Windows documents."""
    from harness.guest.fault_injection import ALL_FAULTS

    if list_faults:
        return say_faults()
    wanted = made("demo", options)
    plan = ALL_FAULTS[wanted.inject_fault].plan if wanted.inject_fault else "cpu-and-dimm"
    return _perform(plan, wanted, verbose=verbose, json=json)


@with_run_options("run")
def run(
    options: dict[str, Any],
    plan: Annotated[
        str, typer.Argument(metavar="PLAN", help="A built-in plan's name, or the path of a TOML file.")
    ] = "",
    list_plans: Annotated[
        bool, typer.Option("--list-plans", help="List the built-in plans, by what they show, then exit.")
    ] = False,
    list_faults: ListFaults = False,
    retry_of: Annotated[
        str,
        typer.Option(metavar="RUN", help="The run that this one retries, after an infrastructure failure."),
    ] = "",
    stop_on_violation: Annotated[
        bool,
        typer.Option(
            "--stop-on-violation",
            help="At the first violation take commands, the guest alive: at a prompt, or from standard input.",
        ),
    ] = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Execute a plan on a guest, record everything, judge it."""
    from harness.run.plan import built_in_plans, grouped

    if list_faults:
        return say_faults()
    if list_plans:
        for number, (shown, plans) in enumerate(grouped(built_in_plans().values()).items()):
            say([*([""] if number else []), f"{shown or 'others'}:"])
            say(f"  {found.name:21}{found.summary}" for found in plans)
        return ExitCode.HOLDS
    return _perform(
        plan,
        made("run", options),
        verbose=verbose,
        json=json,
        retry_of=retry_of,
        stop_on_violation=stop_on_violation,
    )


def _perform(
    plan: str,
    options: RunOptions,
    *,
    verbose: bool,
    json: bool,
    retry_of: str = "",
    stop_on_violation: bool = False,
) -> int:
    """Run, with the stage view on standard error and the result on standard output."""
    import dataclasses

    from harness.cli.session import perform_session
    from harness.report.stage_view import StageView
    from harness.run.options import is_process
    from harness.run.plan import find_plan
    from harness.run.request import RunRequest
    from harness.run.run import RunInterrupted, perform
    from harness.setup.cache import cache_directory

    request = RunRequest(
        **vars(options),
        plan=find_plan(plan),
        cache=cache_directory(os.environ),
        argv=sys.argv,
        attempt=2 if retry_of else 1,
        retry_of=retry_of,
    )
    if stop_on_violation:
        if options.retry:
            raise UsageError("--stop-on-violation and --retry exclude each other", hint="Leave out --retry.")
        request = dataclasses.replace(request, monitor=not is_process(request.guest))
        return perform_session(request, opening="violated", json=json, verbose=verbose)
    try:
        with StageView(quiet=json) as view:
            result = perform(request, listeners=(view,), retry=options.retry)
    except RunInterrupted as stop:
        return show_interrupted(stop, json=json, verbose=verbose)
    show_result(result, json=json, verbose=verbose)
    return result.exit_code


def result_document(result: RunResult) -> dict[str, Any]:
    """Return the JSON document of a run."""
    document: dict[str, Any] = {"directory": str(result.directory), "verdict": result.verdict}
    if result.failure_class is not None:
        document["failure_class"] = result.failure_class
    if result.first is not None:
        document["first_attempt"] = str(result.first.directory)
    if result.report:
        document["report"] = result.report
    if (error := result.error) is not None:
        document["error"] = {
            "message": error.message,
            "hint": error.hint,
            "class": error.failure_class,
            "stage": result.stage,
        }
    return document


def show_result(result: RunResult, *, json: bool, verbose: bool, notes: Sequence[str] = ()) -> None:
    """Print the result of a run. ``notes`` are additional sentences for its summary."""
    from harness.cli.conclusion import say_details, say_summary
    from harness.report.run_summary import Failure

    error = result.error
    if json:
        say_json(result_document(result))
        return
    if verbose:
        say_details(result.verdict, result.history)
    if joined := getattr(result.history, "note", ""):
        notes = [joined, *notes]
    if result.report:
        notes = [*notes, result.report]
    if result.first is not None and result.first.error is not None:
        notes = [f"The first attempt, {result.first.directory}, failed: {result.first.error.message}", *notes]
    say_summary(
        result.verdict,
        result.history,
        path=result.directory,
        error=error,
        failure=None if error is None else Failure(str(result.failure_class), result.stage, error.message),
        notes=notes,
        detailed=verbose,
    )


def show_interrupted(stop: RunInterrupted, *, json: bool, verbose: bool) -> int:
    """Print the result of an interrupted run, and return its exit code."""
    message = interrupted_by(stop.number)
    if json:
        error = {"message": message, "hint": "", "class": "unknown", "stage": stop.result.stage}
        say_json({**result_document(stop.result), "error": error})
    complain(message)
    if not json:
        show_result(stop.result, json=False, verbose=verbose)
    return 128 + stop.number
