# SPDX-License-Identifier: MIT
"""``harness ps``: this user's machines, and the leases of the host."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.output import say, say_json
from harness.cli.parameters import Json
from harness.errors import ExitCode
from harness.invocation import invocation
from harness.report.escape import cell, padded, printable
from harness.report.style import Style, style_for

if TYPE_CHECKING:
    from harness.cli.documents import PsDocument
    from harness.host.budget import HostBudget
    from harness.host.lease import HeldLease, Leases
    from harness.lab.inventory import ListedMachine


def ps(
    json: Json = False,
) -> int:
    """List this user's machines, and the leases of this host's resources, granted and waiting."""
    from harness.cli.reserve import listed as listed_reservations
    from harness.host.budget import host_budget
    from harness.host.lease import Leases
    from harness.host.registry import Registry
    from harness.host.reservations import Reservations, described
    from harness.lab.inventory import listed

    machines = listed(Registry())
    style = style_for(sys.stdout)
    if not json:
        # Unreadable leases do not hide machines.
        say(_machines(machines, style))
    leases = Leases()
    held = leases.held()
    reserved = Reservations(leases.place).current()
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
                    "granted": each.granted,
                }
                for each in held
            ],
            "reservations": listed_reservations(reserved),
            "directory": str(leases.directory),
            "private": leases.place.private,
            "budget": budget,
        }
        say_json(document)
        return ExitCode.HOLDS
    say(["", *_leases(leases, held, budget), *(f"This host is {described(each)}" for each in reserved)])
    return ExitCode.HOLDS


def _machines(machines: list[ListedMachine], style: Style) -> list[str]:
    if not machines:
        return ["No machine of yours is in the registry."]
    lines = [f"{'state':<9} {'guest':<16} {'vCPUs':>5} {'age':>7} {'QEMU':>8} {'harness':>8}  run directory"]
    for each in machines:
        dead = each.state in ("orphaned", "gone")
        state = (style.bad if dead else style.good)(f"{each.state:<9}")
        lines.append(
            f"{state} {padded(cell(each.guest or '-', 16), 16)} {each.vcpus or '-':>5} {_age(each.age):>7} "
            f"{each.qemu or '-':>8} {each.harness or '-':>8}  {printable(each.directory, 1000)}"
        )
        if each.domain:
            lines.append(f"{'':<10}domain {printable(each.domain, 40)} at {printable(each.uri, 300)}")
    if any(each.state in ("orphaned", "gone") for each in machines):
        lines += ["", f"Some have no harness any more: {invocation('gc')}"]
    return lines


def _leases(leases: Leases, held: list[HeldLease], budget: HostBudget) -> list[str]:
    from harness.host.budget import size_text
    from harness.host.former_leases import former_leases
    from harness.host.lease_directory import user_name

    def one(each: HeldLease) -> str:
        return (
            f"process {each.claim.pid} of {printable(user_name(each.uid), 60)}, {each.claim.vcpus} processors "
            f"and {size_text(each.claim.memory)}"
        )

    granted = [each for each in held if each.granted]
    vcpus, memory = (sum(getattr(each.claim, what) for each in granted) for what in ("vcpus", "memory"))
    taken = (
        f"{vcpus} of {budget.vcpus} processors, {size_text(memory)} of {size_text(budget.memory)} of memory"
    )
    whose = "this user" if leases.place.private else "this host"
    lines = [f"Leases of {whose}: {taken}"]
    lines += [f"  held by {one(each)}" for each in granted]
    lines += [
        f"  waits in place {place}: {one(each)}"
        for place, each in enumerate([each for each in held if not each.granted], 1)
    ]
    if leases.place.private:
        lines.append(f"  only this user's machines count: {leases.place.private}")
    if count := former_leases():
        lines.append(f"  leases of an older version, which are not counted: {count}")
    lines += [f"  {line}" for line in leases.remarks()]
    return lines


def _age(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"
