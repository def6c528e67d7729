# SPDX-License-Identifier: MIT
"""The channels side by side: every loss is found where it was, and nothing else is called one."""

from __future__ import annotations

import msgspec
from capture.live.test_debugcon import COMMON, mark
from hypothesis import given
from hypothesis import strategies as st

from harness.capture.offline.comparison import (
    MOST_RANGES,
    ChannelAccount,
    ChannelDifference,
    SequenceRange,
    compare,
)
from harness.history.driver import Mark, Overrun
from harness.history.record import Channel, End

BOOT, DRIVER = str(COMMON["boot"]), str(COMMON["driver"])
CHANNELS = ["debugcon", "etw", "dbgprint", "ring"]


def copies(seqs: range, **lost: set[int]) -> list[Mark]:
    """The records ``seqs`` on all four channels, without what each is said to have lost."""
    return [
        mark(seq, channel=channel)
        for seq in seqs
        for channel in CHANNELS
        if seq not in lost.get(channel, set())
    ]


def test_channels_that_agree() -> None:
    """Four whole channels agree, and their accounts show no loss."""
    found = compare([*copies(range(1, 50)), End(outcome="completed")], channels=CHANNELS)
    assert (0, 0) == (found.different, found.lost_nowhere)
    assert [ChannelAccount(channel=name, records=49) for name in CHANNELS] == found.channels
    assert [Channel(name=name, records=49, closed=True) for name in CHANNELS] == found.accounts()


def test_each_channels_losses() -> None:
    """What a channel lost between its first and last record, and what lies outside, are told apart."""
    found = compare(
        copies(range(1, 21), etw={1, 2, 3, 10}, dbgprint={7, 8, 20}, ring=set(range(1, 21))),
        channels=CHANNELS,
    )
    by_name = {carried.channel: carried for carried in found.channels}
    assert ChannelAccount(channel="debugcon", records=20) == by_name["debugcon"]
    etw, dbgprint, ring = by_name["etw"], by_name["dbgprint"], by_name["ring"]
    assert (16, 1, 3, 0) == (etw.records, etw.lost, etw.before, etw.after)
    assert [SequenceRange(BOOT, DRIVER, 1, 3), SequenceRange(BOOT, DRIVER, 10, 10)] == etw.ranges
    assert (17, 2, 0, 1) == (dbgprint.records, dbgprint.lost, dbgprint.before, dbgprint.after)
    assert [SequenceRange(BOOT, DRIVER, 7, 8), SequenceRange(BOOT, DRIVER, 20, 20)] == dbgprint.ranges
    assert (0, 0, 0, 20) == (ring.records, ring.lost, ring.before, ring.after)
    assert [0, 4, 3, 20] == [account.lost for account in found.accounts()]


def test_channel_that_is_not_configured_is_not_missing() -> None:
    """Only the configured channels are named, whatever else is in the history."""
    found = compare(copies(range(1, 5), ring={1, 2, 3, 4}), channels=["debugcon", "dbgprint"])
    assert [ChannelAccount(channel=name, records=4) for name in ("debugcon", "dbgprint")] == found.channels
    assert (0, 0) == (found.different, found.lost_nowhere)


def test_what_no_channel_brought() -> None:
    """A gap that all channels share is found, and counts in each account."""
    gone = {5, 6}
    found = compare(copies(range(1, 10), **dict.fromkeys(CHANNELS, gone)), channels=CHANNELS)
    assert [SequenceRange(BOOT, DRIVER, 5, 6)] == found.nowhere
    assert [ChannelAccount(channel=name, records=7) for name in CHANNELS] == found.channels
    assert [2, 2, 2, 2] == [account.lost for account in found.accounts()]


def test_differing_fields_are_named() -> None:
    """Copies of one record that say different things are shown field by field, and another kind of record as such."""
    records = [mark(1), mark(1, channel="etw", qpc=6, irql=2), mark(2), Overrun(seq=2, count=1, **COMMON)]
    records[3] = msgspec.structs.replace(records[3], channel="ring")
    found = compare(records, channels=CHANNELS)
    assert [
        ChannelDifference(BOOT, DRIVER, 1, "qpc", {"debugcon": 5, "etw": 6}),
        ChannelDifference(BOOT, DRIVER, 1, "irql", {"debugcon": 0, "etw": 2}),
        ChannelDifference(BOOT, DRIVER, 2, "k", {"debugcon": "mark", "ring": "overrun"}),
    ] == found.differences
    assert 3 == found.different


def test_copies_are_compared_with_the_first() -> None:
    """Of three channels two of which agree, each that differs from the first is named."""
    found = compare(
        [mark(1), mark(1, channel="etw", qpc=6), mark(1, channel="ring", qpc=6)], channels=CHANNELS
    )
    assert [{"debugcon": 5, "etw": 6}, {"debugcon": 5, "ring": 6}] == [
        one.values for one in found.differences
    ]


def test_what_nobody_has_does_not_split_a_range() -> None:
    """A channel's loss that runs over a gap of all channels is one range."""
    found = compare(
        copies(range(1, 10), etw={4, 5, 6, 7}, debugcon={5, 6}, dbgprint={5, 6}, ring={5, 6}),
        channels=CHANNELS,
    )
    assert [SequenceRange(BOOT, DRIVER, 4, 7)] == found.channels[1].ranges
    assert 2 == found.channels[1].lost


def test_copies_on_one_channel_are_repetitions() -> None:
    """A record that one channel brings twice is one record."""
    found = compare([mark(1), mark(1), mark(2)], channels=["debugcon"])
    assert [ChannelAccount(channel="debugcon", records=2, repeated=1)] == found.channels


def test_boots_and_drivers_are_kept_apart() -> None:
    """Numbers mean something only within a boot and a driver."""
    records = [
        mark(1),
        mark(1, boot="1" * 16),
        mark(1, driver="other"),
        mark(5, driver="other", channel="etw"),
    ]
    found = compare(records, channels=["debugcon", "etw"])
    assert [SequenceRange(BOOT, "other", 2, 4)] == found.nowhere
    assert [SequenceRange(BOOT, "other", 5, 5)] == found.channels[0].ranges


@given(
    lost=st.fixed_dictionaries({name: st.sets(st.integers(min_value=1, max_value=30)) for name in CHANNELS}),
    order=st.randoms(use_true_random=False),
)
def test_every_loss_is_found_in_any_order(lost: dict[str, set[int]], order: object) -> None:
    """Each channel's ranges are exactly what it lost and another kept, however the channels' records are mixed."""
    records = copies(range(1, 31), **lost)
    order.shuffle(records)  # type: ignore[attr-defined]
    found = compare(records, channels=CHANNELS)
    kept = {record.seq for record in records}
    for carried in found.channels:
        missing = kept & lost[carried.channel]
        listed = {seq for part in carried.ranges for seq in range(part.first, part.last + 1)} & kept
        assert missing == listed
        assert len(missing) == carried.lost + carried.before + carried.after
        assert len(kept) - len(missing) == carried.records
    nowhere = {seq for part in found.nowhere for seq in range(part.first, part.last + 1)}
    assert nowhere == {
        seq for seq in range(min(kept, default=0), max(kept, default=0)) if seq not in kept and seq
    }


def test_lists_are_bounded_and_counts_are_not() -> None:
    """A channel that loses every second record names only so many losses, and counts all."""
    most = 4 * MOST_RANGES
    found = compare(
        [mark(seq) for seq in range(1, most)]
        + [mark(seq, channel="etw", irql=1) for seq in range(1, most, 2)],
        channels=["debugcon", "etw"],
    )
    assert (MOST_RANGES, most // 2 - 1) == (len(found.channels[1].ranges), found.channels[1].lost)
    assert (MOST_RANGES, most // 2) == (len(found.differences), found.different)
