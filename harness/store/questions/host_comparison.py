# SPDX-License-Identifier: MIT
"""The hosts of a lab, and which of them differ from the others: in their results on the same points and builds, and in their times.

Hosts do not run the same points equally often, so shares of failures cannot be compared as they are. The Mantel-Haenszel test
compares them within each point and build (Mantel and Haenszel 1959, J. Natl. Cancer Inst. 22, 719-748).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from harness.report.answer_table import AnswerTable
from harness.store.questions.slow import RECENT_DAYS, TimedThing, timings

if TYPE_CHECKING:
    from sqlalchemy import Connection

CRITICAL = 10.83
"""The value of chi-square with one degree of freedom that chance exceeds once in 1000 times."""

FEWEST_TIMES = 10
"""Times of a host below which its median is not compared."""

RATIO = 1.5
"""A median that differs by this factor from that of the other hosts is named."""

WORDS = ("holds", "violated", "unknown", "infrastructure")

Cells = Mapping[tuple[int, int], Mapping[str, Mapping[str, int]]]
"""Counts of runs: by point and build, by host, by result."""


class HostResults(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one host; ``runs`` are those with any result."""

    host: str
    runs: int
    holds: int
    violated: int
    unknown: int
    infrastructure: int


class HostDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A host that differs: ``what`` differs, the figure ``here``, and the one that the other hosts lead to expect, ``elsewhere``."""

    host: str
    what: str
    here: float
    elsewhere: float


class HostComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The hosts of the last ``days``, and those that differ from the others."""

    days: float
    hosts: list[HostResults]
    differences: list[HostDifference]

    def tables(self) -> list[AnswerTable]:
        """Return both as tables."""
        counts = ("runs", *WORDS)
        return [
            AnswerTable(
                title="Hosts that differ from the others, on the same points and builds",
                columns=("host", "what", "here", "elsewhere"),
                rows=[
                    (one.host or "-", one.what, f"{one.here:.0f}", f"{one.elsewhere:.1f}")
                    for one in self.differences
                ],
                right=frozenset({"here", "elsewhere"}),
            ),
            AnswerTable(
                title=f"Results by host, last {self.days:g} days",
                columns=("host", *counts),
                rows=[(one.host or "-", *(getattr(one, name) for name in counts)) for one in self.hosts],
                empty="no runs",
                right=frozenset(counts),
            ),
        ]


def host_comparison(connection: Connection, *, days: float, beginning: int) -> HostComparison:
    """Return the hosts since ``beginning``, in seconds since the epoch, and those that differ."""
    cells = _cells(connection, beginning)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for by_host in cells.values():
        for host, by_word in by_host.items():
            for word, times in by_word.items():
                counts[host][word] += times
    hosts = [
        HostResults(
            host=host, runs=sum(said.values()), **{word: said[word] for word in WORDS}
        )
        for host, said in sorted(counts.items())
    ]  # fmt: skip
    found = [
        difference
        for host in sorted(counts)
        for difference in (
            _differs(cells, host, "runs that do not hold", _not_holding),
            _differs(cells, host, "infrastructure failures", _infrastructure),
        )
        if difference is not None
    ]
    found += _times(timings(connection, days=days, beginning=beginning))
    return HostComparison(days=days, hosts=hosts, differences=found)


def _cells(connection: Connection, beginning: int) -> Cells:
    from sqlalchemy import func, select

    from harness.store.models import StoredHost, StoredRun

    rows = connection.execute(
        select(
            StoredRun.point_id,
            StoredRun.build_id,
            StoredHost.name,
            StoredRun.word,
            func.count().label("times"),
        )
        .join(StoredHost, StoredHost.id == StoredRun.host_id)
        # A first attempt that was tried again says something about its host too.
        .where(StoredRun.at >= beginning, StoredRun.word.in_(WORDS))
        .group_by(StoredRun.point_id, StoredRun.build_id, StoredHost.name, StoredRun.word)
    )
    found: dict[tuple[int, int], dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        found[row.point_id, row.build_id][row.name][row.word] = int(row.times)
    return found


Split = Callable[[Mapping[str, int]], tuple[int, int]]


def _not_holding(words: Mapping[str, int]) -> tuple[int, int]:
    """Return how many of the judged runs do not hold, and how many were judged."""
    failed = words.get("violated", 0) + words.get("unknown", 0)
    return failed, failed + words.get("holds", 0)


def _infrastructure(words: Mapping[str, int]) -> tuple[int, int]:
    return words.get("infrastructure", 0), sum(words.values())


def _differs(cells: Cells, host: str, what: str, split: Split) -> HostDifference | None:
    """Return what differs on a host, by the Mantel-Haenszel test with its continuity correction; None if nothing is proved."""
    seen = expected = variance = 0.0
    for by_host in cells.values():
        if host not in by_host or len(by_host) < 2:
            continue
        failed, runs = split(by_host[host])
        others = [split(words) for name, words in by_host.items() if name != host]
        all_failed, all_runs = failed + sum(one[0] for one in others), runs + sum(one[1] for one in others)
        if all_runs < 2:
            continue
        seen += failed
        expected += runs * all_failed / all_runs
        variance += (
            runs * (all_runs - runs) * all_failed * (all_runs - all_failed) / (all_runs**2 * (all_runs - 1))
        )
    if not variance or max(0.0, abs(seen - expected) - 0.5) ** 2 / variance < CRITICAL:
        return None
    return HostDifference(host=host, what=what, here=seen, elsewhere=expected)


def _times(things: list[TimedThing]) -> list[HostDifference]:
    found = []
    enough = [one for one in things if one.times >= FEWEST_TIMES]
    for one in enough:
        others = [other.p50 for other in enough if other.what == one.what and other.host != one.host]
        usual = median(others) if others else 0.0
        if usual and not 1 / RATIO < one.p50 / usual < RATIO:
            what = f"median of {one.what}, ms, last {RECENT_DAYS} days"
            found.append(HostDifference(host=one.host, what=what, here=one.p50, elsewhere=usual))
    return found
