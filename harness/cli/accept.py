# SPDX-License-Identifier: MIT
"""``harness accept``: runs every case on a guest, and reports for each what was expected, seen and proved."""

from __future__ import annotations

import datetime
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from harness.cli.output import complain, say, say_json
from harness.cli.parameters import Json
from harness.cli.run_options import with_run_options
from harness.errors import ExitCode, HarnessError, system_errors
from harness.report.style import style_for
from harness.run.options import made, options_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.acceptance.acceptance import Acceptance
    from harness.acceptance.case import Case
    from harness.acceptance.result import CaseResult
    from harness.run.options import RunOptions
    from harness.run.request import RunRequest
    from harness.template.promise import PromiseFinding
    from harness.template.store import BuiltTemplate


@with_run_options("accept")
def accept(
    options: dict[str, Any],
    cases: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CASE...]", help="Numbers or names of cases; by default all."),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare/--no-compare", help="Also run each case on the twin and compare the notifications."
        ),
    ] = True,
    soak: Annotated[
        bool, typer.Option("--soak", help="Repeat the cases that declare a repeat count, up to 50 times.")
    ] = False,
    findings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The file for the findings; findings.json beside the runs by default."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="List the differences from the findings of an earlier acceptance."),
    ] = None,
    promises: Annotated[
        bool,
        typer.Option(
            "--promises/--no-promises",
            help="First check the promises of a Windows template, in a separate boot.",
        ),
    ] = True,
    list_cases: Annotated[
        bool, typer.Option("--list", help="List the cases and what they expect, then exit.")
    ] = False,
    json: Json = False,
) -> int:
    """Run the acceptance cases on a guest, from its ready snapshot unless --cold; write report, result and findings."""
    from harness.acceptance.acceptance import accept as run_cases
    from harness.acceptance.case import find_cases
    from harness.acceptance.findings import changes, check_place, read_findings, write_findings
    from harness.acceptance.findings_text import change_lines, findings_lines
    from harness.acceptance.inquiry import findings_of
    from harness.acceptance.report import case_lines, closing_lines
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
        # The twin for comparison runs the harness's own driver, without options that only Windows has.
        own: dict[str, Any] = {}
        if name != wanted.guest:
            own = {one.field: one.default for one in options_at("accept") if one.windows}
            own |= {"guest": name, "driver": "", "driver_map": ""}
        return RunRequest(**vars(wanted) | own, plan=case.plan, cache=cache, argv=sys.argv)

    request(chosen[0], wanted.guest)
    earlier = read_findings(against) if against is not None else None
    if findings is not None:
        check_place(findings)
    proof = _proof(wanted, prove=promises, quiet=json)

    def told(result: CaseResult) -> None:
        if not json:
            say(case_lines(result, style))

    started = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    found = run_cases(chosen, request, wanted.guest, compare=compare, soak=soak, started=started, told=told)
    _write(wanted.runs, found)
    lines = findings_of(
        found.results, wanted.guest, built=proof.built, promises=proof.promises, unproved=proof.unproved
    )
    file = findings or wanted.runs / "findings.json"
    write_findings(file, lines)
    if json:
        say_json(found)
    else:
        say(closing_lines(found, style))
        say(findings_lines(lines, style))
        if earlier is not None:
            say(change_lines(earlier, changes(earlier, lines), style))
        say(["", f"Report: {wanted.runs / 'report.md'}", f"Findings: {file}"])
    return found.exit_code


class _Proof(NamedTuple):
    """A guest's template, None if it has none; the results of its promises, or why they were not checked."""

    built: BuiltTemplate | None = None
    promises: Sequence[PromiseFinding] = ()
    unproved: str = ""


def _proof(wanted: RunOptions, *, prove: bool, quiet: bool) -> _Proof:
    """Check the promises of a Windows guest's template. A failure to check them does not affect the cases."""
    from harness.cli.template import prove as prove_template
    from harness.template.store import Store, store_directory

    if not wanted.guest.startswith("windows"):
        return _Proof()
    built = Store(store_directory(os.environ)).find(wanted.guest)
    if not prove:
        return _Proof(built, (), "--no-promises")
    if wanted.backend != "qemu":
        return _Proof(built, (), f"the visit is not made through {wanted.backend}")
    try:
        found = prove_template(wanted.guest, wanted.accelerator, wanted.qemu, wanted.budget.boot, quiet=quiet)
    except HarnessError as error:
        complain(f"the promises of {wanted.guest} were not proved: {error.message}")
        return _Proof(built, (), error.message)
    return _Proof(built, found)


def _write(directory: Path, found: Acceptance) -> None:
    from harness.acceptance.report import markdown
    from harness.history.json_file import indented
    from harness.history.private import write_private

    with system_errors(f"cannot write the report in {directory}", hint="Give another place with --runs DIR."):
        directory.mkdir(parents=True, exist_ok=True)
        write_private(directory / "report.md", markdown(found))
        write_private(directory / "accept.json", indented(found))
