# SPDX-License-Identifier: MIT
"""The order of a matrix's cells by expected information: points on a new build first, then flaky ones, then the least
recent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from harness.lab.matrix import Cell
from harness.store.questions.flaky import flaky

if TYPE_CHECKING:
    from sqlalchemy import Connection

FLAKY_DAYS = 30.0
"""The span of days in which a point's flips make it flaky."""

Why = Literal["new", "new build", "left out", "flaky", "seen"]

RANKS: dict[Why, int] = {"new": 0, "new build": 0, "left out": 1, "flaky": 2, "seen": 3}
"""The order of preference. Equal cells are ordered by the time of their last run, the oldest first."""


class KnownBuild(msgspec.Struct, frozen=True, kw_only=True):
    """The known parts of a cell's build before it runs, "" for an unknown part."""

    qemu: str = ""
    driver: str = ""


class TellingCell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell, the reason for its place, and the time of its point's last run in seconds since the epoch, 0 for
    never."""

    cell: Cell
    why: Why
    seen: int


def telling(
    connection: Connection,
    cells: Sequence[Cell],
    *,
    lab: str,
    without: str,
    builds: Mapping[str, KnownBuild],
    beginning: int,
) -> list[TellingCell]:
    """Return all cells, the most informative first. Every point comes once before any repetition.

    ``builds`` has the known parts of each machine's build (:attr:`Cell.machine`). ``without`` is the name of the
    nightly run that is under way. ``beginning``, in seconds since the epoch, begins the span that is searched for
    flaky points.
    """
    last = _last(connection)
    newest = _newest(last)
    before = _before(connection, lab, without)
    unsteady = {one.point for one in flaky(connection, days=FLAKY_DAYS, beginning=beginning).points}

    def why(cell: Cell) -> Why:
        seen = last.get(cell.point)
        if seen is None:
            return "new"
        _, guest_build, qemu, driver = seen
        build = builds.get(cell.machine, KnownBuild())
        others = newest.get(cell.guest, (0, ""))[1]
        if build.qemu not in ("", qemu) or build.driver not in ("", driver) or guest_build != others:
            return "new build"
        if before is not None and (cell.point, cell.repetition) not in before:
            return "left out"
        return "flaky" if cell.point in unsteady else "seen"

    found = [TellingCell(cell=cell, why=why(cell), seen=last.get(cell.point, (0,))[0]) for cell in cells]
    return sorted(found, key=lambda one: (one.cell.repetition, RANKS[one.why], one.seen))


Seen = tuple[int, str, str, str]
"""The time of a point's last run, and the builds on which it ran: the guest's, QEMU's, the driver's."""


def _last(connection: Connection) -> dict[str, Seen]:
    from sqlalchemy import func, select

    from harness.store.models import StoredBuild, StoredPoint, StoredRun

    newest = (
        select(StoredRun.point_id, func.max(StoredRun.at).label("at"))
        .where(StoredRun.counted, StoredRun.word != "skipped")
        .group_by(StoredRun.point_id)
        .subquery()
    )
    asked = (
        select(
            StoredPoint.name,
            StoredRun.at,
            StoredBuild.guest_build,
            StoredBuild.qemu_build,
            StoredBuild.driver_digest,
        )
        .join(newest, (newest.c.point_id == StoredRun.point_id) & (newest.c.at == StoredRun.at))
        .join(StoredPoint, StoredPoint.id == StoredRun.point_id)
        .join(StoredBuild, StoredBuild.id == StoredRun.build_id)
        .where(StoredRun.counted, StoredRun.word != "skipped")
        .order_by(StoredRun.id)
    )
    return {
        row.name: (int(row.at), row.guest_build, row.qemu_build, row.driver_digest)
        for row in connection.execute(asked)
    }


def _newest(last: Mapping[str, Seen]) -> dict[str, tuple[int, str]]:
    """Return the build of each guest that was run last at any point. A point that did not run on it has a new
    build."""
    found: dict[str, tuple[int, str]] = {}
    for point, (at, guest_build, _, _) in last.items():
        guest = point.partition(".")[0]
        if guest_build and (at, guest_build) > found.get(guest, (0, "")):
            found[guest] = at, guest_build
    return found


def _before(connection: Connection, lab: str, without: str) -> set[tuple[str, int]] | None:
    """Return the cells that ran in the lab's last nightly run, None if there was none."""
    from sqlalchemy import select

    from harness.store.models import StoredNightly, StoredPoint, StoredRun

    night = connection.scalar(
        select(StoredNightly.id)
        .where(StoredNightly.lab == lab, StoredNightly.name != without)
        .order_by(StoredNightly.at.desc(), StoredNightly.id.desc())
        .limit(1)
    )
    if night is None:
        return None
    asked = (
        select(StoredPoint.name, StoredRun.repetition)
        .join(StoredPoint, StoredPoint.id == StoredRun.point_id)
        .where(StoredRun.nightly_id == night, StoredRun.word != "skipped")
    )
    return {(row.name, row.repetition) for row in connection.execute(asked)}
