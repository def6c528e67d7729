# SPDX-License-Identifier: MIT
"""``harness nightly --once``: the matrix of a ``lab.toml``, every run in a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.output import complain, say, say_json, say_schema
from harness.cli.parameters import Json, JUnitAll
from harness.errors import ExitCode, UsageError
from harness.interrupts import unreplaced_interruptions
from harness.invocation import invocation

if TYPE_CHECKING:
    from harness.cli.nightly_view import NightlyView
    from harness.fleet.nightly import FleetNightly
    from harness.lab.matrix import Matrix
    from harness.lab.nightly import Nightly
    from harness.lab.nightly_state import CellOutcome, NightlyState


def nightly(
    once: Annotated[bool, typer.Option("--once", help="Run the matrix once, then exit.")] = False,
    lab: Annotated[Path, typer.Option(metavar="FILE", help="The matrix.")] = Path("lab.toml"),
    into: Annotated[Path, typer.Option(metavar="DIR", help="Directory of nightly runs.")] = Path("nightly"),
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Name of the nightly run; by default today's.")
    ] = "",
    parallel: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Number of concurrent runs; by default that of the matrix."),
    ] = 0,
    only: Annotated[
        str,
        typer.Option(
            metavar="EXPR",
            help="Run only these cells: field=value with and, or, not; e.g. 'guest=twin and not plan=veto'.",
        ),
    ] = "",
    rerun_failed: Annotated[
        str,
        typer.Option(
            "--rerun-failed", metavar="NIGHTLY", help="Run the cells that did not hold in that nightly run."
        ),
    ] = "",
    until: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Start only runs that are expected to end before: 06:00, 8h. The most informative come first.",
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the runs and their expected times, and exit.")
    ] = False,
    notify: Annotated[
        str,
        typer.Option(
            "--notify",
            metavar="COMMAND",
            help="Command that gets the morning summary on standard input; no shell.",
        ),
    ] = "",
    notify_as: Annotated[
        str,
        typer.Option("--notify-as", metavar="FORM", help="Format of the summary: text, markdown or html."),
    ] = "text",
    metrics: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write metrics in Prometheus' text format; FILE ends in .prom."),
    ] = None,
    despite_reservations: Annotated[
        bool,
        typer.Option(
            "--despite-reservations", help="Start runs although another user has reserved this host."
        ),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Show the nightly run under way, from any terminal, until it ends."),
    ] = False,
    junit_all: JUnitAll = False,
    scheduler: Annotated[
        str,
        typer.Option(
            "--scheduler",
            metavar="URL",
            help="Run the cells on the hosts of this scheduler; by default [fleet] of the matrix.",
        ),
    ] = "",
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a lab.toml, for editors, and exit.")
    ] = False,
    json: Json = False,
) -> int:
    """Run guests x QEMU builds x topologies x plans x repetitions; continue an interrupted nightly run."""
    from harness.cli.fleet_options import fleet_settings
    from harness.cli.nightly_plan import costs, ordered, refused, say_plan
    from harness.cli.nightly_view import NightlyView
    from harness.cli.nightly_watch import watch_nightly
    from harness.cli.notification import check_metrics, notification, tell_morning
    from harness.cli.retention import retain_after
    from harness.explore.generation import load_hypothesis
    from harness.host.end_time import read_end_time, shown
    from harness.lab import cell_choice, summary
    from harness.lab.lab_document import UNTIL, lab_schema
    from harness.lab.live_nightly import NightlyWatch
    from harness.lab.matrix import read_matrix
    from harness.lab.matrix_rehearsal import rehearse_matrix
    from harness.lab.nightly import Nightly
    from harness.lab.nightly_pass import PassOptions
    from harness.lab.nightly_state import open_nightly_run
    from harness.store.address import store_address
    from harness.store.nightly_keeper import NightlyKeeper

    if schema:
        say_schema(lab_schema())
        return ExitCode.HOLDS
    if watch:
        return watch_nightly(into, name, json=json)
    if not once and not dry_run:
        raise UsageError(
            "a nightly run needs --once",
            hint=f"To start it every night, use cron or a systemd timer: {invocation('nightly', '--once')}",
        )
    matrix = read_matrix(lab)
    explore = matrix.document.explore if not (only or rerun_failed) else ""
    if explore and not dry_run:
        load_hypothesis()
    if rerun_failed:
        matrix = cell_choice.failed(
            matrix, Path(rerun_failed) if "/" in rerun_failed else into / rerun_failed
        )
    if only:
        matrix = cell_choice.only(matrix, only)
    if wrong := rehearse_matrix(matrix):
        raise refused(matrix, wrong, json=json)
    command = notification(notify, notify_as)
    check_metrics(metrics)
    address = store_address(into, matrix.document.store.url, base=lab.parent)
    now, said = time.time(), until or matrix.document.until
    ends = read_end_time(said, what="--until" if until else "until", now=now) if said else None
    explore_ends = read_end_time(explore.removeprefix(UNTIL), what="explore", now=now) if explore else now
    if ends is not None:
        explore_ends = min(explore_ends, ends)
    parallel = parallel or matrix.document.parallel
    if dry_run:
        cells = matrix.cells if ends is None else ordered(matrix, address, lab.parent)
        rest = None if ends is None else ends - now
        many = bool(scheduler or matrix.document.fleet.scheduler)
        say_plan(matrix, cells, costs(address), parallel=parallel, seconds=rest, json=json, fleet=many)
        if explore and not json:
            say(f"then exploring until {shown(explore_ends)}: {', '.join(matrix.explored)}")
        return ExitCode.HOLDS
    fleet = fleet_settings(matrix.document.fleet, scheduler, lab.parent, into)
    if fleet is not None and despite_reservations:
        raise UsageError(
            "--despite-reservations applies to this host only, and cannot be combined with a scheduler",
            hint="To release a host's reservation, run on that host: harness reserve --release",
        )
    with open_nightly_run(into, matrix, name=name) as state:
        done = len(state.outcomes)
        keeper = NightlyKeeper(address, state)
        try:
            if done and not json:
                complain(f"continuing {state.directory}: {done} of {len(matrix.cells)} runs have ended")
            took = costs(address)
            order = () if ends is None else ordered(matrix, address, lab.parent, without=state.head.name)
            with NightlyView(quiet=json) as view:

                def tell(outcome: CellOutcome) -> None:
                    view.over(outcome, number=len(state.outcomes), planned=len(matrix.cells))
                    if (error := keeper.note(outcome)) is not None:
                        view.complain(f"not in the result store yet: {error.message}", error.hint)

                options = PassOptions(
                    parallel=parallel, tell=tell, tick=lambda: view.now(looking.look()), costs=took, until=ends,
                    order=order,
                )  # fmt: skip
                lab_run: Nightly | FleetNightly
                looking: NightlyWatch
                if fleet is not None:
                    from harness.fleet.nightly import FleetNightly

                    lab_run = FleetNightly(matrix, state, options, fleet, say=view.complain)
                else:
                    hold = (lambda: "") if despite_reservations else _hold(matrix, view.complain)
                    lab_run = Nightly(matrix, state, options, hold=hold)
                looking = NightlyWatch(lab_run, state, matrix)
                try:
                    with unreplaced_interruptions():
                        lab_run.run()
                        if explore:
                            _explore(lab_run, matrix, state, into, view, ends=explore_ends, tick=options.tick)
                finally:
                    looking.close()
        except Exception as error:
            state.failed = getattr(error, "exit_code", ExitCode.INFRASTRUCTURE)
            raise
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


def _explore(
    lab_run: Nightly | FleetNightly,
    matrix: Matrix,
    state: NightlyState,
    into: Path,
    view: NightlyView,
    *,
    ends: float,
    tick: Callable[[], None],
) -> None:
    """Give the rest of the time to exploring, if the runs were on this host."""
    from harness.lab.nightly import Nightly
    from harness.lab.spare_time import SpareTime
    from harness.setup.cache import cache_directory

    if not isinstance(lab_run, Nightly):
        view.complain("nothing is explored: the runs of a fleet are on other hosts", "")
        return
    cache = cache_directory(os.environ)
    SpareTime(
        matrix, state, into, cache=cache, ends=ends, hold=lab_run.look_held, say=view.say, tick=tick
    ).spend()


def _hold(matrix: Matrix, complain: Callable[[str, str], None]) -> Callable[[], str]:
    """Return a function that returns who has reserved this host. It calls ``complain`` when that changes."""
    from harness.host.lease_directory import lease_directory
    from harness.host.reservations import why_reserved

    private = getattr(matrix.document, "private_leases", False) is True
    place = lease_directory(os.environ, private=private)
    last = ""

    def hold() -> str:
        nonlocal last
        now = why_reserved(place)
        if now and now != last:
            complain(f"this host is {now}", "No run starts until then. Runs under way continue.")
        elif last and not now:
            complain("this host is no longer reserved: the nightly run continues", "")
        last = now
        return now

    return hold
