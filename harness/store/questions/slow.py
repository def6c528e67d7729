# SPDX-License-Identifier: MIT
"""Durations: the slowest runs, percentiles of all timed parts on each host, and their drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from harness.report.answer_table import AnswerTable
from harness.store.questions.moment import DAY, short, stamp
from harness.store.recorded_run import TIMED

if TYPE_CHECKING:
    from sqlalchemy import Connection

SLOWEST = 10
"""The most runs of one answer."""

RECENT_DAYS = 7
"""The number of recent days, which are compared with the days before them."""


class SlowRun(msgspec.Struct, frozen=True, kw_only=True):
    """One of the slowest runs."""

    run: str
    at: str
    point: str
    seconds: float
    directory: str


class TimedThing(msgspec.Struct, frozen=True, kw_only=True):
    """A timed part on one host, in milliseconds over the last seven days: nearest-rank percentiles.

    ``before_p50`` is the median of the earlier days, ``drift`` the ratio of the medians. Each is None if unknown.
    """

    what: str
    host: str
    times: int
    p50: float
    p90: float
    p99: float
    most: float
    before_times: int
    before_p50: float | None
    drift: float | None


class Slow(msgspec.Struct, frozen=True, kw_only=True):
    """The slowest runs of the last ``days``, and the times."""

    days: float
    runs: list[SlowRun]
    timings: list[TimedThing]

    def tables(self) -> list[AnswerTable]:
        """Return two tables: runs and times."""
        runs = [(f"{one.seconds:.0f}", short(one.at), one.point, one.run) for one in self.runs]
        times = [
            (
                one.what, one.host or "-", one.times, *(f"{ms:.0f}" for ms in (one.p50, one.p90, one.p99, one.most)),
                f"{one.before_p50:.0f}" if one.before_p50 is not None else "-",
                f"{100 * (one.drift - 1):+.0f} %" if one.drift is not None else "-",
            )
            for one in self.timings
        ]  # fmt: skip
        names = ("what", "host", "times", "p50", "p90", "p99", "most", "p50 before", "drift")
        title = f"Times in ms, last {RECENT_DAYS} days, and the median of the days before"
        return [
            AnswerTable(
                title=f"Slowest runs of the last {self.days:g} days",
                columns=("s", "when (UTC)", "point", "run"),
                rows=runs,
                right=frozenset({"s"}),
            ),
            AnswerTable(title=title, columns=names, rows=times, right=frozenset(names[2:])),
        ]


def slow(connection: Connection, *, days: float, beginning: int) -> Slow:
    """Return the slowest runs since ``beginning``, and the times. The recent days are the last seven of the span."""
    from sqlalchemy import select

    from harness.store.models import StoredPoint, StoredRun

    rows = connection.execute(
        select(
            StoredRun.name.label("run"),
            StoredRun.at,
            StoredRun.seconds,
            StoredRun.directory,
            StoredPoint.name.label("point"),
        )
        .join(StoredPoint, StoredPoint.id == StoredRun.point_id)
        .where(StoredRun.at >= beginning, StoredRun.counted)
        .order_by(StoredRun.seconds.desc(), StoredRun.id)
        .limit(SLOWEST)
    )
    runs = [
        SlowRun(run=row.run, at=stamp(row.at), point=row.point, seconds=row.seconds, directory=row.directory)
        for row in rows
    ]
    return Slow(days=days, runs=runs, timings=timings(connection, days=days, beginning=beginning))


def timings(connection: Connection, *, days: float, beginning: int) -> list[TimedThing]:
    """Return what is timed on each host since ``beginning``, in seconds since the epoch."""
    from sqlalchemy import Text, cast, column, func, select, true, values

    from harness.store.models import StoredHost, StoredTiming

    edge = beginning + int(max(0.0, days - RECENT_DAYS) * DAY)
    names = values(column("what", Text), name="timed").data([(what,) for what in TIMED]).cte()

    def times(*when: Any) -> Any:
        # One text for each group: transferring a row for each time would take longer than the query.
        texts = select(func.aggregate_strings(cast(StoredTiming.ms, Text), " "))
        return texts.where(
            StoredTiming.what == names.c.what, StoredTiming.host_id == StoredHost.id, *when
        ).scalar_subquery()

    asked = select(
        names.c.what,
        StoredHost.name,
        times(StoredTiming.at >= edge).label("now"),
        times(StoredTiming.at >= beginning, StoredTiming.at < edge).label("then"),
    )
    asked = asked.select_from(names.join(StoredHost, true())).order_by(names.c.what, StoredHost.name)
    return [
        _thing(row.what, row.name, _sorted(row.now), _sorted(row.then))
        for row in connection.execute(asked)
        if row.now
    ]


def _sorted(said: str | None) -> list[float]:
    return sorted(map(float, (said or "").split()))


def percentile(times: list[float], percent: int) -> float:
    """Return the nearest-rank percentile: the smallest time that at least so many percent of the times do not
    exceed."""
    return times[max(0, -(-len(times) * percent // 100) - 1)]


def _thing(what: str, host: str, now: list[float], then: list[float]) -> TimedThing:
    median, before = percentile(now, 50), percentile(then, 50) if then else None
    return TimedThing(
        what=what,
        host=host,
        times=len(now),
        p50=median,
        p90=percentile(now, 90),
        p99=percentile(now, 99),
        most=now[-1],
        before_times=len(then),
        before_p50=before,
        drift=median / before if before else None,
    )
