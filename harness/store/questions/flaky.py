# SPDX-License-Identifier: MIT
"""Flaky points: those that held in some runs and failed in others on one build, with the number of flips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.interval import Rate, wilson
from harness.report.answer_table import AnswerTable
from harness.store.questions.moment import short, stamp
from harness.store.questions.rows import of_row

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST = 100
"""The most points of one answer: those with the most flips."""


class FlakyPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point on one build. ``rate`` is its rate of failures. ``flips`` counts changes from one run to the next."""

    point: str
    guest_build: str
    qemu_build: str
    driver_digest: str
    flips: int
    rate: Rate
    last_failed: str


class Flaky(msgspec.Struct, frozen=True, kw_only=True):
    """The flaky points of the last ``days``. Runs whose infrastructure or plan failed do not count."""

    days: float
    points: list[FlakyPoint]

    def tables(self) -> list[AnswerTable]:
        """Return the points as a table."""
        rows = [
            (
                one.point,
                one.flips,
                f"{100 * one.rate.rate:.0f} %",
                str(one.rate),
                short(one.last_failed),
                _build(one),
            )
            for one in self.points
        ]
        columns = ("point", "flips", "fails", "failed", "last failed", "on")
        title = f"Flaky in the last {self.days:g} days"
        return [AnswerTable(title=title, columns=columns, rows=rows, right=frozenset({"flips", "fails"}))]


def _build(one: FlakyPoint) -> str:
    parts = (one.guest_build, f"QEMU {one.qemu_build}" if one.qemu_build else "", one.driver_digest)
    return ", ".join(part for part in parts if part)


def flaky(connection: Connection, *, days: float, beginning: int) -> Flaky:
    """Return the points that flipped since ``beginning``, in seconds since the epoch."""
    from sqlalchemy import and_, case, func, select

    from harness.store.models import StoredBuild, StoredPoint, StoredRun

    failed = case((StoredRun.word == "holds", 0), else_=1)
    seen = (
        select(
            StoredRun.point_id,
            StoredRun.build_id,
            StoredRun.at,
            failed.label("failed"),
            func.lag(failed)
            .over(
                partition_by=(StoredRun.point_id, StoredRun.build_id), order_by=(StoredRun.at, StoredRun.id)
            )
            .label("before"),
        )
        .where(
            and_(
                StoredRun.at >= beginning,
                StoredRun.counted,
                StoredRun.word.in_(("holds", "violated", "unknown")),
            )
        )
        .subquery()
    )
    flips = func.sum(case((seen.c.failed != seen.c.before, 1), else_=0))
    grouped = (
        select(
            seen.c.point_id,
            seen.c.build_id,
            flips.label("flips"),
            func.count().label("runs"),
            func.sum(seen.c.failed).label("failed"),
            func.max(case((seen.c.failed == 1, seen.c.at), else_=0)).label("last_failed"),
        )
        .group_by(seen.c.point_id, seen.c.build_id)
        .having(flips > 0)
        .order_by(flips.desc())
        .limit(MOST)
        .subquery()
    )
    rows = connection.execute(
        select(
            grouped,
            StoredPoint.name.label("point"),
            StoredBuild.guest_build,
            StoredBuild.qemu_build,
            StoredBuild.driver_digest,
        )
        .join(StoredPoint, StoredPoint.id == grouped.c.point_id)
        .join(StoredBuild, StoredBuild.id == grouped.c.build_id)
        .order_by(grouped.c.flips.desc(), StoredPoint.name)
    )
    return Flaky(
        days=days,
        points=[
            of_row(
                FlakyPoint,
                row,
                flips=int(row.flips),
                rate=wilson(int(row.failed), int(row.runs)),
                last_failed=stamp(row.last_failed),
            )
            for row in rows
        ],
    )
