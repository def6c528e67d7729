# SPDX-License-Identifier: MIT
"""``harness repro RUN``: the same machine and the same plan again, whole, or up to a step and then interactively."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from harness.cli.output import say_json
from harness.cli.parameters import Json, RunName, Verbose
from harness.cli.run_options import with_run_options
from harness.errors import UsageError
from harness.run.options import DEFAULTS


@with_run_options("repro")
def repro(
    run: RunName,
    options: dict[str, Any],
    step: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Execute N operations, then wait for Ctrl-C; 0 only loads the driver.",
        ),
    ] = None,
    interactive: Annotated[
        bool,
        typer.Option(
            "--interactive",
            help="Then take commands: at a prompt, or from a script on standard input. 'help' lists them.",
        ),
    ] = False,
    repeat: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=1,
            help="Do the run K times, from its ready snapshot if it can, and say how often it is the same.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="With --repeat: how many at once, by default as many as processors."
        ),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Go on though QEMU, the image or the driver is another.")
    ] = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Do a recorded run again: same machine, image, plan and seed; then compare the verdicts, or wait at a step."""
    import dataclasses

    from harness.cli.repetition import perform_repetitions
    from harness.cli.run import result_document, show_interrupted, show_result
    from harness.cli.run_set import run_named
    from harness.cli.session import perform_session
    from harness.history.run_directory import lasting
    from harness.report.stage_view import StageView
    from harness.repro.differences import Differences
    from harness.repro.interactive import execute_and_wait
    from harness.repro.recorded_run import RepeatableRun, Signature
    from harness.run.run import RunInterrupted, perform
    from harness.setup.cache import cache_directory

    recorded = RepeatableRun.read(lasting(run_named(run)))
    operations = len(recorded.plan.do)
    if step is not None and step > operations:
        raise UsageError(
            f"there is no step {step}: the run's plan has {operations} operations",
            hint=f"--step {operations} executes all of them, then waits for Ctrl-C.",
        )
    if repeat is not None:
        _check_alone({"--step": step, "--interactive": interactive or None, "--verbose": verbose or None})
        # Unless the user says how: where the boot ended, if the guest can.
        options = {"restore": None, **options}
    elif jobs is not None:
        raise UsageError("--jobs needs --repeat", hint="Say how often: --repeat 20 --jobs 2.")
    request = recorded.request(
        {**DEFAULTS["repro"], **options}, cache=cache_directory(os.environ), argv=sys.argv, anyway=anyway
    )
    if repeat is not None:
        return perform_repetitions(
            recorded,
            request,
            {**DEFAULTS["repro"], **options},
            count=repeat,
            jobs=jobs,
            anyway=anyway,
            json=json,
        )
    differences = Differences(recorded.facts, anyway=anyway)
    held = interactive or step is not None
    if request.vnc and (not held or request.backend != "qemu" or not recorded.facts.qemu_argv):
        raise UsageError(
            "--vnc needs --step or --interactive and a guest that QEMU runs without libvirt",
            hint="Add --interactive; through libvirt, virt-viewer shows the screen.",
        )
    if held and not json and request.backend in ("qemu", "libvirt") and recorded.facts.qemu_argv:
        request = dataclasses.replace(request, monitor=True)
    if interactive:
        return perform_session(
            request, recorded=recorded, steps=step or 0, differences=differences, json=json, verbose=verbose
        )
    try:
        with StageView(quiet=json) as view:
            if step is None:
                result = perform(request, listeners=(view,), learnt=differences)
            else:
                result = execute_and_wait(request, step, view.say, listeners=(view,), learnt=differences)
    except RunInterrupted as stop:
        return show_interrupted(stop, json=json, verbose=verbose)
    if isinstance(result.error, UsageError):
        raise result.error
    before, now = Signature.of(recorded.verdict), Signature.of(result.verdict, result.error)
    if json:
        say_json(
            {
                **result_document(result),
                "repro_of": str(recorded.directory),
                "same": before == now,
                "before": before,
                "now": now,
                "differences": differences.notes,
            }
        )
        return result.exit_code
    notes = differences.lines()
    if step is None:
        notes.append(f"Same as before: {now}" if before == now else f"Different: before {before}, now {now}")
    show_result(result, json=False, verbose=verbose, notes=notes)
    return result.exit_code


def _check_alone(others: dict[str, object]) -> None:
    for name, value in others.items():
        if value is not None:
            raise UsageError(f"--repeat and {name} exclude each other", hint=f"Leave out {name}.")
