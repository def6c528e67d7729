# SPDX-License-Identifier: MIT
"""The cost of runs: the average time of a run of each point of the matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

DAYS = 90.0
"""The span of days over which times are averaged."""


def cost(connection: Connection, *, beginning: int) -> dict[str, float]:
    """Return the average seconds of a run of each point since ``beginning``. Skipped cells are not counted."""
    from sqlalchemy import func, select

    from harness.store.models import StoredPoint, StoredRun

    asked = (
        select(StoredPoint.name, func.avg(StoredRun.seconds).label("seconds"))
        .join(StoredPoint, StoredPoint.id == StoredRun.point_id)
        .where(StoredRun.at >= beginning, StoredRun.word != "skipped")
        .group_by(StoredPoint.name)
    )
    return {row.name: float(row.seconds) for row in connection.execute(asked)}
