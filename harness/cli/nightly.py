# SPDX-License-Identifier: MIT
"""``harness nightly --once``: the matrix of a ``lab.toml``, every run in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.parameters import Json, JUnitAll
from harness.errors import ExitCode, UsageError
from harness.invocation import invocation

if TYPE_CHECKING:
    from harness.lab.matrix import Matrix
    from harness.lab.nightly import Nightly
    from harness.lab.nightly_state import CellOutcome, NightlyState


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("nightly")(nightly)


def nightly(
    once: Annotated[bool, typer.Option("--once", help="Go through the matrix once, then end.")] = False,
    lab: Annotated[Path, typer.Option(metavar="FILE", help="The matrix.")] = Path("lab.toml"),
    into: Annotated[Path, typer.Option(metavar="DIR", help="Where nightly runs are kept.")] = Path("nightly"),
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Name of the nightly run; by default today's.")
    ] = "",
    parallel: Annotated[
        int, typer.Option(metavar="N", min=0, help="Runs at once; by default what the matrix says.")
    ] = 0,
    only: Annotated[
        str,
        typer.Option(
            metavar="EXPR",
            help="Run these cells: field=value with and, or, not; e.g. 'guest=twin and not plan=veto'.",
        ),
    ] = "",
    rerun_failed: Annotated[
        str,
        typer.Option("--rerun-failed", metavar="NIGHTLY", help="Run what did not hold in that nightly run."),
    ] = "",
    until: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Start no run that is not expected to end before: 06:00, 8h; the most telling ones come first.",
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be run and what it costs, and stop.")
    ] = False,
    notify: Annotated[
        str,
        typer.Option(
            "--notify",
            metavar="COMMAND",
            help="A command, without a shell, that gets the morning summary on standard input.",
        ),
    ] = "",
    notify_as: Annotated[
        str, typer.Option("--notify-as", metavar="FORM", help="Its form: text, markdown or html.")
    ] = "text",
    metrics: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write metrics in Prometheus' text format; FILE ends in .prom."),
    ] = None,
    despite_reservations: Annotated[
        bool,
        typer.Option("--despite-reservations", help="Start runs though somebody has reserved this host."),
    ] = False,
    junit_all: JUnitAll = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a lab.toml, for editors, and stop.")
    ] = False,
    json: Json = False,
) -> int:
    """Run guests x QEMU builds x topologies x plans x repetitions; continue an interrupted nightly run."""
    import time

    from harness.cli.nightly_plan import costs, ordered, say_plan
    from harness.cli.notification import notification, tell_morning
    from harness.cli.output import complain, say, say_json, say_schema
    from harness.cli.retention import retain_after
    from harness.host.end_time import read_end_time
    from harness.lab import cell_choice, summary
    from harness.lab.matrix import lab_schema, read_matrix
    from harness.lab.nightly import Nightly
    from harness.lab.nightly_state import open_nightly_run
    from harness.store.address import store_address
    from harness.store.nightly_keeper import NightlyKeeper

    if schema:
        say_schema(lab_schema())
        return ExitCode.HOLDS
    if not once and not dry_run:
        raise UsageError(
            "a nightly run needs --once",
            hint=f"Start it every night with cron or a systemd timer: {invocation('nightly', '--once')}",
        )
    matrix = read_matrix(lab)
    if rerun_failed:
        matrix = cell_choice.failed(
            matrix, Path(rerun_failed) if "/" in rerun_failed else into / rerun_failed
        )
    if only:
        matrix = cell_choice.only(matrix, only)
    address = store_address(into, matrix.document.store.url, base=lab.parent)
    now, said = time.time(), until or matrix.document.until
    ends = read_end_time(said, what="--until" if until else "until", now=now) if said else None
    parallel = parallel or matrix.document.parallel
    if dry_run:
        cells = matrix.cells if ends is None else ordered(matrix, address, lab.parent)
        rest = None if ends is None else ends - now
        say_plan(matrix, cells, costs(address), parallel=parallel, seconds=rest, json=json)
        return ExitCode.HOLDS
    command = notification(notify, notify_as)
    with open_nightly_run(into, matrix, name=name) as state:
        done = len(state.outcomes)
        keeper = NightlyKeeper(address, state)
        try:
            with _progress(state, matrix, done=done, quiet=json) as (show, tick):

                def tell(outcome: CellOutcome) -> None:
                    show(outcome)
                    if (error := keeper.note(outcome)) is not None:
                        complain(f"not in the result store yet: {error.message}", error.hint)

                lab_run = Nightly(
                    matrix,
                    state,
                    parallel=parallel,
                    tell=tell,
                    tick=lambda: tick(lab_run),
                    hold=(lambda: "") if despite_reservations else _hold(matrix),
                    costs=costs(address),
                    until=ends,
                    order=()
                    if ends is None
                    else ordered(matrix, address, lab.parent, without=state.head.name),
                )
                lab_run.run()
        finally:
            summary.write(state, matrix, everything=junit_all)
            if json:
                say_json(summary.document(state, matrix))
            else:
                say([*summary.lines(state, matrix), "", f"Summary, JUnit and runs: {state.directory}"])
            keeper.close()
        tell_morning(keeper, state, matrix, command=command, form=notify_as, metrics=metrics)
        if matrix.document.keep.said:
            retain_after(address, into, matrix.document.keep, quiet=json)
        return summary.exit_code(state, left=0)


def _hold(matrix: Matrix) -> Callable[[], str]:
    """Return what says who has reserved this host; what changes is said at once."""
    import os

    from harness.cli.output import complain
    from harness.host.lease_directory import lease_directory
    from harness.host.reservations import why_reserved

    private = getattr(matrix.document, "private_leases", False) is True
    place = lease_directory(os.environ, private=private)
    last = ""

    def hold() -> str:
        nonlocal last
        now = why_reserved(place)
        if now and now != last:
            complain(f"this host is {now}", "No run starts until then. Runs that are under way go on.")
        elif last and not now:
            complain("this host is not reserved any more: the nightly run goes on")
        last = now
        return now

    return hold


@contextmanager
def _progress(
    state: NightlyState, matrix: Matrix, *, done: int, quiet: bool
) -> Iterator[tuple[Callable[[CellOutcome], None], Callable[[Nightly], None]]]:
    """Yield a function that shows a run that is over, and one that is called twice a second."""
    import sys

    from harness.cli.nightly_plan import duration
    from harness.cli.output import complain
    from harness.lab.summary import word
    from harness.report.escape import printable
    from harness.report.style import is_terminal, style_for

    total = len(matrix.cells)
    if quiet:
        yield lambda _: None, lambda _: None
        return
    if done:
        complain(f"continuing {state.directory}: {done} of {total} runs are over")
    style = style_for(sys.stderr)

    def line(outcome: CellOutcome) -> str:
        name = word(outcome)
        paint = {"holds": style.good, "violated": style.bad}.get(name, style.doubtful)
        why = "" if name == "holds" else f"  {printable(outcome.reason, 160)}"
        return f"{paint(name)}  {outcome.cell}  {outcome.seconds:.0f} s{why}"

    if not is_terminal(sys.stderr):

        def plain(outcome: CellOutcome) -> None:
            sys.stderr.write(f"[{len(state.outcomes)}/{total}] {line(outcome)}\n")
            sys.stderr.flush()

        yield plain, lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task("0 under way", total=total, completed=done, left="")

    def tell(outcome: CellOutcome) -> None:
        bar.console.print(Text.from_ansi(line(outcome)), soft_wrap=True)
        bar.update(task, completed=len(state.outcomes))

    def tick(nightly: Nightly) -> None:
        seconds = nightly.estimate()
        about = "" if seconds is None else f"about {duration(seconds)} left"
        bar.update(task, description=f"{len(nightly.running)} under way", left=about)

    with bar:
        yield tell, tick
