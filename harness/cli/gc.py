# SPDX-License-Identifier: MIT
"""``harness gc``: end and remove what killed runs of this user left behind, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import ExitCode
from harness.invocation import invocation

if TYPE_CHECKING:
    from harness.lab.leftover import Leftover


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("gc")(gc)


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be ended and removed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """End and remove what killed runs of yours left behind: machines, sockets, leases, images nobody uses any more.

    A machine whose harness lives is never touched, nor anything of another user.
    """
    import sys

    from harness.cli.output import say
    from harness.errors import UsageError

    found = what_is_left()
    if not found:
        say("Nothing is left behind.")
        return ExitCode.HOLDS
    if dry_run:
        say(f"would {each.text}" for each in found)
        return ExitCode.HOLDS
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                f"{len(found)} leftovers, and nobody to ask",
                hint=f"To list them: {invocation('gc', '--dry-run')}\nTo remove them: {invocation('gc', '--yes')}",
            )
        say(f"would {each.text}" for each in found)
        if not typer.confirm("Go on?"):
            return ExitCode.HOLDS
    return remove(found)


def what_is_left() -> list[Leftover]:
    """Return what killed runs of this user have left on this host."""
    import os

    from harness.host.lease import Leases
    from harness.host.registry import Registry
    from harness.lab.leftover import leftovers
    from harness.setup.cache import cache_directory

    return leftovers(Registry(), Leases(), cache_directory(os.environ))


def remove(found: list[Leftover], *, quiet: bool = False) -> int:
    """Remove what was found and say so, unless ``quiet``; what cannot be removed is said and does not keep the rest from it."""
    from harness.cli.output import complain_of, say
    from harness.errors import HarnessError

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
