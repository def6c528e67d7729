# SPDX-License-Identifier: MIT
"""A judge that takes a history piece by piece says at each place what a judge of that much says."""

from __future__ import annotations

import msgspec
import pytest
from contract.legal import histories
from contract.test_hostile import HISTORIES
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract.checker import Judge, judge
from harness.contract.notation import trace
from harness.contract.rules.catalogue import all_rules
from harness.history.record import Record


def in_pieces(records: list[Record], places: list[int]) -> list[bytes]:
    """Judge up to each of ``places``, then to the end; return what was said at each and at the end."""
    growing = Judge()
    said = []
    for place in sorted(places):
        growing.take(records[growing.taken : place])
        said.append(msgspec.json.encode(growing.so_far("cut")))
    growing.take(records[growing.taken :])
    return [*said, msgspec.json.encode(growing.finish())]


def alone(records: list[Record], places: list[int]) -> list[bytes]:
    """Return what fresh judges say of the same parts."""
    return [
        *(msgspec.json.encode(judge(records[:place], damage="cut")) for place in sorted(places)),
        msgspec.json.encode(judge(records)),
    ]


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.id)
def test_examples_of_every_rule_get_the_same_verdict(rule: object) -> None:
    """At every place of a rule's examples, a judge that goes on says what a fresh one says."""
    for text in filter(None, (rule.holds, rule.violates)):  # type: ignore[attr-defined]
        records = trace(text)
        places = list(range(0, len(records), 3))
        assert alone(records, places) == in_pieces(records, places)


@settings(deadline=None, max_examples=30)
@given(histories(), st.lists(st.integers(0, 200), max_size=3))
def test_legal_histories_get_the_same_verdict(text: str, places: list[int]) -> None:
    """Where a legal history is looked at does not change what is said of it."""
    records = trace(text)
    assert alone(records, places) == in_pieces(records, places)


@settings(deadline=None, max_examples=60)
@given(HISTORIES, st.lists(st.integers(0, 40), max_size=3))
def test_hostile_histories_get_the_same_verdict(records: list[Record], places: list[int]) -> None:
    """Nor does it with records that no driver and no host would write."""
    assert alone(records, places) == in_pieces(records, places)
