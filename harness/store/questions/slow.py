# SPDX-License-Identifier: MIT
"""Durations: the slowest runs, percentiles of all timed parts of each guest on each host, and their drift."""

from __future__ import annotations

from itertools import chain
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from harness.report.answer_table import AnswerTable
from harness.store.questions.moment import short, stamp
from harness.store.questions.rows import of_row
from harness.store.questions.timing_samples import FEWEST, RECENT_DAYS, TimingSample, timing_samples

if TYPE_CHECKING:
    from sqlalchemy import Connection

SLOWEST = 10
"""The most runs of one answer."""


class SlowRun(msgspec.Struct, frozen=True, kw_only=True):
    """One of the slowest runs."""

    run: str
    at: str
    point: str
    seconds: float
    directory: str


class TimedThing(msgspec.Struct, frozen=True, kw_only=True):
    """A timed part of one guest on one host, in milliseconds over the last seven days: nearest-rank percentiles.

    ``before_p50`` is the median of the earlier days. ``drift`` compares each point of the matrix with itself
    (:func:`drift`), because the days may differ in how often they ran each point. Each is None if unknown.
    """

    what: str
    guest: str
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
                one.what, one.guest, one.host or "-", one.times, *(f"{ms:.0f}" for ms in (one.p50, one.p90, one.p99, one.most)),
                f"{one.before_p50:.0f}" if one.before_p50 is not None else "-",
                f"{100 * (one.drift - 1):+.0f} %" if one.drift is not None else "-",
            )
            for one in self.timings
        ]  # fmt: skip
        names = ("what", "guest", "host", "times", "p50", "p90", "p99", "most", "p50 before", "drift")
        title = f"Times in ms, last {RECENT_DAYS} days, and the median of the days before"
        return [
            AnswerTable(
                title=f"Slowest runs of the last {self.days:g} days",
                columns=("s", "when (UTC)", "point", "run"),
                rows=runs,
                right=frozenset({"s"}),
            ),
            AnswerTable(title=title, columns=names, rows=times, right=frozenset(names[3:])),
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
    runs = [of_row(SlowRun, row, at=stamp(row.at)) for row in rows]
    return Slow(days=days, runs=runs, timings=timings(connection, days=days, beginning=beginning))


def timings(connection: Connection, *, days: float, beginning: int) -> list[TimedThing]:
    """Return what is timed of each guest on each host since ``beginning``, in seconds since the epoch."""
    groups: dict[tuple[str, str, str], list[TimingSample]] = {}
    for one in timing_samples(connection, days=days, beginning=beginning):
        groups.setdefault((one.what, one.guest, one.host), []).append(one)
    things = (_thing(what, guest, host, samples) for (what, guest, host), samples in groups.items())
    return [one for one in things if one is not None]


def percentile(times: list[float], percent: int) -> float:
    """Return the nearest-rank percentile: the smallest time that at least so many percent of the times do not
    exceed."""
    return times[max(0, -(-len(times) * percent // 100) - 1)]


def _thing(what: str, guest: str, host: str, samples: list[TimingSample]) -> TimedThing | None:
    now, before = (
        sorted(chain(*times)) for times in ((one.now for one in samples), (one.before for one in samples))
    )
    if not now:
        return None
    return TimedThing(
        what=what,
        guest=guest,
        host=host,
        times=len(now),
        p50=percentile(now, 50),
        p90=percentile(now, 90),
        p99=percentile(now, 99),
        most=now[-1],
        before_times=len(before),
        before_p50=percentile(before, 50) if before else None,
        drift=drift(samples),
    )


def drift(samples: list[TimingSample]) -> float | None:
    """Return the median, over points, of the ratio of a point's median to its median in the days before.

    Points with fewer than three times on either side are not compared. Return None if no point is left.
    """
    points: dict[str, tuple[list[float], list[float]]] = {}
    for one in samples:
        now, before = points.setdefault(one.point, ([], []))
        now += one.now
        before += one.before
    ratios = [
        median(now) / median(before)
        for now, before in points.values()
        if min(len(now), len(before)) >= FEWEST and median(before)
    ]
    return median(ratios) if ratios else None
