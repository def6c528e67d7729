# SPDX-License-Identifier: MIT
"""``harness accept``: puts a guest through every case, and reports what was expected, seen and proved of each."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.parameters import Json
from harness.cli.run_options import with_run_options
from harness.errors import ExitCode, InfrastructureError
from harness.run.options import made

if TYPE_CHECKING:
    from harness.acceptance.acceptance import Acceptance
    from harness.acceptance.case import Case
    from harness.acceptance.result import CaseResult
    from harness.run.request import RunRequest


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("accept")(accept)


@with_run_options("accept")
def accept(
    options: dict[str, Any],
    cases: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CASE...]", help="Numbers or names of cases; all of them otherwise."),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare/--no-compare", help="Run each case on the twin too, and compare what they tell."
        ),
    ] = True,
    soak: Annotated[
        bool, typer.Option("--soak", help="Repeat the cases that are worth it, 50 times to the last slot.")
    ] = False,
    list_cases: Annotated[
        bool, typer.Option("--list", help="Name the cases and what they expect, and stop.")
    ] = False,
    json: Json = False,
) -> int:
    """Put a guest through the acceptance cases, from its ready snapshot unless --cold; write report.md and accept.json."""
    import os
    import sys

    from harness.acceptance.acceptance import accept as run_cases
    from harness.acceptance.case import find_cases
    from harness.acceptance.report import case_lines, closing_lines
    from harness.cli.output import say, say_json
    from harness.report.style import style_for
    from harness.run.request import RunRequest
    from harness.setup.cache import cache_directory

    chosen = find_cases(cases or [])
    style = style_for(sys.stdout)
    if list_cases:
        say(
            line
            for case in chosen
            for line in style.fold(f"{case.number:>3}  {case.name}: {case.expected}", indent=5)
        )
        return ExitCode.HOLDS

    wanted, cache = made("accept", options), cache_directory(os.environ)

    def request(case: Case, name: str) -> RunRequest:
        # What is compared with runs the harness's own driver.
        own = {} if name == wanted.guest else {"guest": name, "driver": "", "driver_map": ""}
        return RunRequest(**vars(wanted) | own, plan=case.plan, cache=cache, argv=sys.argv)

    request(chosen[0], wanted.guest)

    def told(result: CaseResult) -> None:
        if not json:
            say(case_lines(result, style))

    started = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    found = run_cases(chosen, request, wanted.guest, compare=compare, soak=soak, started=started, told=told)
    _write(wanted.runs, found)
    if json:
        say_json(found)
    else:
        say(closing_lines(found, style))
        say(["", f"Report: {wanted.runs / 'report.md'}"])
    return found.exit_code


def _write(directory: Path, found: Acceptance) -> None:
    import msgspec

    from harness.acceptance.report import markdown
    from harness.history.private import write_private

    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_private(directory / "report.md", markdown(found))
        write_private(
            directory / "accept.json", msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
        )
    except OSError as error:
        raise InfrastructureError(
            f"cannot write the report in {directory}: {error.strerror}",
            hint="Give another place with --runs DIR.",
        ) from error
