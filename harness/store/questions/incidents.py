# SPDX-License-Identifier: MIT
"""Incidents: one line for each failure signature, over all its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.report.answer_table import AnswerTable
from harness.store.questions.moment import short, stamp
from harness.store.questions.rows import of_row

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST = 200
"""The most incidents of one answer: those seen last."""

MOST_POINTS = 3
"""The most points that are named for one incident. The rest are counted."""


class IncidentLine(msgspec.Struct, frozen=True, kw_only=True):
    """One incident. ``runs`` counts the runs within the span. ``first`` and ``last`` are of all time.

    ``points`` are the matrix points where it occurred within the span. ``run`` is the directory of the last run with
    it.
    """

    signature: str
    rule: str
    failure_class: str
    witness: str
    runs: int
    first: str
    last: str
    points: list[str]
    run: str

    @property
    def title(self) -> str:
        """The rule with its witness, as one line."""
        return f"{self.rule}: {self.witness}" if self.rule else self.witness

    @property
    def where(self) -> str:
        """The points as one line."""
        more = len(self.points) - MOST_POINTS
        return ", ".join(self.points[:MOST_POINTS]) + (f" and {more} more" if more > 0 else "")


class Incidents(msgspec.Struct, frozen=True, kw_only=True):
    """The incidents of the last ``days``, the last seen first."""

    days: float
    incidents: list[IncidentLine]

    def tables(self) -> list[AnswerTable]:
        """Return the incidents as a table."""
        return [incident_table(f"Incidents of the last {self.days:g} days", self.incidents)]


def incident_table(title: str, incidents: Sequence[IncidentLine]) -> AnswerTable:
    """Return incidents as a table."""
    return AnswerTable(
        title=title,
        columns=("signature", "class", "runs", "first", "last", "what"),
        rows=[
            (
                one.signature,
                one.failure_class,
                one.runs,
                short(one.first),
                short(one.last),
                f"{one.title} ({one.where})",
            )
            for one in incidents
        ],
        right=frozenset({"runs"}),
    )


def incidents(connection: Connection, *, days: float, beginning: int) -> Incidents:
    """Return the incidents since ``beginning``, in seconds since the epoch."""
    from harness.store.models import StoredFailure

    return Incidents(days=days, incidents=incident_lines(connection, StoredFailure.at >= beginning))


def incident_lines(
    connection: Connection, *where: Any, only: Sequence[int] | None = None
) -> list[IncidentLine]:
    """Return the incidents of the failures that ``where`` selects, the last seen first. ``only`` restricts them by
    number."""
    from sqlalchemy import func, select

    from harness.store.models import StoredFailure, StoredIncident, StoredPoint, StoredRun

    if only is not None and not only:
        return []
    conditions = [*where, *([StoredFailure.incident_id.in_(only)] if only is not None else [])]
    counted = (
        select(
            StoredFailure.incident_id, func.count().label("runs"), func.max(StoredFailure.at).label("newest")
        )
        .where(*conditions)
        .group_by(StoredFailure.incident_id)
        .order_by(func.max(StoredFailure.at).desc())
        .limit(MOST)
        .subquery()
    )
    ever = StoredFailure.__table__.alias("ever")
    newest = (
        select(ever.c.run_id)
        .where(ever.c.incident_id == counted.c.incident_id)
        .order_by(ever.c.at.desc())
        .limit(1)
        .scalar_subquery()
    )
    bounds = {
        name: select(function(ever.c.at)).where(ever.c.incident_id == counted.c.incident_id).scalar_subquery()
        for name, function in (("first", func.min), ("last", func.max))
    }
    rows = connection.execute(
        select(
            StoredIncident,
            counted.c.runs,
            bounds["first"].label("first"),
            bounds["last"].label("last"),
            StoredRun.directory,
            StoredRun.name.label("run_name"),
        )
        .join(counted, counted.c.incident_id == StoredIncident.id)
        .join(StoredRun, StoredRun.id == newest)
        .order_by(counted.c.newest.desc(), StoredIncident.id)
    ).all()
    points: dict[int, list[str]] = {}
    numbers = [row.id for row in rows]
    for number, name in connection.execute(
        select(StoredFailure.incident_id, StoredPoint.name)
        .join(StoredRun, StoredRun.id == StoredFailure.run_id)
        .join(StoredPoint, StoredPoint.id == StoredRun.point_id)
        .where(*where, StoredFailure.incident_id.in_(numbers))
        .group_by(StoredFailure.incident_id, StoredPoint.name)
        .order_by(StoredFailure.incident_id, StoredPoint.name)
    ):
        points.setdefault(number, []).append(name)
    return [
        of_row(
            IncidentLine,
            row,
            first=stamp(row.first),
            last=stamp(row.last),
            points=points.get(row.id, []),
            run=row.directory or row.run_name,
        )
        for row in rows
    ]
