# SPDX-License-Identifier: MIT
"""``harness doctor``: what this machine can do, what is missing, and how to get it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.output import say, say_result
from harness.cli.parameters import Json
from harness.deadline import Deadline
from harness.errors import ExitCode, HarnessError
from harness.invocation import invocation
from harness.report.escape import printable
from harness.report.style import Style, style_for

if TYPE_CHECKING:
    from harness.cli.documents import DoctorDocument
    from harness.host.host_part import HostPart


def doctor(
    qemu: Annotated[
        Path | None,
        typer.Option("--qemu", metavar="PATH", help="Check this QEMU instead of the one on PATH."),
    ] = None,
    json: Json = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read all cached files and templates, to find damage.")
    ] = False,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="First remove what killed runs left behind, and let KVM be probed again."),
    ] = False,
) -> int:
    """List first what the main job lacks and how to get it, then the optional parts. No guest is started;
    nothing changes without --fix.

    Exits with 0 if the main job, a run on the twin, can run, and with 69 if it cannot.
    """
    from harness.host.cached_content import examine_content
    from harness.host.capacity import examine_cache
    from harness.host.preflight import examine, install_command, ready

    if fix:
        _fix(quiet=json)
    cache, parts = examine_cache(os.environ)
    parts += examine(Deadline(60, "looking at this machine"), qemu=qemu, cache=cache)
    parts += _templates(cache, deep=deep)
    if deep and cache is not None:
        parts += examine_content(cache)
    able = ready(parts)
    document: DoctorDocument = {"ready": able, "install": install_command(parts), "parts": parts}
    say_result(document, _report(parts, able, style_for(sys.stdout)), json=json)
    return ExitCode.HOLDS if able else ExitCode.INFRASTRUCTURE


def _templates(cache: Path | None, *, deep: bool) -> list[HostPart]:
    """Return the built templates, read completely if ``deep``; if they cannot be read, one part says why."""
    from harness.host.host_part import HostPart, PartState
    from harness.template import damage, evaluation
    from harness.template.store import Store, store_directory

    try:
        store = Store(store_directory(os.environ))
        return evaluation.examine(store, time.time()) + (damage.examine(store, cache) if deep else [])
    except HarnessError as error:
        return [
            HostPart(
                name="template", state=PartState.BROKEN, found=error.message, serves=evaluation.SERVES,
                supply=error.hint,
            )
        ]  # fmt: skip


def _fix(*, quiet: bool) -> None:
    """Make the safe repairs: those of ``harness gc``, and discard the result of the last KVM probe."""
    from harness.cli.gc import remove, what_is_left
    from harness.host.kvm_probe import forget
    from harness.setup.cache import cache_directory

    found, _ = what_is_left(quiet=quiet)
    remove(found, quiet=quiet)
    if forget(cache_directory(os.environ)) and not quiet:
        say("done: forget what the last probe of KVM said; the next run with --accel auto tries it again")


def _report(parts: list[HostPart], able: bool, style: Style) -> Iterator[str]:
    """Yield the lines: what the main job lacks, the one command that supplies it, what it has, and the optional parts."""
    from harness.host.host_part import PartState
    from harness.host.preflight import install_command

    needed = [part for part in parts if part.needed]
    lacking = [part for part in needed if part.state is not PartState.OK]
    if lacking:
        yield style.strong(f"The main job, {invocation('demo')}, lacks:")
        for part in lacking:
            yield from _needed(part, style)
        if command := install_command(parts):
            yield ""
            yield style.strong(f"Get all packages at once: {invocation('setup')}, or by hand:")
            yield f"  {command}"
        yield ""
    yield style.strong("The main job has:")
    for part in needed:
        if part not in lacking:
            yield from _needed(part, style)
    yield ""
    yield style.strong(f"Optional, {invocation('demo')} needs none of it:")
    for part in parts:
        if not part.needed:
            yield from _optional(part, style)
    yield ""
    yield (
        style.good(f"The main job can run: {invocation('demo')}")
        if able
        else style.bad(f"The main job cannot run yet: {', '.join(part.name for part in lacking)}")
    )


def _needed(part: HostPart, style: Style) -> Iterator[str]:
    from harness.host.host_part import PartState

    paint = style.good if part.state is PartState.OK else style.bad
    name, blank = f"{part.name:<12}", " " * 12
    yield from _row(style, f"{part.state.value:<8}", name, printable(part.found, 300), paint)
    if part.state is not PartState.OK:
        yield from _row(style, " " * 8, blank, f"for: {part.serves}")
        if part.supply:
            yield from _row(style, " " * 8, blank, f"get: {part.supply}")


def _optional(part: HostPart, style: Style) -> Iterator[str]:
    """Yield the present parts in one row, and the missing ones in faint rows, since they are optional."""
    from harness.host.host_part import PartState

    sign = {PartState.OK: "+", PartState.MISSING: "-", PartState.BROKEN: "!"}[part.state]
    row = _row(style, sign, f"{part.name:<14}", printable(part.found, 300))
    if part.state is PartState.OK:
        yield from row
        return
    way = f"{part.serves}: {part.supply}" if part.supply else f"for: {part.serves}"
    yield from map(style.faint, [*row, *_row(style, " ", " " * 14, way)])


def _row(style: Style, word: str, name: str, text: str, paint: Callable[[str], str] = str) -> Iterator[str]:
    """Yield a coloured ``word``, a ``name`` and ``text`` in columns; the text is wrapped in its column."""
    head = f"  {word} {name} "
    first, *rest = style.fold(f"{head}{text}", indent=len(head))
    yield f"  {paint(word)}{first[2 + len(word) :]}"
    yield from rest
