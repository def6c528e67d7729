# SPDX-License-Identifier: MIT
"""Copies of a driver record from several channels become one stream, in the driver's order, with gaps marked."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator

import msgspec
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract.notation import trace
from harness.contract.state.merge import PATIENCE, Carried, Gap, Merger, Repeat, Stale
from harness.history.driver import DriverRecord, Hello, Mark
from harness.history.record import Boot, Quiesced, Record

HELLO = next(record for record in trace("S2 C2 V") if isinstance(record, Hello))
MARK = next(record for record in trace("mark S2 C2 V") if isinstance(record, Mark))


def at(seq: int, *, channel: str = "debugcon", boot: str = "b", driver: str = "a") -> DriverRecord:
    template: DriverRecord = HELLO if seq == 1 else MARK
    return msgspec.structs.replace(template, seq=seq, channel=channel, boot=boot, driver=driver, qpc=seq * 10)


def merge(records: Iterable[Record]) -> Iterator[Record]:
    """Merge a whole history."""
    merger = Merger()
    for record in records:
        yield from merger.take(record)
    yield from merger.end()


def merged(records: list[Record]) -> list[str]:
    """What comes out, in short: numbers, gaps, repeats, host records."""
    words = []
    for record in merge(records):
        if isinstance(record, Gap):
            words.append(f"gap {record.first}-{record.last}")
        elif isinstance(record, Repeat):
            words.append(f"{'late' if record.late else 'again'} {record.seq}")
        elif isinstance(record, Stale):
            words.append(f"stale {record.seq}")
        elif isinstance(record, Carried):
            continue
        elif isinstance(record, DriverRecord):
            words.append(f"{record.driver}{record.seq}")
        else:
            words.append(str(record.__struct_config__.tag))
    return words


def test_a_gap_is_marked_where_it_is() -> None:
    """Numbers that no channel brought are named before the record that follows them."""
    assert ["a1", "gap 2-3", "a4"] == merged([at(1), at(4)])


def test_another_channel_fills_a_gap() -> None:
    """A record lost on one channel and brought by another later is put in its place; copies say nothing new."""
    ring = [at(seq, channel="ring") for seq in (1, 2, 3, 4)]
    assert ["a1", "a2", "a3", "quiesced", "a4"] == merged(
        [at(1), at(3), Quiesced(nonce="q", quiet_ns=1), at(4), *ring]
    )


def test_the_first_records_can_come_from_another_channel() -> None:
    """A stream that does not begin with number one waits for what is missing."""
    assert ["a1", "a2", "a3"] == merged([at(2), at(3), at(1, channel="ring")])


def test_the_same_number_twice_on_one_channel_is_told() -> None:
    """One channel never brings a record twice."""
    assert ["a1", "a2", "again 2", "a3"] == merged([at(1), at(2), at(2), at(3)])


def test_a_record_of_an_earlier_boot_is_stale() -> None:
    """After a boot nothing of the boots before counts; after a restore the same nonce goes on."""
    boot, restored = Boot(epoch=2, cause="guest-reset"), Boot(epoch=2, cause="restored")
    assert ["a1", "boot", "stale 2", "a1"] == merged([at(1), boot, at(2), at(1, boot="c")])
    assert ["a1", "a2", "boot", "a2"] == merged([at(1), at(2), restored, at(2)])


def test_a_stale_record_stays_behind_what_is_held() -> None:
    """What waits for a gap to be filled came before it: the records that it may stand for are missing behind those."""
    found = merged([at(1), at(3), at(4, boot="other"), at(2), at(5)])
    assert found.index("a3") < found.index("stale 4") < found.index("gap 4-4")


def test_waiting_has_an_end() -> None:
    """After PATIENCE records the missing one is given up; if it comes later, that is told too."""
    words = merged([at(1), *(at(seq) for seq in range(3, PATIENCE + 10)), at(2, channel="ring")])
    assert ("gap 2-2", "late 2", PATIENCE + 10) == (words[1], words[-1], len(words))


@settings(max_examples=examples(20))
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["debugcon", "ring"]), st.integers(1, 9)),
        max_size=30,
    )
)
def test_whatever_comes_leaves_in_order_and_once(items: list[tuple[str, str, int]]) -> None:
    """Per driver every number leaves once, ascending; gaps cover exactly what is missing between."""
    records: list[Record] = [at(seq, channel=channel, driver=driver) for driver, channel, seq in items]
    for driver in "ab":
        out = [
            record for record in merge(records)
            if isinstance(record, DriverRecord | Gap) and record.driver == driver
        ]  # fmt: skip
        numbers: list[int] = []
        for record in out:
            numbers += range(record.first, record.last + 1) if isinstance(record, Gap) else [record.seq]
        came = {seq for name, _, seq in items if name == driver}
        assert list(range(min(1, *came), max(came) + 1) if came else []) == numbers
        assert came == {record.seq for record in out if isinstance(record, DriverRecord)}


def test_hostile_orders_cost_no_more_than_a_sort() -> None:
    """Numbers that arrive backwards or at random do not make the merge quadratic."""
    backwards: list[Record] = [at(1), *(at(seq) for seq in range(20_000, 2, -1))]
    shuffled = [at(seq) for seq in range(2, 20_000)]
    random.Random(1).shuffle(shuffled)
    began = time.process_time()
    for _ in merge(backwards):
        pass
    for _ in merge([at(1), *shuffled]):
        pass
    assert time.process_time() - began < 3
