# SPDX-License-Identifier: MIT
"""Timing samples: the recorded times of each host, by the point of the matrix and the build that were run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from harness.store.questions.moment import DAY
from harness.store.questions.rows import of_row

if TYPE_CHECKING:
    from sqlalchemy import Connection

RECENT_DAYS = 7
"""The number of recent days, which are compared with the days before them."""

FEWEST = 3
"""The fewest times on each side of a comparison at one point."""


class TimingSample(msgspec.Struct, frozen=True, kw_only=True):
    """The times of ``what`` on one host, at one point and on one build of the guest and QEMU.

    ``now`` are those of the recent days, ``before`` those of the earlier days of the span, in milliseconds, sorted.
    """

    what: str
    host: str
    guest: str
    point: str
    build: tuple[str, str]
    now: list[float]
    before: list[float]


def timing_samples(connection: Connection, *, days: float, beginning: int) -> list[TimingSample]:
    """Return the samples of the ``days`` since ``beginning``, in seconds since the epoch."""
    from sqlalchemy import Text, case, cast, func, select

    from harness.store.models import StoredBuild, StoredHost, StoredPoint, StoredRun, StoredTiming

    edge = beginning + int(max(0.0, days - RECENT_DAYS) * DAY)

    def times(when: Any) -> Any:
        # One text for each group: transferring a row for each time would take longer than the query.
        return func.aggregate_strings(case((when, cast(StoredTiming.ms, Text))), " ")

    key = (StoredTiming.what, StoredTiming.host_id, StoredRun.point_id, StoredRun.build_id)
    grouped = (
        select(*key, times(StoredRun.at >= edge).label("now"), times(StoredRun.at < edge).label("before"))
        .join(StoredRun, StoredRun.id == StoredTiming.run_id)
        .where(StoredRun.at >= beginning)
        .group_by(*key)
        .subquery()
    )
    asked = (
        select(
            grouped,
            StoredHost.name.label("host"),
            StoredPoint.name.label("point"),
            StoredPoint.guest,
            StoredBuild.guest_build,
            StoredBuild.qemu_build,
        )
        .join(StoredHost, StoredHost.id == grouped.c.host_id)
        .join(StoredPoint, StoredPoint.id == grouped.c.point_id)
        .join(StoredBuild, StoredBuild.id == grouped.c.build_id)
        .order_by(grouped.c.what, StoredPoint.guest, StoredHost.name, StoredPoint.name, grouped.c.build_id)
    )
    return [
        of_row(
            TimingSample,
            row,
            build=(row.guest_build, row.qemu_build),
            now=_sorted(row.now),
            before=_sorted(row.before),
        )
        for row in connection.execute(asked)
    ]


def _sorted(said: str | None) -> list[float]:
    return sorted(map(float, (said or "").split()))
