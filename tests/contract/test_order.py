# SPDX-License-Identifier: MIT
"""The happens-before graph: which edges are known, why, and the shortest contradiction."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.notation import trace
from harness.contract.order import contradiction, edge
from harness.history.driver import DriverRecord, Mark
from harness.history.record import Add


def mark(driver: str, seq: int, qpc: int, *, n: int = 1, boot: str = "b") -> Mark:
    template = next(record for record in trace("mark S2 C2 V") if isinstance(record, Mark))
    return msgspec.structs.replace(template, driver=driver, seq=seq, qpc=qpc, n=n, boot=boot)


def test_numbers_order_one_driver_whatever_the_counter_says() -> None:
    """Program order rests on the sequence number alone."""
    first, second = mark("a", 1, 900), mark("a", 2, 100)
    known = edge(first, second)
    assert ("program order", False) == (known.kind if known else "", edge(second, first) is not None)


def test_equal_counters_of_two_drivers_order_nothing() -> None:
    """Equal readings on two drivers are concurrent, and a counter that was seen to run backwards proves nothing."""
    a, b = mark("a", 1, 500), mark("b", 1, 500)
    later = mark("b", 2, 501)
    assert [False, False, True, False] == [
        edge(a, b) is not None,
        edge(b, a) is not None,
        edge(a, later) is not None,
        edge(a, later, clock=False) is not None,
    ]


def test_receipt_orders_only_towards_the_command() -> None:
    """What arrived before a command was sent precedes it; the other direction is not known from receipt."""
    begin = next(record for record in trace("+cpu S2 C2 V") if isinstance(record, Add))
    early, late = mark("a", 1, 1, n=begin.n - 1), mark("a", 2, 2, n=begin.n + 1)
    assert [True, False, False] == [
        edge(early, begin) is not None,
        edge(late, begin) is not None,
        edge(begin, late) is not None,
    ]


def test_the_shortest_chain_is_found() -> None:
    """A chain through other records is given only where no shorter one exists."""
    a1, a2, b1, b2 = mark("a", 1, 100), mark("a", 2, 300), mark("b", 1, 300), mark("b", 2, 400)
    direct = contradiction(b2, a1, (a2, b1))
    through = contradiction(b2, a2, (a1, b1), clock=False)
    assert (1, 0) == (len(direct), len(through))
    chained = contradiction(b1, a2, (mark("a", 3, 299),))
    assert ["a#2 < a#3", "a#3 < b#1"] == [
        f"{link.before.driver}#{link.before.seq} < {link.after.driver}#{link.after.seq}"  # type: ignore[attr-defined]
        for link in chained
    ]


RECORDS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 9), st.integers(1, 9)).map(lambda t: mark(*t)),
    min_size=2,
    max_size=5,
)


@given(RECORDS)
def test_a_chain_is_made_of_known_edges(records: list[DriverRecord]) -> None:
    """Whatever is found leads from the later record to the earlier, link by link, each known."""
    before, after = records[0], records[-1]
    chain = contradiction(before, after, records[1:-1])
    places = [after, *(link.after for link in chain)]
    assert all(edge(one, two) is not None for one, two in pairwise(places))
    assert not chain or places[-1] is before
