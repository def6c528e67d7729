# SPDX-License-Identifier: MIT
"""Host and guest clocks of a real guest: brackets are narrow, agree with one another, and with every record's arrival."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from harness.capture.offline.comparison import compare
from harness.capture.offline.correlation import MOST_DRIFT, ClockMap, Correlator
from harness.deadline import Deadline
from harness.guest.guest import Guest
from harness.history.driver import DriverRecord
from harness.history.record import Offset, Record
from harness.pytest_plugin import Hotplug, RunUnderTest

pytestmark = pytest.mark.qemu

MARKS = 5


def test_clocks_of_the_twin(
    run_under_test: RunUnderTest, guest: Guest, hotplug: Hotplug, history: Callable[[], list[Record]]
) -> None:
    """Nonces around a hot-add bracket the counter; every record of the driver was received after it can have been written."""
    run = run_under_test.run
    correlator, found = Correlator(), list[Offset]()
    for record in history():
        correlator.observe(record, record.host_ns)

    def listen(record: Record) -> None:
        offset = correlator.observe(record, record.host_ns)
        if offset is not None:
            found.append(offset)

    run.writer.subscribe(listen)
    for number in range(MARKS):
        if number == MARKS // 2:
            hotplug.add_cpu()
        nonce = f"clock{number}"
        correlator.sent(nonce, time.monotonic_ns())
        guest.mark(nonce, Deadline(20, "mark"))
    records = history()
    for offset in found:
        run.writer.write(offset)
    assert [f"clock{number}" for number in range(MARKS)] == [offset.nonce for offset in found]
    last = found[-1]
    assert last.drift_low_ppb is not None
    assert last.drift_high_ppb is not None
    assert last.drift_low_ppb < MOST_DRIFT
    assert last.drift_high_ppb > -MOST_DRIFT
    clock_map = ClockMap(found)
    assert 0 == clock_map.contradictions
    drivers = [record for record in records if isinstance(record, DriverRecord)]
    assert drivers
    for record in drivers:
        interval = clock_map.host_ns(record.qpc)
        assert interval is not None
        assert interval[0] <= record.host_ns
    found = compare(records, channels=["debugcon"])
    (carried,) = found.channels
    assert (0, 0, 0) == (found.different, found.lost_nowhere, carried.lost)
