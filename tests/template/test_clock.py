# SPDX-License-Identifier: MIT
"""When a run's clock begins: after the last time that the template's disk knows of, or at the host's."""

from __future__ import annotations

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.machine.attachments import RealTimeClock
from harness.template.clock import AHEAD, clock_start
from harness.template.manifest import seconds_of, utc
from tests.template.test_store import BUILT, manifest

STOPPED = utc(BUILT - 300)


@pytest.mark.parametrize(
    ("changes", "start", "why"),
    [
        ({"shutdown": STOPPED}, BUILT - 240, "a minute after the template's last shutdown"),
        ({}, BUILT + 15 * 3600, "its manifest does not say when it was shut down"),
        ({"shutdown": "yesterday"}, BUILT + 15 * 3600, "its manifest does not say when it was shut down"),
        ({"built": "long ago"}, 0, "the template's manifest has no time that can be read"),
    ],
)
def test_the_last_time_that_is_known_counts(changes: dict[str, str], start: float, why: str) -> None:
    """The shutdown, else the end of the build, else the host's clock; and it is said which."""
    found = clock_start(manifest(**changes))
    assert int(start) == found.clock.start
    assert why in found.why


def test_real_time_is_the_host_s() -> None:
    """Whatever the manifest says."""
    found = clock_start(manifest(shutdown=STOPPED), real_time=True)
    assert (RealTimeClock(), "the host's clock, as --real-time says") == found


def test_a_clock_that_was_in_local_time_never_goes_back() -> None:
    """A guest that took Kiribati's local time for UTC was 14 hours ahead when its build ended."""
    ahead = 14 * 3600
    assert clock_start(manifest()).clock.start > BUILT + ahead
    assert ahead < AHEAD


@settings(max_examples=examples(50))
@given(st.text(max_size=30) | st.datetimes().map(str))
def test_any_text_is_a_time_or_none(text: str) -> None:
    """A manifest may have been changed by hand."""
    assert text == utc(seconds_of(text)) or seconds_of(text) == 0 or seconds_of(utc(seconds_of(text)))
