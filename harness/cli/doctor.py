# SPDX-License-Identifier: MIT
"""``harness doctor``: what this machine can do, what is missing, and how to get it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.parameters import Json
from harness.errors import ExitCode

if TYPE_CHECKING:
    from harness.cli.documents import DoctorDocument
    from harness.host.preflight import HostPart
    from harness.report.style import Style


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("doctor")(doctor)


def doctor(
    qemu: Annotated[
        Path | None,
        typer.Option("--qemu", metavar="PATH", help="Look at this QEMU instead of the one on PATH."),
    ] = None,
    json: Json = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="First remove what killed runs left, and probe KVM again.")
    ] = False,
) -> int:
    """Say what this machine can do and what is missing. Starts no guest; changes nothing without --fix.

    Ends with 0 if the main job, a run on the twin, can run; with 69 if it cannot.
    """
    import os
    import sys
    import time

    from harness.cli.output import say, say_json
    from harness.deadline import Deadline
    from harness.host.preflight import examine, ready
    from harness.report.style import style_for
    from harness.setup.cache import cache_directory
    from harness.template import evaluation
    from harness.template.store import Store, store_directory

    if fix:
        _fix(quiet=json)
    parts = examine(Deadline(60, "looking at this machine"), qemu=qemu, cache=cache_directory(os.environ))
    parts += evaluation.examine(Store(store_directory(os.environ)), time.time())
    able = ready(parts)
    if json:
        document: DoctorDocument = {"ready": able, "parts": parts}
        say_json(document)
    else:
        style = style_for(sys.stdout)
        for part in parts:
            say(_lines(part, style))
        say(["", _conclusion(parts, able)])
    return ExitCode.HOLDS if able else ExitCode.INFRASTRUCTURE


def _fix(*, quiet: bool) -> None:
    """Do what is safe: what ``harness gc`` does, and forget what the last probe of KVM said."""
    import os

    from harness.cli.gc import remove, what_is_left
    from harness.cli.output import say
    from harness.host.kvm_probe import forget
    from harness.setup.cache import cache_directory

    remove(what_is_left(), quiet=quiet)
    if forget(cache_directory(os.environ)) and not quiet:
        say("done: forget what the last probe of KVM said; the next run with --accel auto tries it again")


def _lines(part: HostPart, style: Style) -> list[str]:
    from harness.host.preflight import PartState
    from harness.report.escape import printable

    paint = style.good if part.state is PartState.OK else style.bad if part.needed else style.doubtful
    lines = [f"{paint(f'{part.state.value:<8}')} {part.name:<12} {printable(part.found, 300)}"]
    if part.state is not PartState.OK:
        lines.append(f"{'':<21} for: {part.serves}")
        if part.supply:
            lines.append(f"{'':<21} get: {part.supply}")
    return lines


def _conclusion(parts: list[HostPart], able: bool) -> str:
    from harness.host.preflight import PartState

    if able:
        return "The main job can run: harness demo"
    lacking = ", ".join(part.name for part in parts if part.needed and part.state is not PartState.OK)
    return f"The main job cannot run yet: {lacking}"
