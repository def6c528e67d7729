# SPDX-License-Identifier: MIT
"""``harness plan``: checks plans and prints their schema, without starting anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.command_tree import command_group
from harness.cli.output import say_result, say_schema
from harness.cli.parameters import Json
from harness.errors import ExitCode, UsageError
from harness.report.escape import printable

if TYPE_CHECKING:
    from harness.cli.documents import CheckedPlan, PlanCheckDocument


def check(
    plans: Annotated[list[str], typer.Argument(metavar="PLAN", help="A built-in plan, or a plan's file.")],
    guest: Annotated[
        str, typer.Option(metavar="NAME", help="The guest to check for: twin, host, wine or a template.")
    ] = "twin",
    machine: Annotated[str, typer.Option(metavar="TYPE", help="QEMU's machine type.")] = "q35",
    json: Json = False,
) -> int:
    """Check whether a machine of the guest can execute each plan, as ``harness run`` does before it starts anything."""
    from harness.run.options import RunOptions
    from harness.run.plan import find_plan
    from harness.run.rehearsal import change_after_removal, rehearse
    from harness.run.removed_processor import FATAL

    RunOptions(guest=guest, machine=machine)
    rows: list[CheckedPlan] = []
    for wanted in plans:
        try:
            plan = find_plan(wanted)
            rehearse(plan, guest=guest, machine=machine)
        except UsageError as error:
            rows.append({"plan": wanted, "right": False, "message": error.message, "hint": error.hint})
        else:
            changed = change_after_removal(plan, guest=guest)
            fatal = FATAL.format(*changed) if changed else ""
            rows.append({"plan": wanted, "right": True, "message": "", "hint": fatal})
    document: PlanCheckDocument = {"guest": guest, "machine": machine, "plans": rows}
    say_result(document, (line for row in rows for line in _lines(row)), json=json)
    return ExitCode.HOLDS if all(row["right"] for row in rows) else ExitCode.USAGE


def _lines(row: CheckedPlan) -> list[str]:
    said = f"{row['plan']}: right" if row["right"] else row["message"]
    return [printable(str(said)), *([f"  {printable(str(row['hint']))}"] if row["hint"] else [])]


def schema() -> int:
    """Print the JSON Schema of a plan's file, for completion and checks in an editor."""
    from harness.run.plan import plan_schema

    say_schema(plan_schema())
    return ExitCode.HOLDS


group = command_group("Check plans before they are run.", check=check, schema=schema)
