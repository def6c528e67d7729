# SPDX-License-Identifier: MIT
"""Parameters that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")]
"""Print JSON instead of text."""

RunPaths = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN", help="Run directories, history files, or directories of runs, e.g. runs/latest."
    ),
]
"""Runs and sets of runs to read."""
