# SPDX-License-Identifier: MIT
"""The guest's counter and the host's clock on the real twin: brackets go into the history and bound every record."""

from __future__ import annotations

import pytest
from twin.running import Perform, plan_of, records_of

from harness.capture.offline.alignment import align
from harness.capture.offline.correlation import ClockMap
from harness.capture.offline.recorded import read
from harness.contract.checker import judge
from harness.contract.verdict import RunVerdict, Verdict
from harness.history.driver import DriverRecord, Mark
from harness.history.record import Channel, Offset

pytestmark = pytest.mark.qemu


def test_a_run_brackets_the_guests_counter(perform_restored: Perform) -> None:
    """At the baseline, after each add and at the end the driver echoes a nonce; no record arrives before it happened."""
    result = perform_restored(plan_of('[[do]]\nop = "add-cpu"\n[[do]]\nop = "add-dimm"\nsize = "256 MiB"\n'))
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)
    records = records_of(result)
    marks = [record for record in records if isinstance(record, Mark)]
    offsets = [record for record in records if isinstance(record, Offset)]
    assert [mark.nonce for mark in marks] == [offset.nonce for offset in offsets]
    assert len(offsets) == 4
    # A bracket is one order to the guest: a small part of the run, however busy the machine is.
    lasted = max(offset.high_ns for offset in offsets) - min(offset.low_ns for offset in offsets)
    assert sum(offset.high_ns - offset.low_ns for offset in offsets) < lasted / 2
    assert {offset.domain for offset in offsets} == {f"qpc/{marks[0].boot}"}
    clock = ClockMap(offsets)
    assert clock.contradictions == 0
    for record in records:
        if isinstance(record, DriverRecord):
            interval = clock.host_ns(record.qpc)
            assert interval is not None
            assert interval[0] <= record.host_ns


def said(verdict: RunVerdict) -> list[tuple[str, Verdict, str, int]]:
    """What a verdict says of each rule."""
    return [(one.rule, one.verdict, one.reason, one.exercised) for one in verdict.rules]


@pytest.mark.parametrize(("fault", "verdict"), [("", Verdict.HOLDS), ("missing-complete", Verdict.VIOLATED)])
def test_what_was_read_after_the_run_is_judged_as_what_came_during_it(
    perform_restored: Perform, fault: str, verdict: Verdict
) -> None:
    """The host's records alone, with the debug port's file put in afterwards by the brackets, say the same of every rule."""
    result = perform_restored("cpu-and-dimm", inject_fault=fault)
    assert result.verdict.verdict is verdict
    host = [one for one in records_of(result) if not isinstance(one, DriverRecord | Channel)]
    aligned = align(host, [read("debugcon", result.directory / "debugcon.log")])
    assert aligned.unproven == []
    assert said(judge(aligned.records)) == said(result.verdict)


def test_no_driver_no_bracket(perform_restored: Perform) -> None:
    """Where no driver is loaded none is asked, and the run is as before."""
    result = perform_restored(plan_of('driver = false\n[[do]]\nop = "add-cpu"\n'))
    assert result.error is None
    assert [record for record in records_of(result) if isinstance(record, Mark | Offset)] == []
