# SPDX-License-Identifier: MIT
"""Hosts that are slower or faster than the others at the same points of the matrix, on the same builds.

Hosts do not run the same points equally often, and a guest boots at one point in a tenth of its time at another. Times
are therefore compared only within a point and a build of the guest and QEMU. The van Elteren test combines these
comparisons (van Elteren 1960, Bull. Int. Stat. Inst. 37, 351-361): a rank-sum test within each, weighted by the
reciprocal of its number of times plus one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import msgspec

from harness.store.questions.host_difference import CRITICAL, HostDifference
from harness.store.questions.timing_samples import FEWEST, RECENT_DAYS, TimingSample

RATIO = 1.5
"""The median ratio to the other hosts at which a host is named."""

ByHost = Mapping[str, Sequence[float]]
"""The times at one point and build, by host."""


class _Compared(msgspec.Struct, frozen=True):
    """One host beside the others at one point and build: two medians."""

    point: str
    here: float
    elsewhere: float

    @property
    def ratio(self) -> float:
        return self.here / self.elsewhere


def host_times(samples: Iterable[TimingSample]) -> list[HostDifference]:
    """Return the hosts whose times of the recent days differ from those of the others.

    Times on an unknown host are not compared. A host is named if chance makes its difference once in 1000 times, and the median of its ratios reaches ``RATIO``.
    """
    strata: dict[str, dict[tuple[str, tuple[str, str]], dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for sample in samples:
        strata[sample.what][sample.point, sample.build][sample.host] += sample.now
    found = []
    for what, places in strata.items():
        enough = [
            (point, {host: times for host, times in by_host.items() if host and len(times) >= FEWEST})
            for (point, _), by_host in places.items()
        ]
        hosts = sorted({host for _, by_host in enough for host in by_host})
        found += [one for host in hosts if (one := _differs(what, host, enough)) is not None]
    return found


def _differs(what: str, host: str, places: Sequence[tuple[str, ByHost]]) -> HostDifference | None:
    compared = []
    seen = variance = 0.0
    for point, by_host in places:
        if host not in by_host or len(by_host) < 2:
            continue
        here = median(by_host[host])
        elsewhere = _usual([median(times) for name, times in by_host.items() if name != host], here)
        if not here or not elsewhere:
            continue
        compared.append(_Compared(point, here, elsewhere))
        more, spread = _rank_sum(by_host, host)
        seen += more
        variance += spread
    if not variance or seen**2 / variance < CRITICAL:
        return None
    ratio = median(one.ratio for one in compared)
    if 1 / RATIO < ratio < RATIO:
        return None
    most = max(compared, key=lambda one: one.ratio if ratio > 1 else 1 / one.ratio)
    return HostDifference(
        host=host,
        what=f"median of {what}, ms, last {RECENT_DAYS} days",
        here=most.here,
        elsewhere=most.elsewhere,
        ratio=ratio,
        point=most.point,
    )


def _usual(medians: Sequence[float], here: float) -> float:
    """Return the median of the other hosts' medians. Between the middle two of an even number, return the value nearest
    to ``here``."""
    ordered = sorted(medians)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return min(max(here, low), high)


def _rank_sum(by_host: ByHost, host: str) -> tuple[float, float]:
    """Return how far the sum of a host's ranks is from its expectation, and the variance of it. Both are weighted.

    Equal times have their mean rank, and reduce the variance.
    """
    counts = Counter(time for times in by_host.values() for time in times)
    ranks, below, ties = {}, 0, 0
    for time, times in sorted(counts.items()):
        ranks[time] = below + (times + 1) / 2
        below += times
        ties += times**3 - times
    own, total = len(by_host[host]), below
    more = sum(ranks[time] for time in by_host[host]) - own * (total + 1) / 2
    variance = own * (total - own) / 12 * (total + 1 - ties / (total * (total - 1)))
    return more / (total + 1), variance / (total + 1) ** 2
