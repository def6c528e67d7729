# SPDX-License-Identifier: MIT
"""``harness ps``: this user's machines, and the leases of the host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.parameters import Json
from harness.errors import ExitCode
from harness.invocation import invocation

if TYPE_CHECKING:
    from harness.cli.documents import PsDocument
    from harness.host.budget import HostBudget
    from harness.host.lease import HeldLease
    from harness.lab.inventory import ListedMachine
    from harness.report.style import Style


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("ps")(ps)


def ps(
    json: Json = False,
) -> int:
    """List this user's machines, and who holds or waits for which share of this host."""
    import os
    import sys

    from harness.cli.output import say, say_json
    from harness.host.budget import host_budget
    from harness.host.lease import Leases
    from harness.host.registry import Registry
    from harness.lab.inventory import listed
    from harness.report.style import style_for

    machines = listed(Registry())
    held = Leases().held()
    budget = host_budget(os.environ, Path())
    if json:
        document: PsDocument = {
            "machines": machines,
            "leases": [
                {
                    "user": each.uid,
                    "process": each.claim.pid,
                    "vcpus": each.claim.vcpus,
                    "memory": each.claim.memory,
                    "disk": each.claim.disk,
                    "granted": each.claim.granted,
                }
                for each in held
            ],
            "budget": budget,
        }
        say_json(document)
        return ExitCode.HOLDS
    style = style_for(sys.stdout)
    say(_machines(machines, style))
    say(["", *_leases(held, budget)])
    return ExitCode.HOLDS


def _machines(machines: list[ListedMachine], style: Style) -> list[str]:
    from harness.report.escape import printable

    if not machines:
        return ["No machine of yours is in the registry."]
    lines = [f"{'state':<9} {'guest':<16} {'vCPUs':>5} {'age':>7} {'QEMU':>8} {'harness':>8}  run directory"]
    for each in machines:
        dead = each.state in ("orphaned", "gone")
        state = (style.bad if dead else style.good)(f"{each.state:<9}")
        lines.append(
            f"{state} {printable(each.guest or '-', 16):<16} {each.vcpus or '-':>5} {_age(each.age):>7} "
            f"{each.qemu or '-':>8} {each.harness or '-':>8}  {printable(each.directory, 1000)}"
        )
        if each.domain:
            lines.append(f"{'':<10}domain {printable(each.domain, 40)} at {printable(each.uri, 300)}")
    if any(each.state in ("orphaned", "gone") for each in machines):
        lines += ["", f"Some have no harness any more: {invocation('gc')}"]
    return lines


def _leases(held: list[HeldLease], budget: HostBudget) -> list[str]:
    from harness.host.budget import size_text

    granted = [each for each in held if each.claim.granted]
    vcpus, memory = (sum(getattr(each.claim, what) for each in granted) for what in ("vcpus", "memory"))
    taken = (
        f"{vcpus} of {budget.vcpus} processors, {size_text(memory)} of {size_text(budget.memory)} of memory"
    )
    lines = [f"Leases of this host: {taken}"]
    for place, each in enumerate([each for each in held if not each.claim.granted], 1):
        lines.append(
            f"  waits in place {place}: process {each.claim.pid} of user {each.uid}, for {each.claim.vcpus} processors "
            f"and {size_text(each.claim.memory)}"
        )
    return lines


def _age(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"
