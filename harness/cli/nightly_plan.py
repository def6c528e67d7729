# SPDX-License-Identifier: MIT
"""The remaining work of a nightly run: its cells in order, their expected times, and which of them have enough
time."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harness.cli.output import complain, say, say_json
from harness.errors import HarnessError, MissingPart, UsageError
from harness.host.qemu_build import find_qemu
from harness.lab.expected_time import ExpectedTime
from harness.lab.lab_document import resolved
from harness.lab.matrix import NO_QEMU, Cell, Matrix
from harness.lab.matrix_rehearsal import WrongPoint
from harness.report.duration import duration
from harness.store.address import StoreAddress
from harness.store.database import Database
from harness.store.nightly_keeper import SHORT_S
from harness.store.questions.cost import DAYS, cost
from harness.store.questions.moment import since
from harness.store.questions.telling import FLAKY_DAYS, KnownBuild, telling

if TYPE_CHECKING:
    from harness.cli.documents import NightlyPlan
    from harness.store.database import Connection


T = TypeVar("T")


def costs(address: StoreAddress) -> dict[str, float]:
    """Return the average time of a run of each point, from the result store. Return nothing without a store."""
    return _asked(
        address, lambda connection: cost(connection, beginning=since(DAYS)), {}, "the time of each run"
    )


def ordered(matrix: Matrix, address: StoreAddress, base: Path, *, without: str = "") -> list[Cell]:
    """Return the cells, the most informative first by the result store. Without a store, use the matrix's order.

    ``without`` is the name of the nightly run under way. Relative paths of the matrix begin at ``base``.
    """

    def ask(connection: Connection) -> list[Cell]:
        found = telling(
            connection, matrix.cells, lab=matrix.document.name, without=without, builds=_builds(matrix, base),
            beginning=since(FLAKY_DAYS),
        )  # fmt: skip
        return [one.cell for one in found]

    return _asked(address, ask, matrix.cells, "the order of the runs")


def _asked(address: StoreAddress, ask: Callable[[Connection], T], otherwise: T, what: str) -> T:
    if address.file is not None and not address.file.exists():
        return otherwise
    try:
        with Database.open(address, wait=SHORT_S) as store, store.reading() as connection:
            return ask(connection)
    except MissingPart:
        return otherwise
    except HarnessError as error:
        complain(f"{what} is unknown: {error.message}", error.hint)
        return otherwise


def _builds(matrix: Matrix, base: Path) -> dict[str, KnownBuild]:
    """Return the QEMU build and the driver of each machine, where they are known before its runs."""
    qemus, drivers = {NO_QEMU: ""}, dict[str, str]()
    for row in matrix.document.qemu:
        qemus[row.name] = ""
        if row.backend == "qemu":
            try:
                found = find_qemu(resolved(base, row.path) if row.path else "")
                qemus[row.name] = found.text.removeprefix("QEMU emulator version ")
            except HarnessError:
                # Its runs report the error.
                continue
    for guest in matrix.document.guest:
        file = resolved(base, guest.driver) if guest.driver else None
        try:
            drivers[guest.name] = (
                hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file and file.is_file() else ""
            )
        except OSError:
            drivers[guest.name] = ""
    return {
        cell.machine: KnownBuild(qemu=qemus.get(cell.qemu, ""), driver=drivers.get(cell.guest, ""))
        for cell in matrix.cells
    }


def refused(matrix: Matrix, wrong: Sequence[WrongPoint], *, json: bool) -> UsageError:
    """Print each point that cannot be executed, and return the error that ends the command.

    With ``json`` they are in the error's message instead, for its document.
    """
    runs = sum(point.runs for point in wrong)
    said = f"{matrix.origin[1]}: {runs} of {len(matrix.cells)} runs cannot be executed; nothing was started"
    for point in () if json else wrong:
        # Each on its own, because a message of many lines is cut.
        complain(str(point), point.hint)
    return UsageError(
        "\n".join([said, *map(str, wrong)]) if json else said,
        hint="Change their plans, topologies or options, or leave them out with [[skip]] or --only.",
    )


def say_plan(
    matrix: Matrix,
    cells: Sequence[Cell],
    took: dict[str, float],
    *,
    parallel: int,
    seconds: float | None,
    json: bool,
    fleet: bool = False,
) -> None:
    """Print the cells in their order, each with its expected time from the result store.

    ``seconds`` is the time until the nightly run's end. Cells without enough time are marked. ``fleet`` is whether
    ``parallel`` is the number of each host of a fleet.
    """
    known = [took[cell.point] for cell in cells if cell.point in took]
    late = set[str]()
    if seconds is not None:
        late = _too_late(cells, ExpectedTime(matrix, took), parallel=parallel, seconds=seconds)
    if json:
        document: NightlyPlan = {
            "digest": matrix.digest,
            "cells": [
                {
                    "id": cell.id,
                    "seed": cell.seed,
                    "seconds": took.get(cell.point),
                    "in_time": cell.id not in late,
                }
                for cell in cells
            ],
            "skipped": matrix.skipped,
            "known": len(known),
            "seconds": sum(known),
        }
        say_json(document)
        return
    for number, cell in enumerate(cells, 1):
        about = f"  about {duration(took[cell.point])}" if cell.point in took else ""
        say(
            f"{number:>5}  {cell.id}  seed {cell.seed}{about}{'  not enough time' if cell.id in late else ''}"
        )
    say(f"       left out: {skipped.point}: {skipped.why}" for skipped in matrix.skipped)
    if known:
        unknown = len(cells) - len(known)
        rest = f"; the times of {unknown} runs are unknown" if unknown else ""
        say(
            f"about {duration(sum(known) / min(parallel, len(cells)))}{' on one host' * fleet}, {sum(known) / 60:.1f} minutes of runs, "
            f"by earlier runs{rest}"
        )
    if late:
        say(f"not enough time for {len(late)} runs")
    say(f"{len(cells)} runs, {parallel} at once{' on each host of the fleet' * fleet}")


def _too_late(cells: Sequence[Cell], expected: ExpectedTime, *, parallel: int, seconds: float) -> set[str]:
    """Return the cells that a nightly run would leave out if each takes its expected time."""
    free = [0.0] * parallel
    late = set()
    for cell in cells:
        ends = free[0] + expected.of(cell)
        if ends <= seconds:
            heapq.heapreplace(free, ends)
        else:
            late.add(cell.id)
    return late
