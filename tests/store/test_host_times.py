# SPDX-License-Identifier: MIT
"""Times of hosts are compared at each point: a host stands out if it is slower there, not if it ran more slow points."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean, pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.store.questions.host_times import _rank_sum, host_times
from harness.store.questions.timing_samples import TimingSample

HOSTS = ("lab1", "lab2", "lab3")
MEASURED = {
    "host.process.two-nodes.cpu-and-dimm": (128, 154, 128),
    "host.process.small.cpu-and-dimm": (83, 193, 59),
    "twin.debian.small.veto": (5996, 7681, 4238),
    "twin.debian.two-nodes.veto": (7649, 5360, 7765),
}
"""The median boot of a lab's points on three alike hosts, in ms, from a fleet's nightly runs on one loaded machine."""

SPREAD = (0.95, 1.0, 1.05)


def sample(
    point: str, host: str, usual: float, times: int, *, build: str = "1", what: str = "boot"
) -> TimingSample:
    """Return so many times of a host at a point, near the usual one."""
    now = sorted(usual * SPREAD[number % len(SPREAD)] for number in range(times))
    guest = point.partition(".")[0]
    return TimingSample(what=what, host=host, guest=guest, point=point, build=(build, ""), now=now, before=[])


def test_the_measured_hosts_do_not_stand_out() -> None:
    """lab1 ran the most twin cells: its median over all points is 60 times that of lab2, and that says nothing."""
    times = {"lab1": (4, 4, 16, 17), "lab2": (11, 10, 7, 7), "lab3": (8, 9, 8, 7)}
    found = host_times(
        sample(point, host, medians[at], times[host][row])
        for row, (point, medians) in enumerate(MEASURED.items())
        for at, host in enumerate(HOSTS)
    )
    assert [] == found


def test_a_host_that_is_slower_at_each_point_is_named_with_the_point() -> None:
    """Twice as slow everywhere, three times at one point."""
    found = host_times(
        sample(
            point, host, medians[0] * (1 if host != "lab2" else 3 if "twin.debian.small" in point else 2), 6
        )
        for point, medians in MEASURED.items()
        for host in HOSTS
    )
    assert [
        ("lab2", pytest.approx(2.0), "twin.debian.small.veto", pytest.approx(3 * 5996), pytest.approx(5996))
    ] == [(one.host, one.ratio, one.point, one.here, one.elsewhere) for one in found]


def test_few_times_other_builds_and_unknown_hosts_are_not_compared() -> None:
    """Each of these differs ten times, and none says anything about a host."""
    usual = [sample("p", host, 100, 20) for host in ("a", "b")]
    assert [] == host_times([])
    assert [] == host_times([*usual, sample("p", "c", 1000, 2)])
    assert [] == host_times([*usual, sample("p", "c", 1000, 20, build="2")])
    assert [] == host_times([*usual, sample("p", "c", 1000, 20, what="driver")])
    assert [] == host_times([*usual, sample("q", "c", 1000, 20)])
    assert [] == host_times([*usual, sample("p", "", 1000, 20)])
    assert ["c"] == [one.host for one in host_times([*usual, sample("p", "c", 1000, 20)])]


COUNTS = st.fixed_dictionaries({(point, host): st.integers(0, 30) for point in MEASURED for host in HOSTS})


@given(COUNTS)
def test_no_mix_of_points_makes_a_host_stand_out(counts: dict[tuple[str, str], int]) -> None:
    """Whatever each host ran how often: at each point they take the same time."""
    assert [] == host_times(
        sample(point, host, MEASURED[point][0], times) for (point, host), times in counts.items()
    )


@given(
    st.fixed_dictionaries({(point, host): st.integers(6, 30) for point in MEASURED for host in HOSTS}),
    st.sampled_from([1.8, 2.0, 5.0]),
)
def test_any_mix_of_points_names_a_slow_host(counts: dict[tuple[str, str], int], factor: float) -> None:
    """And only that one: two hosts that agree are not fast because the third is slow."""
    found = host_times(
        sample(point, host, MEASURED[point][0] * (factor if host == "lab3" else 1), times)
        for (point, host), times in counts.items()
    )
    assert ["lab3"] == [one.host for one in found]


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4), st.lists(st.integers(1, 5), min_size=1, max_size=4)
)
def test_the_rank_sum_has_its_variance_over_all_permutations(own: list[int], others: list[int]) -> None:
    """Counted out: over all choices of which times are the host's, with ties."""
    both = [*map(float, own), *map(float, others)]
    weight = len(both) + 1
    ranks = [sum(b < a for b in both) + (sum(b == a for b in both) + 1) / 2 for a in both]
    sums = [sum(chosen) / weight for chosen in combinations(ranks, len(own))]
    more, variance = _rank_sum({"a": both[: len(own)], "b": both[len(own) :]}, "a")
    assert (sum(ranks[: len(own)]) / weight - fmean(sums), pvariance(sums)) == (
        pytest.approx(more, abs=1e-9),
        pytest.approx(variance, abs=1e-9),
    )
