# SPDX-License-Identifier: MIT
"""Random legal histories of the reference model are never violated, and hold when they are whole."""

from __future__ import annotations

import msgspec
from contract.legal import histories
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.verdict import Verdict
from harness.history.driver import DriverRecord
from harness.history.record import Channel, Quiesced, Record


@settings(max_examples=examples(20))
@given(histories())
def test_a_legal_history_holds(text: str) -> None:
    """Every whole history of the reference model holds, with nothing left to say."""
    verdict = judge(trace(text))
    assert (Verdict.HOLDS, []) == (verdict.verdict, verdict.reasons)


@settings(max_examples=examples(20))
@given(histories(), st.data())
def test_a_legal_history_with_lost_records_is_unknown(text: str, data: st.DataObject) -> None:
    """Whichever driver records never arrive, nobody is blamed and nothing holds."""
    records = trace(text)
    places = [place for place, record in enumerate(records) if isinstance(record, DriverRecord)]
    last = {records[place].driver: place for place in places}  # type: ignore[attr-defined]
    between = st.sampled_from([place for place in places if place not in last.values()])
    lost = data.draw(st.sets(between, min_size=1, max_size=6))
    verdict = judge([record for place, record in enumerate(records) if place not in lost])
    assert Verdict.UNKNOWN is verdict.verdict, verdict.reasons


@settings(max_examples=examples(10))
@example("with b +cpu a:S2 b:S2 a:C2 a:V b:V b:C2 =cpu Q a:unload Q a:load Q", "b")
@given(histories(), st.integers(min_value=0))
def test_copies_from_a_second_channel_change_nothing(text: str, place: int | str) -> None:
    """A second channel that brings every record too, later, fills what the first lost: the verdict is as it was.

    The example loses the last record of a driver: only its copy, behind everything else, says that it was made.
    """
    records = trace(text)
    copies = [record for record in records if isinstance(record, DriverRecord)]
    end = len(records) - 1
    second = [msgspec.structs.replace(record, channel="ring") for record in copies]
    of_driver = [number for number, record in enumerate(copies) if record.driver == place]
    lost = place % len(copies) if isinstance(place, int) else of_driver[-1]
    first = [record for record in records[:end] if record is not copies[lost]]
    accounts = [
        msgspec.structs.replace(records[end - 1], records=len(copies) - 1),
        msgspec.structs.replace(records[end - 1], name="ring", records=len(copies)),
    ]
    whole, merged = judge(records), judge([*first[:-1], *second, *accounts, *records[end:]])
    assert (whole.verdict, [(rule.rule, rule.verdict) for rule in whole.rules]) == (
        merged.verdict,
        [(rule.rule, rule.verdict) for rule in merged.rules],
    )


def late(records: list[Record], *, bulk: bool) -> list[Record]:
    """The same run, with the driver's records received as late as can be: by the next quiesced point, or at the end."""
    out: list[Record] = []
    waiting: list[Record] = []
    for record in records:
        if isinstance(record, DriverRecord):
            waiting.append(record)
            continue
        if isinstance(record, Channel) or (isinstance(record, Quiesced) and not bulk):
            out += waiting
            waiting = []
        out.append(record)
    return [msgspec.structs.replace(record, n=n) for n, record in enumerate(out, 1)]


@settings(max_examples=examples(15))
@given(histories(), st.booleans())
def test_late_receipt_blames_nobody(text: str, bulk: bool) -> None:
    """Receipt proves an order in one direction only: what is received late may have happened early."""
    verdict = judge(late(trace(text), bulk=bulk))
    assert Verdict.VIOLATED is not verdict.verdict, verdict.reasons
