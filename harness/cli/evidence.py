# SPDX-License-Identifier: MIT
"""``harness evidence``: shows or packs the evidence of a failed run, to attach it to a bug report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.output import say_result
from harness.cli.parameters import Json, RunName
from harness.errors import ExitCode, UsageError
from harness.invocation import invocation
from harness.report.escape import printable

if TYPE_CHECKING:
    from harness.cli.documents import PackDocument

group = typer.Typer(help="The evidence of a failed run.", no_args_is_help=True)


@group.command("show")
def show(name: RunName, json: Json = False) -> int:
    """Show what was collected before the guest was ended, what could not be collected, and why."""
    from harness.cli.run_set import one_run, run_named
    from harness.contract.explanation import reproduction
    from harness.history.run_directory import RunDirectory

    run = one_run(run_named(name))
    index = RunDirectory(run).evidence()
    if index is None:
        raise UsageError(
            f"{run} has no evidence",
            hint=f"It is collected when a run fails or is violated. What was recorded: {invocation('show', run)}",
        )
    lines = [f"{printable(index.run, 100)}: {printable(index.why, 400)}"]
    if index.failure_class or index.stage:
        lines.append(
            f"class {printable(index.failure_class, 40) or '-'}, stage {printable(index.stage, 40) or '-'}"
        )
    lines.append("")
    for item in index.items:
        files = ", ".join(printable(str(run / name), 400) for name in item.files)
        said = f"{files}  ({item.bytes} bytes)" if files else printable(item.reason, 400)
        lines.append(f"{item.state:<10}  {printable(item.name, 40):<16}  {said}")
    if again := reproduction(run):
        lines += ["", f"Do it again: {again}"]
    say_result(index, lines, json=json)
    return ExitCode.HOLDS


@group.command("pack")
def pack(
    name: Annotated[
        str,
        typer.Argument(
            metavar="RUN|TEMPLATE",
            help="The run directory, 'latest', its id in runs/, or the name of a template, for its build.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The archive; the name with .tar.gz by default."),
    ] = None,
    limit: Annotated[
        str, typer.Option(metavar="SIZE", help="The maximum size before compression.")
    ] = "256 MiB",
    dump: Annotated[bool, typer.Option("--dump", help="Also pack memory dumps.")] = False,
    json: Json = False,
) -> int:
    """Make one archive of a run or a template's build, to attach to a bug report, without links, disks, keys and passwords."""
    from harness.cli.run_set import one_run, run_named
    from harness.report.pack import pack as make
    from harness.size import Size

    try:
        size = Size(limit)
    except ValueError as error:
        raise UsageError(f"--limit: {error}") from error
    run = run_named(name)
    build = _build_named(name, run)
    try:
        run = one_run(build or run)
    except UsageError as error:
        error.hint += (
            f" Or the name of a template that is, or was to be, built: {invocation('template', 'list')}"
        )
        raise
    archive = out or Path(f"{run.resolve().name}{'-build' if build else ''}.tar.gz")
    manifest = make(run, archive, limit=size, dumps=dump, secrets=_passwords(run))
    document: PackDocument = {"archive": str(archive), "manifest": manifest}
    lines = [f"{archive}: {len(manifest.files)} files, {archive.stat().st_size} bytes"]
    lines += [
        f"  left out: {printable(file.name, 200)} ({file.bytes} bytes): {file.why}"
        for file in manifest.left_out
    ]
    say_result(document, lines, json=json)
    return ExitCode.HOLDS


def _build_named(name: str, run: Path) -> Path | None:
    """Return the folder of the template ``name``: of its interrupted build, or the built template; None if it is a run."""
    from harness.template.checkpoints import CheckpointStack
    from harness.template.store import NAME, Store, store_directory

    # Not Path's method: it raises for a name that is too long.
    if os.path.lexists(run) or not NAME.fullmatch(name):
        return None
    store = Store(store_directory(os.environ))
    kept = CheckpointStack.read(store.checkpoints(name))
    unfinished = [] if kept is not None and kept.finished else [store.checkpoints(name)]
    return next((one for one in (*unfinished, store.folder(name)) if one.is_dir()), None)


def _passwords(folder: Path) -> list[bytes]:
    """Return the password of the guest that is built in ``folder``, in each form in which it may be written."""
    from harness.history.json_file import read_json
    from harness.report.pack import CREDENTIALS
    from harness.template.manifest import GuestCredentials

    known = read_json(folder / CREDENTIALS, GuestCredentials)
    return known.spellings() if known is not None else []
