# SPDX-License-Identifier: MIT
"""``harness store``: the result store, an index of run directories that can be rebuilt at any time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.lab_store import Into, Lab
from harness.cli.output import complain, progress_bar, say_result
from harness.cli.parameters import Json
from harness.errors import ExitCode, UsageError
from harness.invocation import invocation
from harness.report.escape import printable
from harness.report.style import is_terminal

if TYPE_CHECKING:
    from harness.cli.documents import StoreLoadDocument
    from harness.store.address import StoreAddress
    from harness.store.loader import LoadReport
    from harness.store.source import RunSource
    from harness.store.upkeep import CheckReport

group = typer.Typer(
    help="The result store: an index of run directories, which remain the primary data.", no_args_is_help=True
)

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATH",
        help="Nightly runs, run directories, or directories of them; by default those in --into.",
    ),
]

MOST_NAMED = 10
"""Maximum number of unreadable runs that are named; the rest are counted."""

WORTH_A_BAR = 200
"""Minimum number of runs for a progress bar."""


@group.command("load")
def load(paths: Paths = None, into: Into = Path("nightly"), lab: Lab = None, json: Json = False) -> int:
    """Load runs into the store, which is created if there is none. A run that is loaded twice counts once."""
    from harness.cli.lab_store import address_of
    from harness.store.database import Database
    from harness.store.loader import load as load_runs

    address = address_of(into, lab)
    runs = _sources(paths or [into])
    with Database.open(address, make=True) as store, _bar(len(runs), quiet=json) as told:
        report = load_runs(store, runs, told=told)
    return _say(report, str(address), json=json)


@group.command("rebuild")
def rebuild(
    paths: Paths = None,
    into: Into = Path("nightly"),
    lab: Lab = None,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Drop runs whose directories are gone; only the store has them."),
    ] = False,
    json: Json = False,
) -> int:
    """Rebuild the store from run directories. The old store is replaced only when the new one is complete."""
    from harness.cli.lab_store import address_of
    from harness.store.database import Database
    from harness.store.upkeep import rebuild as rebuild_store

    address = address_of(into, lab)
    runs = _sources(paths or [into])
    with Database.open(address, make=True) as store, _bar(len(runs), quiet=json) as told:
        report = rebuild_store(store, runs, forget=forget, told=told)
    return _say(report, str(address), json=json)


@group.command("prune")
def prune(
    older_than: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS", min=0, help="Remove runs from the store that began more than this many days ago."
        ),
    ] = None,
    directories: Annotated[
        bool,
        typer.Option(
            "--directories",
            help="Remove run directories according to the lab's [keep]; the store keeps their verdicts.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the number of runs that would be removed.")
    ] = False,
    into: Into = Path("nightly"),
    lab: Lab = None,
    json: Json = False,
) -> int:
    """Remove old runs from the store, or old run directories of nightly runs from the disk."""
    from harness.cli.lab_store import address_of, lab_of
    from harness.cli.retention import say_retention
    from harness.store.database import Database
    from harness.store.questions.moment import since
    from harness.store.retention import retain
    from harness.store.upkeep import prune as prune_store

    if older_than is None and not directories:
        raise UsageError(
            "store prune needs --older-than DAYS or --directories", hint="For example --older-than 400"
        )
    document, _ = lab_of(lab)
    keep = document.keep if document is not None else None
    if directories and (keep is None or not keep.said):
        raise UsageError(
            "--directories needs a table [keep] in lab.toml",
            hint='For example: [keep], then days = 30, failed_days = 90, total = "200 GiB"',
        )
    address = address_of(into, lab)
    with Database.open(address, make=not dry_run) as store:
        report = retain(store, into, keep, dry=dry_run) if directories and keep is not None else None
        count = 0 if older_than is None else prune_store(store, before=since(older_than), dry=dry_run)
    if report is not None and not json:
        say_retention(report, dry=dry_run)
    removed = "" if dry_run else ", and were removed"
    text = f"{address}: {count} runs are older than {older_than or 0:g} days{removed}"
    result = {"store": str(address), "removed": 0 if dry_run else count, "old": count, "directories": report}
    say_result(result, [] if older_than is None else text, json=json)
    return ExitCode.INFRASTRUCTURE if report is not None and report.failed else ExitCode.HOLDS


@group.command("check")
def check(into: Into = Path("nightly"), lab: Lab = None, json: Json = False) -> int:
    """Compare the store with the run directories that it names. Exits with 3 if they differ, 69 if it is damaged."""
    from harness.cli.lab_store import address_of
    from harness.store.database import Database
    from harness.store.upkeep import check as check_store

    address = address_of(into, lab)
    with Database.open(address) as store:
        report = check_store(store)
    say_result({"store": str(address), "report": report}, _check_lines(address, report), json=json)
    if report.damage:
        return ExitCode.INFRASTRUCTURE
    return ExitCode.UNKNOWN if report.gone_count or report.changed_count else ExitCode.HOLDS


def _check_lines(address: StoreAddress, report: CheckReport) -> Iterator[str]:
    yield f"{address}: {report.runs} runs, {report.nightlies} nightly runs"
    yield f"  {report.rules} rule verdicts, {report.failures} failures in {report.incidents} incidents"
    yield f"  from {report.oldest or '-'} to {report.newest or '-'}"
    if report.removed:
        yield f"  {report.removed} runs whose directories retention removed"
    if report.damage:
        yield f"  damaged: {printable(report.damage, 1000)}"
    changed = f"whose directories have changed: {invocation('store', 'load')}"
    for count, names, what in (
        (report.gone_count, report.gone, "whose directories are gone: only the store has them"),
        (report.changed_count, report.changed, changed),
    ):
        if count:
            yield f"  {count} runs {what}"
            yield from (f"    {printable(name)}" for name in names)


def _sources(paths: list[Path]) -> list[RunSource]:
    from harness.store.source import sources

    return list(sources(paths))


def _say(report: LoadReport, address: str, *, json: bool) -> int:
    document: StoreLoadDocument = {"store": address, "report": report}
    text = f"{address}: {report.added} runs are new, {report.changed} have changed, {report.same} were there"
    say_result(document, text, json=json)
    if not json:
        for one in report.unreadable[:MOST_NAMED]:
            complain(f"not loaded: {one.why}")
        if (more := len(report.unreadable) - MOST_NAMED) > 0:
            complain(f"not loaded: {more} more; --json names them all")
    return ExitCode.UNKNOWN if report.unreadable else ExitCode.HOLDS


@contextmanager
def _bar(total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Yield the function to call with the number of processed runs."""
    if quiet or total < WORTH_A_BAR or not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    bar = progress_bar(TextColumn("loading"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    task = bar.add_task("loading", total=total)
    with bar:
        yield lambda looked: bar.update(task, completed=looked)
