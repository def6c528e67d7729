# SPDX-License-Identifier: MIT
"""``harness attach``: connects this terminal, or a viewer, to a live guest."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.choice import check_choice
from harness.cli.output import flush, say
from harness.errors import ExitCode


def attach(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Directory of a live run, 'latest', or its id in runs/."),
    ],
    place: Annotated[str, typer.Argument(metavar="monitor|console|gdb|kd|vnc", help="What to attach to.")],
) -> int:
    """Attach to a live guest: its monitor and console on this terminal, a debugger or viewer through a loopback
    port."""
    from typing import get_args

    from harness.cli.run_set import one_run, run_named
    from harness.repro.attachment import Place
    from harness.repro.attachment import attach as connect

    check_choice("place", place, get_args(Place))

    def tell(line: str) -> None:
        say(line)
        flush()

    connect(one_run(run_named(run)), place, tell)  # type: ignore[arg-type]
    return ExitCode.HOLDS
