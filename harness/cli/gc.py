# SPDX-License-Identifier: MIT
"""``harness gc``: end and remove what killed runs of this user left behind, and nothing else."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.output import complain_of, say
from harness.errors import ExitCode, HarnessError, InfrastructureError, UsageError
from harness.invocation import invocation

if TYPE_CHECKING:
    from harness.lab.leftover import Leftover


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be ended and removed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """End and remove what your killed runs left behind: machines, sockets, leases, unused images.

    Machines of a running harness, and anything of another user, are never touched.
    """
    found, code = what_is_left()
    if not found:
        if code == ExitCode.HOLDS:
            say("Nothing is left behind.")
        return code
    if dry_run:
        say(f"would {each.text}" for each in found)
        return code
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                f"{len(found)} leftovers, and no terminal to ask on",
                hint=f"To list them: {invocation('gc', '--dry-run')}\nTo remove them: {invocation('gc', '--yes')}",
            )
        say(f"would {each.text}" for each in found)
        if not typer.confirm("Go on?"):
            return code
    return remove(found) or code


def what_is_left(*, quiet: bool = False) -> tuple[list[Leftover], int]:
    """Return what killed runs of this user left on this host; the exit code says whether everything could be checked.

    One line counts what belongs to others, unless ``quiet``. Unreadable leases do not prevent finding the
    rest.
    """
    from harness.host.lease import Leases, others_left
    from harness.host.registry import Registry
    from harness.lab.leftover import leftovers
    from harness.setup.cache import cache_directory

    leases: Leases | None = Leases()
    code = ExitCode.HOLDS
    try:
        if leases is not None and (line := others_left(leases.sweep(dry=True))) and not quiet:
            say(line)
    except InfrastructureError as error:
        complain_of(error)
        leases, code = None, error.exit_code
    return leftovers(Registry(), leases, cache_directory(os.environ)), code


def remove(found: list[Leftover], *, quiet: bool = False) -> int:
    """Remove what was found and report it, unless ``quiet``; a failure is reported and does not prevent removing the rest."""
    code = ExitCode.HOLDS
    for each in found:
        text = each.text
        try:
            each.remove()
        except HarnessError as error:
            complain_of(error)
            code = ExitCode.INFRASTRUCTURE
        else:
            if not quiet:
                say(f"done: {text}")
    return code
