# SPDX-License-Identifier: MIT
"""The driver in the twin's kernel: work on hot-added processors, channels that agree, a second registration."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from harness.contract.verdict import RunVerdict, Verdict
from harness.deadline import Deadline
from harness.errors import GuestRefused
from harness.guest.twin.guest import Twin
from harness.history.driver import Bind, Grow, Work
from harness.history.record import Console, Record
from harness.run.operation import Quiesce

if TYPE_CHECKING:
    from harness.pytest_plugin import Hotplug, RunUnderTest

pytestmark = pytest.mark.qemu


def soon() -> Deadline:
    return Deadline(20, "test")


def test_work_reaches_a_new_processor(
    guest: Twin,
    hotplug: Hotplug,
    history: Callable[[], list[Record]],
    run_under_test: RunUnderTest,
    verdict: Callable[[], RunVerdict],
) -> None:
    """Threads and DPCs of every processor, the added one too, run where they were bound; all channels agree."""
    hotplug.add_cpu()
    hotplug.add_dimm()
    guest.order("work", soon(), items="600")
    hotplug.do(Quiesce())
    statistics = guest.order("statistics", soon())
    assert ("3", "0", "0") == tuple(statistics[key] for key in ("workers", "misplaced", "overrun"))
    done = [int(count) for count in statistics["done"].split(",")]
    assert 600 == sum(done)
    assert min(done) > 0
    ring = guest.order("ring", soon())
    records = history()
    lines = run_under_test.live.machine.debugcon.read_bytes()
    assert f"{zlib.crc32(lines):08x}" == ring["crc"]
    assert {2} == {record.cpu for record in records if isinstance(record, Work) and record.nt == 2}
    assert {"thread", "dpc"} == {
        record.what for record in records if isinstance(record, Bind) and record.nt == 2
    }
    assert 2 == len([record for record in records if isinstance(record, Grow)])
    assert [] == [record for record in records if isinstance(record, Console)]
    assert Verdict.HOLDS is verdict().verdict


def test_registrations_and_drivers_come_and_go(
    guest: Twin, hotplug: Hotplug, verdict: Callable[[], RunVerdict]
) -> None:
    """A second registration, a second driver, a veto on an existing processor, a reload: the contract holds."""
    guest.order("register", soon(), which="1", flags="1")
    guest.load_driver(soon(), driver="second", add_existing=False)
    hotplug.add_cpu()
    guest.veto_next(soon(), driver="second")
    hotplug.add_cpu(expect="vetoed")
    guest.veto_next(soon())
    guest.order("deregister", soon(), which="1")
    with pytest.raises(GuestRefused) as caught:
        guest.order("register", soon(), which="1", flags="1")
    assert "0xc000009a" in caught.value.message
    guest.unload_driver(soon(), driver="second")
    guest.unload_driver(soon())
    guest.load_driver(soon())
    hotplug.do(Quiesce())
    assert ([], Verdict.HOLDS) == (verdict().reasons, verdict().verdict)
