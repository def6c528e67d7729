# SPDX-License-Identifier: MIT
"""The three-way agreement: each of the three alone can spoil it, and it says which did."""

from __future__ import annotations

import pytest

from harness.run.pending_add import PendingAdd, counted

GIB = 1 << 30


def cpu(expected: str = "added") -> PendingAdd:
    """Return an attempt to add one processor to two."""
    return PendingAdd(name="cpu-1", what="cpu", device="cpu-1", expected=expected, before=2, tally={})  # type: ignore[arg-type]


def test_all_three_agree() -> None:
    """Listed, answered and counted: agreed."""
    seen = cpu().agreement(listed=True, ost=[(1, 0)], now=3, growth=1)
    assert (seen.agreed, seen.detail) == (True, "")


@pytest.mark.parametrize(
    ("listed", "ost", "now", "detail"),
    [
        (False, [(1, 0)], 3, "QEMU does not list"),
        (True, [], 3, "no _OST reports success (seen: none)"),
        (True, [(1, 1)], 3, "no _OST reports success (seen: device check, failure)"),
        (True, [(1, 0)], 2, "the guest counts 2 processors, expected 3 processors"),
        (True, [(1, 0)], 4, "the guest counts 4 processors, expected 3 processors"),
    ],
)
def test_one_of_three_differs(listed: bool, ost: list[tuple[int, int]], now: int, detail: str) -> None:
    """Whichever differs is named."""
    seen = cpu().agreement(listed=listed, ost=ost, now=now, growth=1)
    assert not seen.agreed
    assert detail in seen.detail


def test_failure_is_named_where_a_processor_is_missing() -> None:
    """With what a plan that vetoes it expects; a processor that is there needs no reason."""
    seen = cpu().agreement(listed=True, ost=[(1, 0)], now=2, growth=1, failed=True)
    assert 'expected 3 processors, and Failure came (after a veto: expect = "vetoed")' in seen.detail
    assert cpu().agreement(listed=True, ost=[(1, 0)], now=3, growth=1, failed=True).agreed


def test_vetoed_processor_must_not_be_counted() -> None:
    """A vetoed processor is right when QEMU lists it and the count is unchanged."""
    assert cpu("vetoed").agreement(listed=True, ost=[(1, 0)], now=2, growth=0).agreed
    assert not cpu("vetoed").agreement(listed=True, ost=[(1, 0)], now=3, growth=0).agreed


@pytest.mark.parametrize(
    ("now", "right"), [(GIB, False), (GIB + GIB // 2, False), (2 * GIB - (10 << 20), True), (2 * GIB, True)]
)
def test_memory_grows_by_nearly_its_size(now: int, right: bool) -> None:
    """A guest keeps a small share of a DIMM for its own tables; half a DIMM is no DIMM."""
    assert counted("dimm", GIB, now, GIB) is right
