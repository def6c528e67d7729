# SPDX-License-Identifier: MIT
"""A guest that is migrated: what rests on its own time across the gap is unknown, and nothing else changes."""

from __future__ import annotations

import msgspec
import pytest

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.verdict import Verdict
from harness.history.driver import AsyncEnter, AsyncExit
from harness.history.record import Migration, Record

SLOW = "S2 C2 V{x.qpc=900000000}"
"""An arrival callback that takes 90 s by the guest's counter."""


def moved(records: list[Record], begin: int, end: int) -> list[Record]:
    """Have a guest migrated between two places of its history."""
    found = list(records)
    found.insert(end, Migration(phase="moved", source=1, target=2))
    found.insert(begin, Migration(phase="begin", source=1, target=2))
    return [msgspec.structs.replace(record, n=number) for number, record in enumerate(found, 1)]


def said(records: list[Record], rule: str) -> Verdict:
    return next(one.verdict for one in judge(records).rules if one.rule == rule)


@pytest.mark.parametrize(
    ("around", "verdict"),
    [("callback", Verdict.UNKNOWN), ("enter", Verdict.UNKNOWN), ("exit", Verdict.UNKNOWN), ("before", Verdict.VIOLATED), ("after", Verdict.VIOLATED)],
)  # fmt: skip
def test_a_callback_is_not_timed_across_a_migration(around: str, verdict: Verdict) -> None:
    """However much of the migration lies in it; one before or after it changes nothing."""
    records = trace(SLOW)
    assert Verdict.VIOLATED is said(records, "OB-ASYNC-NONBLOCK")
    enter = max(place for place, one in enumerate(records) if isinstance(one, AsyncEnter))
    leave = max(place for place, one in enumerate(records) if isinstance(one, AsyncExit))
    places = {
        "callback": (leave, leave), "enter": (enter, leave), "exit": (leave, leave + 1),
        "before": (enter, enter), "after": (leave + 1, leave + 1),
    }[around]  # fmt: skip
    assert verdict is said(moved(records, *places), "OB-ASYNC-NONBLOCK")


def test_a_migration_that_never_ended_lasts() -> None:
    """Cut in its midst, the history tells no time of what came after it began."""
    records = trace(SLOW)
    enter = max(place for place, one in enumerate(records) if isinstance(one, AsyncEnter))
    begun = [
        one
        for one in moved(records, enter, enter)
        if not (isinstance(one, Migration) and one.phase == "moved")
    ]
    begun = [msgspec.structs.replace(record, n=number) for number, record in enumerate(begun, 1)]
    assert Verdict.UNKNOWN is said(begun, "OB-ASYNC-NONBLOCK")


def test_a_count_that_falls_within_one_driver_is_one() -> None:
    """Its own numbers decide that, whatever the guest's counter did."""
    assert Verdict.VIOLATED is said(trace("S2 C2 moving moved V{active=1}"), "COUNT-MONOTONIC")


def test_a_count_that_falls_between_two_drivers_needs_the_counter() -> None:
    """Across a migration it is not known which of the two was earlier."""
    assert Verdict.VIOLATED is said(trace("with b a:S2 a:C2 b:S2{active=2} b:C2 Q"), "COUNT-MONOTONIC")
    assert Verdict.HOLDS is said(
        trace("with b a:S2 a:C2 moving moved b:S2{active=2} b:C2 Q"), "COUNT-MONOTONIC"
    )
