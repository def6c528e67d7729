# SPDX-License-Identifier: MIT
"""Parameters that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
"""Print JSON instead of text."""

JUnitAll = Annotated[
    bool,
    typer.Option(
        "--junit-all", help="In the JUnit file, also list the rules that had nothing to judge, as skipped."
    ),
]
"""Write every rule to the JUnit file."""

Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Also print the timeline, the whole verdict and the observations."),
]
"""Print everything that is known about a run before its summary."""

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="The run directory, 'latest', or its id in runs/.")
]
"""A recorded run."""
RunPaths = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN", help="Run directories, history files, or directories of runs, e.g. runs/latest."
    ),
]
"""Runs and sets of runs to read."""
