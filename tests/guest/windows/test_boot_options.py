# SPDX-License-Identifier: MIT
"""What bcdedit is told, and what it is never told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.guest.windows.boot_options import BootOptions


def test_nothing_wanted_is_nothing_said() -> None:
    """And costs no restart."""
    assert [] == BootOptions().lines()


def test_what_was_set_is_taken_back() -> None:
    """A group size of 0 is Windows' own."""
    assert ["/deletevalue {current} groupsize", "/deletevalue {current} groupaware"] == BootOptions(
        group_size=0
    ).lines()
    assert ["/set {current} testsigning off"] == BootOptions(test_signing=False).lines()
    assert ["/debug {current} off"] == BootOptions(debug=False).lines()


@given(st.integers(-1000, 1000))
def test_only_powers_of_two_up_to_64_are_group_sizes(size: int) -> None:
    """bcdedit takes others, and Windows then does not start as it was told."""
    allowed = size in (0, 1, 2, 4, 8, 16, 32, 64)
    if allowed:
        assert size == BootOptions(group_size=size).group_size
        return
    with pytest.raises(UsageError, match=f"Windows cannot have {size} processors in a group"):
        BootOptions(group_size=size)
