# SPDX-License-Identifier: MIT
"""Waiting without an event: how long the pauses are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deadline import Deadline, pause_after
from harness.errors import GuestHang

SECONDS = st.floats(0.0, 1e4)


@given(waited=SECONDS, shortest=st.floats(0.001, 1.0), more=SECONDS)
def test_pause_is_a_quarter_of_the_wait(waited: float, shortest: float, more: float) -> None:
    """Between its two limits."""
    longest = shortest + more
    pause = pause_after(waited, shortest, longest)
    assert shortest <= pause <= longest
    assert pause <= max(shortest, waited / 4)


def test_growing_pauses_look_seldom_at_what_takes_long() -> None:
    """From a pause of 1 ms on, 0.2 s are seen in some twenty looks, which grow by a quarter of the time; not in two hundred."""
    looks: list[None] = []
    with pytest.raises(GuestHang, match="the probe: nothing within"):
        Deadline(0.2, "the probe").poll(lambda: looks.append(None), interval=0.001, longest=1.0)
    assert len(looks) <= 4 + 30


def test_first_look_is_at_once() -> None:
    """What is there already is not waited for."""
    assert "there" == Deadline(0.0, "the probe").poll(lambda: "there", interval=60.0)
