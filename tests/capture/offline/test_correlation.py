# SPDX-License-Identifier: MIT
"""Host and guest clocks: whatever the offset, the drift and the delays, the truth lies inside the stated interval."""

from __future__ import annotations

import itertools
from fractions import Fraction

from capture.live.test_debugcon import COMMON, mark
from hypothesis import given
from hypothesis import strategies as st

from harness.capture.offline.correlation import (
    BILLION,
    MOST_DRIFT,
    MOST_PENDING,
    SECOND,
    ClockMap,
    Correlator,
)
from harness.history.driver import Hello
from harness.history.record import Migration, Offset

BOOT = str(COMMON["boot"])


class Clocks:
    """A host clock, and a guest counter that runs at a rate of its own on each stretch of the host's time."""

    def __init__(self, hz: int, booted: int, stretches: list[tuple[int, int]]) -> None:
        self.hz = hz
        self.booted = booted
        self.stretches = stretches
        """Length in ns of the host, and by how many parts per billion the host is ahead there."""

    def counter(self, host_ns: int) -> int:
        """What the guest reads at ``host_ns``."""
        ticks = Fraction(0)
        left = host_ns - self.booted
        for length, drift in self.stretches:
            part = min(left, length)
            ticks += Fraction(part * self.hz * BILLION, SECOND * (BILLION + drift))
            left -= part
        return int(ticks + Fraction(left * self.hz, SECOND))


def clocks(most_drift: int = MOST_DRIFT) -> st.SearchStrategy[Clocks]:
    """Any pair of clocks whose drift changes, but stays within the bound."""
    stretch = st.tuples(
        st.integers(min_value=1, max_value=10**10), st.integers(min_value=-most_drift, max_value=most_drift)
    )
    return st.builds(
        Clocks,
        st.sampled_from([1, 3_579_545, 10_000_000, 24_000_000, 2_893_202_000]),
        st.integers(min_value=0, max_value=10**15),
        st.lists(stretch, max_size=5),
    )


SAMPLES = st.lists(
    st.tuples(*[st.integers(min_value=0, max_value=most) for most in (3 * 10**9, 10**7, 10**8)]),
    min_size=1,
    max_size=6,
)
"""For each nonce: the pause before it, the way to the guest, the way back; in ns."""


def offsets(pair: Clocks, samples: list[tuple[int, int, int]]) -> tuple[list[Offset], list[int]]:
    """Have nonces echoed; return the records and the true host times of the readings."""
    correlator = Correlator()
    assert correlator.observe(Hello(seq=1, version="1", hz=pair.hz, ring=8, **COMMON), pair.booted) is None
    now = pair.booted
    found, truth = [], []
    for number, (pause, there, back) in enumerate(samples):
        now += pause
        correlator.sent(f"n{number}", now)
        read = now + there
        now = read + back
        offset = correlator.observe(mark(number + 2, f"n{number}", qpc=pair.counter(read)), now)
        assert offset is not None
        found.append(offset)
        truth.append(read)
    return found, truth


@given(pair=clocks(), samples=SAMPLES)
def test_reading_lies_in_its_bracket(pair: Clocks, samples: list[tuple[int, int, int]]) -> None:
    """Each record's interval holds the moment at which the driver really read its counter, before and after all are combined."""
    found, truth = offsets(pair, samples)
    clock_map = ClockMap(found)
    assert 0 == clock_map.contradictions
    for offset, read in zip(found, truth, strict=True):
        assert offset.low_ns <= read <= offset.high_ns
        interval = clock_map.host_ns(offset.qpc)
        assert interval is not None
        assert interval[0] <= read <= interval[1]


@given(
    pair=clocks(),
    samples=SAMPLES,
    moments=st.lists(st.integers(min_value=0, max_value=5 * 10**10), max_size=8),
)
def test_any_moment_lies_in_its_interval(
    pair: Clocks, samples: list[tuple[int, int, int]], moments: list[int]
) -> None:
    """Before, between and after the samples, the interval of any reading holds the moment it was made."""
    found, _truth = offsets(pair, samples)
    clock_map = ClockMap(found)
    for moment in moments:
        read = pair.booted + moment
        interval = clock_map.host_ns(pair.counter(read))
        assert interval is not None
        assert interval[0] <= read <= interval[1]


@given(pair=clocks(), samples=SAMPLES)
def test_mean_drift_lies_in_its_interval(pair: Clocks, samples: list[tuple[int, int, int]]) -> None:
    """The drift since the first sample is inside what is stated, whatever it did in between."""
    found, truth = offsets(pair, samples)
    for offset, read in zip(found[1:], truth[1:], strict=True):
        if offset.drift_low_ppb is None or offset.drift_high_ppb is None:
            assert offset.qpc - found[0].qpc <= 1
            continue
        ticks = Fraction((read - truth[0]) * pair.hz, SECOND)
        real = _true_ticks(pair, truth[0], read)
        drift = (ticks / real - 1) * BILLION
        assert offset.drift_low_ppb <= drift <= offset.drift_high_ppb


def _true_ticks(pair: Clocks, since: int, until: int) -> Fraction:
    fine = Clocks(pair.hz * 10**12, pair.booted, pair.stretches)
    return Fraction(fine.counter(until) - fine.counter(since), 10**12)


def test_more_samples_narrow_the_interval() -> None:
    """A quick echo between two slow ones narrows what is known at those, too."""
    pair = Clocks(10_000_000, 0, [])
    slow, quick = (10**6, 10**7, 10**8), (10**6, 1000, 1000)
    found, _ = offsets(pair, [slow, quick, slow])
    alone = ClockMap(found[:1]).host_ns(found[0].qpc)
    together = ClockMap(found).host_ns(found[0].qpc)
    assert alone is not None
    assert together is not None
    assert 1.1e8 <= alone[1] - alone[0]
    assert 3e5 >= together[1] - together[0]


def test_drift_is_found() -> None:
    """A counter that runs 100 parts per million slow is seen to, to within the delays."""
    pair = Clocks(10_000_000, 0, [(10**12, 100_000)])
    found, _ = offsets(pair, [(10**8, 1000, 1000), (10**11, 1000, 1000)])
    low, high = found[1].drift_low_ppb, found[1].drift_high_ppb
    assert low is not None
    assert high is not None
    assert 99_900 < low <= 100_000 <= high < 100_100
    assert found[0].drift_low_ppb is None


def test_reading_just_after_a_tick_lies_in_its_interval() -> None:
    """Two readings a tick apart may be made a moment apart: each stands for any moment of its tick."""
    found, _ = offsets(Clocks(1, 0, []), [(900_000_000, 0, 0), (5_200_000_000, 0, 0)])
    clock_map = ClockMap(found)
    assert [0, 6] == [offset.qpc for offset in found]
    for read in (1_000_000_000, 5_999_999_999, 7_000_000_000):
        interval = clock_map.host_ns(read // 1_000_000_000)
        assert interval is not None
        assert interval[0] <= read <= interval[1]


def test_coarse_counter_leaves_the_drift_open() -> None:
    """Readings late in one tick and early in another lie closer than their difference: a true clock stays possible."""
    found, _ = offsets(Clocks(1, 0, []), [(900_000_000, 0, 0), (1_100_000_000, 0, 0)])
    assert [0, 2] == [offset.qpc for offset in found]
    low, high = found[1].drift_low_ppb, found[1].drift_high_ppb
    assert low is not None
    assert high is not None
    assert low <= 0 <= high


@given(stop=st.integers(min_value=10**9, max_value=10**11), moment=st.integers(min_value=0, max_value=10**9))
def test_stopped_guest_is_noticed(stop: int, moment: int) -> None:
    """Across a stop of the guest, which no drift explains, only the order of time is used, and the truth stays inside."""
    before, after = Clocks(10_000_000, 0, []), Clocks(10_000_000, stop, [])
    first, _ = offsets(before, [(10**8, 1000, 1000)])
    correlator = Correlator()
    correlator.observe(Hello(seq=1, version="1", hz=10_000_000, ring=8, **COMMON), 0)
    asked = stop + 2 * 10**9
    correlator.sent("late", asked)
    late = correlator.observe(mark(9, "late", qpc=after.counter(asked)), asked + 1000)
    assert late is not None
    clock_map = ClockMap([*first, late])
    assert 1 == clock_map.contradictions
    read = 10**9 + stop + moment
    interval = clock_map.host_ns(after.counter(read))
    assert interval is not None
    assert interval[0] <= read <= interval[1]


def test_first_echo_counts_and_strangers_do_not() -> None:
    """Of the copies of an echo the first is used; a nonce nobody sent, or of a boot without rate, is not."""
    correlator = Correlator()
    hello = Hello(seq=1, version="1", hz=10_000_000, ring=8, **COMMON)
    correlator.sent("a", 100)
    assert correlator.observe(mark(2, "a", qpc=7), 150) is None
    correlator.observe(hello, 160)
    assert correlator.observe(mark(3, "b", qpc=7), 170) is None
    assert correlator.observe(mark(3, "a", qpc=7), 99) is None
    assert Offset(
        domain=f"qpc/{BOOT}", hz=10_000_000, qpc=7, low_ns=100, high_ns=200, nonce="a", channel="dbgprint"
    ) == correlator.observe(mark(4, "a", qpc=7, channel="dbgprint"), 200)
    assert correlator.observe(mark(4, "a", qpc=7), 210) is None


def test_nonces_never_answered_are_forgotten() -> None:
    """A guest that echoes nothing fills no memory."""
    correlator = Correlator()
    for number in range(3 * MOST_PENDING):
        correlator.sent(str(number), number)
    assert MOST_PENDING == len(correlator._sent)
    correlator.observe(Hello(seq=1, version="1", hz=1000, ring=8, **COMMON), 0)
    assert correlator.observe(mark(2, "0"), 10**9) is None
    assert correlator.observe(mark(3, str(3 * MOST_PENDING - 1)), 10**9) is not None


def test_no_sample_no_answer() -> None:
    """Without a bracket nothing is claimed."""
    assert ClockMap([]).host_ns(5) is None


@given(readings=st.lists(st.tuples(*[st.integers(min_value=0, max_value=2**64 - 1)] * 3), max_size=6))
def test_hostile_readings_are_survived(readings: list[tuple[int, int, int]]) -> None:
    """Counter values that make no sense at all never raise. What is given is an interval; nothing is without a contradiction."""
    found = [
        Offset(domain="qpc/x", hz=10_000_000, qpc=qpc, low_ns=min(a, b), high_ns=max(a, b))
        for qpc, a, b in readings
    ]
    clock_map = ClockMap(found)
    assert clock_map.contradictions <= max(0, len(found) - 1)
    answers = [clock_map.host_ns(qpc + step) for (qpc, _, _), step in itertools.product(readings, (-1, 0, 1))]
    assert 3 * len(readings) == len(answers)
    known = [answer for answer in answers if answer is not None]
    assert clock_map.contradictions or len(answers) == len(known)
    assert [] == [answer for answer in known if answer[0] > answer[1]]


def test_samples_in_opposite_orders_say_nothing_of_a_time_between() -> None:
    """The counter's order and the host's cannot both hold, so no time between the two is claimed; beside them there is one."""
    found = [
        Offset(domain="qpc/x", hz=10_000_000, qpc=qpc, low_ns=at, high_ns=at + 1000)
        for qpc, at in ((1000, 5 * SECOND), (2000, SECOND))
    ]
    clock_map = ClockMap(found)
    assert [1, None] == [clock_map.contradictions, clock_map.host_ns(1500)]
    assert None not in (clock_map.host_ns(999), clock_map.host_ns(1000), clock_map.host_ns(2001))


def long_pause(stop: int) -> tuple[list[Offset], Clocks]:
    """Two brackets 200 s apart; the guest stood still for ``stop`` ns, 50 s after the first, which the drift could explain."""
    before, after = Clocks(10_000_000, 0, []), Clocks(10_000_000, stop, [])
    first, _ = offsets(before, [(10**8, 1000, 1000)])
    correlator = Correlator()
    correlator.observe(Hello(seq=1, version="1", hz=10_000_000, ring=8, **COMMON), 0)
    asked = 200 * SECOND + stop
    correlator.sent("late", asked)
    late = correlator.observe(mark(9, "late", qpc=after.counter(asked)), asked + 1000)
    assert late is not None
    return [*first, late], after


@given(
    stop=st.integers(min_value=10**6, max_value=10**8),
    moment=st.integers(min_value=0, max_value=149 * SECOND),
)
def test_a_migration_is_a_gap(stop: int, moment: int) -> None:
    """Even where the drift could explain the time that the guest stood still, only the order of time is used across it."""
    found, after = long_pause(stop)
    read = 50 * SECOND + stop + moment
    gap = [(49 * SECOND, 50 * SECOND + stop)]
    interval = ClockMap(found, gaps=gap).host_ns(after.counter(read))
    assert interval is not None
    assert interval[0] <= read <= interval[1]


def test_without_the_gap_the_interval_would_be_wrong() -> None:
    """That is why it is told: just after it the truth lies outside."""
    found, after = long_pause(9 * 10**7)
    read = 50 * SECOND + 9 * 10**7 + 1000
    interval = ClockMap(found).host_ns(after.counter(read))
    assert interval is not None
    assert not interval[0] <= read <= interval[1]


def test_nothing_is_known_beyond_a_gap_that_no_bracket_follows() -> None:
    """Before the first sample as behind the last one."""
    found, after = long_pause(10**6)
    late = after.counter(300 * SECOND)
    assert ClockMap(found).host_ns(late) is not None
    assert ClockMap(found, gaps=[(250 * SECOND, 251 * SECOND)]).host_ns(late) is None
    assert ClockMap(found, gaps=[(0, 1)]).host_ns(1) is None
    assert ClockMap(found, gaps=[(0, 1)]).host_ns(late) is not None


def test_drift_is_measured_anew_after_a_migration() -> None:
    """The first bracket behind it has none, as the first of a boot."""
    correlator = Correlator()
    correlator.observe(Hello(seq=1, version="1", hz=10_000_000, ring=8, **COMMON), 0)
    drifts = []
    for number in range(4):
        if number == 2:
            correlator.observe(Migration(phase="moved"), 0)
        correlator.sent(f"n{number}", number * SECOND)
        offset = correlator.observe(
            mark(number + 2, f"n{number}", qpc=number * 10_000_000), number * SECOND + 10
        )
        assert offset is not None
        drifts.append(offset.drift_low_ppb is None)
    assert [True, False, True, False] == drifts
