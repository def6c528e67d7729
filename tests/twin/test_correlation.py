# SPDX-License-Identifier: MIT
"""The guest's counter and the host's clock on the real twin: brackets go into the history and bound every record."""

from __future__ import annotations

import pytest
from twin.running import Perform, plan_of, records_of

from harness.capture.correlation import ClockMap
from harness.contract.verdict import Verdict
from harness.history.driver import DriverRecord, Mark
from harness.history.record import Offset

pytestmark = pytest.mark.qemu


def test_a_run_brackets_the_guests_counter(perform_plan: Perform) -> None:
    """At the baseline, after each add and at the end the driver echoes a nonce; no record arrives before it happened."""
    result = perform_plan(plan_of('[[do]]\nop = "add-cpu"\n[[do]]\nop = "add-dimm"\nsize = "256 MiB"\n'))
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)
    records = records_of(result)
    marks = [record for record in records if isinstance(record, Mark)]
    offsets = [record for record in records if isinstance(record, Offset)]
    assert [mark.nonce for mark in marks] == [offset.nonce for offset in offsets]
    assert len(offsets) == 4
    # A bracket is one order to the guest; ten times what it takes on two busy cores.
    assert sum(offset.high_ns - offset.low_ns for offset in offsets) < 1_000_000_000
    assert {offset.domain for offset in offsets} == {f"qpc/{marks[0].boot}"}
    clock = ClockMap(offsets)
    assert clock.contradictions == 0
    for record in records:
        if isinstance(record, DriverRecord):
            interval = clock.host_ns(record.qpc)
            assert interval is not None
            assert interval[0] <= record.host_ns


def test_no_driver_no_bracket(perform_plan: Perform) -> None:
    """Where no driver is loaded none is asked, and the run is as before."""
    result = perform_plan(plan_of('driver = false\n[[do]]\nop = "add-cpu"\n'))
    assert result.error is None
    assert [record for record in records_of(result) if isinstance(record, Mark | Offset)] == []
