# SPDX-License-Identifier: MIT
"""Contrast: what is said of memory that no ACPI memory device brought, and when a guest has followed."""

from __future__ import annotations

import pytest

from harness.run.contrast import Change, contrasted

MIB = 1 << 20


@pytest.mark.parametrize(
    ("growth", "now", "followed"),
    [
        (256 * MIB, 512 * MIB, False),
        (256 * MIB, 760 * MIB, True),
        (-128 * MIB, 512 * MIB, False),
        (-128 * MIB, 384 * MIB, True),
        (0, 512 * MIB, True),
    ],
)
def test_when_a_guest_has_followed(growth: int, now: int, followed: bool) -> None:
    """It keeps some of what it got for tables of pages."""
    assert followed is Change(said="", growth=growth).counted(512 * MIB, now)


def test_what_is_said() -> None:
    """Who told nothing is said as well; what was told is counted by kind."""
    quiet = contrasted("QEMU lists it", 402 * MIB, 402 * MIB, {"memory-arrival": 0, "ost": 0})
    assert "still 402 MiB, no driver told; QEMU lists it, no _OST" == quiet
    told = contrasted("plugged", 402 * MIB, 658 * MIB, {"memory-arrival": 2, "start": 0, "ost": 1})
    assert "402 MiB -> 658 MiB, told: 2 memory-arrival; plugged, 1 _OST" == told
