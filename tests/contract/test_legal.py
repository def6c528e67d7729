# SPDX-License-Identifier: MIT
"""Random legal histories of the reference model are never violated, and hold when they are whole."""

from __future__ import annotations

import msgspec
from contract.legal import histories
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract.checker import judge
from harness.contract.trace import trace
from harness.contract.verdict import Verdict
from harness.history.driver import DriverRecord


@settings(max_examples=50, deadline=None)
@given(histories())
def test_a_legal_history_holds(text: str) -> None:
    """Every whole history of the reference model holds, with nothing left to say."""
    verdict = judge(trace(text))
    assert (Verdict.HOLDS, []) == (verdict.verdict, verdict.reasons)


@settings(max_examples=50, deadline=None)
@given(histories(), st.data())
def test_a_legal_history_with_a_lost_record_is_unknown(text: str, data: st.DataObject) -> None:
    """Whichever driver record never arrives, nobody is blamed and nothing holds."""
    records = trace(text)
    places = [place for place, record in enumerate(records) if isinstance(record, DriverRecord)]
    last = {records[place].driver: place for place in places}  # type: ignore[attr-defined]
    lost = data.draw(st.sampled_from([place for place in places if place not in last.values()]))
    verdict = judge(records[:lost] + records[lost + 1 :])
    assert Verdict.UNKNOWN is verdict.verdict, verdict.reasons


@settings(max_examples=25, deadline=None)
@given(histories(), st.data())
def test_copies_from_a_second_channel_change_nothing(text: str, data: st.DataObject) -> None:
    """A second channel that brings every record too, later and with another loss each, leaves the verdict as it was."""
    records = trace(text)
    copies = [record for record in records if isinstance(record, DriverRecord)]
    end = len(records) - 1
    second = [msgspec.structs.replace(record, channel="ring") for record in copies]
    lost = data.draw(st.integers(0, len(copies) - 1))
    first = [record for record in records[:end] if record is not copies[lost]]
    whole, merged = judge(records), judge([*first, *second, *records[end:]])
    assert (whole.verdict, [(rule.rule, rule.verdict) for rule in whole.rules]) == (
        merged.verdict,
        [(rule.rule, rule.verdict) for rule in merged.rules],
    )
