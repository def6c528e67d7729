# SPDX-License-Identifier: MIT
"""The last runs, and their results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.report.answer_table import AnswerTable
from harness.store.questions.moment import short, stamp
from harness.store.questions.rows import of_row

if TYPE_CHECKING:
    from sqlalchemy import Connection


class LastRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``night`` is the nightly run that made it, "" for none. ``word`` is its result.

    ``counted`` is false for an attempt that does not count: it was repeated, or its nightly run was interrupted.
    """

    run: str
    at: str
    night: str
    point: str
    word: str
    counted: bool
    failure_class: str
    reason: str
    seconds: float
    guest_build: str
    qemu_build: str
    driver_digest: str
    directory: str


class LastRuns(msgspec.Struct, frozen=True, kw_only=True):
    """The last runs, newest first."""

    runs: list[LastRun]

    def tables(self) -> list[AnswerTable]:
        """Return the runs as a table."""
        rows = [
            (
                short(run.at),
                run.word if run.counted else f"{run.word}, not counted",
                run.point,
                f"{run.seconds:.0f}",
                run.run,
                run.reason if run.word != "holds" else "",
            )
            for run in self.runs
        ]
        columns = ("when (UTC)", "result", "point", "s", "run", "reason")
        return [
            AnswerTable(
                title="Last runs", columns=columns, rows=rows, empty="no runs", right=frozenset({"s"})
            )
        ]


def last_runs(connection: Connection, *, count: int, failed: bool = False) -> LastRuns:
    """Return the last ``count`` runs. With ``failed``, return only those that do not hold."""
    from sqlalchemy import select

    from harness.store.models import StoredBuild, StoredNightly, StoredPoint, StoredRun

    asked = (
        select(StoredRun, StoredPoint.name.label("point"), StoredBuild, StoredNightly.name.label("night"))
        .join(StoredPoint, StoredRun.point_id == StoredPoint.id)
        .join(StoredBuild, StoredRun.build_id == StoredBuild.id)
        .join(StoredNightly, StoredRun.nightly_id == StoredNightly.id, isouter=True)
        .order_by(StoredRun.at.desc(), StoredRun.id.desc())
        .limit(count)
    )
    if failed:
        asked = asked.where(StoredRun.word.not_in(("holds", "skipped")))
    return LastRuns(
        runs=[
            of_row(LastRun, row, run=row[1], at=stamp(row.at), night=row.night or "")
            for row in connection.execute(asked)
        ]
    )
