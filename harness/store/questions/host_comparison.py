# SPDX-License-Identifier: MIT
"""The hosts of a lab, and which of them differ from the others on the same points and builds: in results, and in times.

Hosts do not run the same points equally often, so shares of failures cannot be compared as they are. The
Mantel-Haenszel test compares them within each point and build (Mantel and Haenszel 1959, J. Natl. Cancer Inst. 22,
719-748). :mod:`harness.store.questions.host_times` compares times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from harness.report.answer_table import AnswerTable
from harness.store.questions.host_difference import CRITICAL, HostDifference
from harness.store.questions.host_times import host_times
from harness.store.questions.timing_samples import timing_samples

if TYPE_CHECKING:
    from sqlalchemy import Connection

WORDS = ("holds", "violated", "unknown", "infrastructure")

Cells = Mapping[tuple[int, int], Mapping[str, Mapping[str, int]]]
"""Counts of runs: by point and build, by host, by result."""


class HostResults(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one host. ``runs`` is their sum.

    An attempt that does not count, because it was repeated or its nightly run was interrupted, is counted only if it
    was an infrastructure failure.
    """

    host: str
    runs: int
    holds: int
    violated: int
    unknown: int
    infrastructure: int


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
                columns=("host", "what", "ratio", "here", "elsewhere", "most at"),
                rows=[
                    (
                        one.host or "-",
                        one.what,
                        f"{one.ratio:.1f}" if one.ratio is not None else "-",
                        f"{one.here:.0f}",
                        f"{one.elsewhere:.1f}",
                        one.point or "-",
                    )
                    for one in self.differences
                ],
                right=frozenset({"ratio", "here", "elsewhere"}),
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
    # Runs on an unknown host may be those of any host: they are counted, and not compared.
    known = {
        place: {host: words for host, words in by_host.items() if host} for place, by_host in cells.items()
    }
    found = [
        difference
        for host in sorted(counts)
        for difference in (
            _differs(known, host, "runs that do not hold", _not_holding),
            _differs(known, host, "infrastructure failures", _infrastructure),
        )
        if difference is not None
    ]
    found += host_times(timing_samples(connection, days=days, beginning=beginning))
    return HostComparison(days=days, hosts=hosts, differences=found)


def _cells(connection: Connection, beginning: int) -> Cells:
    from sqlalchemy import func, or_, select

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
        .where(
            StoredRun.at >= beginning,
            StoredRun.word.in_(WORDS),
            # A host that fails must be seen, although its cells are repeated on other hosts.
            or_(StoredRun.counted, StoredRun.word == "infrastructure"),
        )
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
