# SPDX-License-Identifier: MIT
"""What runs cost: how many seconds a run of each point of the matrix took on average."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

DAYS = 90.0
"""Days whose runs tell what one costs."""


def cost(connection: Connection, *, beginning: int) -> dict[str, float]:
    """Return the seconds that a run of each point took on average since ``beginning``; skipped cells took none."""
    from sqlalchemy import func, select

    from harness.store.models import StoredPoint, StoredRun

    asked = (
        select(StoredPoint.name, func.avg(StoredRun.seconds).label("seconds"))
        .join(StoredPoint, StoredPoint.id == StoredRun.point_id)
        .where(StoredRun.at >= beginning, StoredRun.word != "skipped")
        .group_by(StoredPoint.name)
    )
    return {row.name: float(row.seconds) for row in connection.execute(asked)}
