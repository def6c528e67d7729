# SPDX-License-Identifier: MIT
"""Parameters that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")]
"""Print JSON instead of text."""

JUnitAll = Annotated[
    bool,
    typer.Option(
        "--junit-all", help="In the JUnit file: the rules too that had nothing to judge, as skipped."
    ),
]
"""Write every rule to the JUnit file."""

Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Print the timeline, the whole verdict and what was observed too."),
]
"""Print everything that is known of a run before its summary."""

RunPaths = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN", help="Run directories, history files, or directories of runs, e.g. runs/latest."
    ),
]
"""Runs and sets of runs to read."""
