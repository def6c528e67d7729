# SPDX-License-Identifier: MIT
"""The driver in a kernel that checks its memory, while everything is busy: nothing is corrupted, lost or left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.contract.verdict import RunVerdict, Verdict
from harness.deadline import Deadline
from harness.errors import GuestRefused
from harness.guest.bootable import Bootable, GuestOptions
from harness.guest.guest_types import GUEST_TYPES, TwinType
from harness.guest.twin.guest import Twin
from harness.history.driver import CallEnter, CallExit, SyncEnter, SyncExit
from harness.history.record import Console, Record
from harness.run.operation import Quiesce, Settle

if TYPE_CHECKING:
    from harness.pytest_plugin import Hotplug, RunUnderTest

pytestmark = pytest.mark.qemu


class CheckedTwin(TwinType):
    """A twin whose kernel checks its heap (red zones, poison, who allocated) and says every warning aloud."""

    def prepare(self, options: GuestOptions, deadline: Deadline, progress: Callable[[str], None]) -> Bootable:
        """Take the twin's image; "quiet" would keep warnings from the console."""
        image = super().prepare(options, deadline, progress)
        append = image.spec.append.replace("quiet", "loglevel=5 slub_debug=FZPU hung_task_timeout_secs=10")
        return msgspec.structs.replace(image, spec=msgspec.structs.replace(image.spec, append=append))


@pytest.fixture
def guest_name(monkeypatch: pytest.MonkeyPatch) -> str:
    """The guest type is known for the time of a test."""
    monkeypatch.setitem(GUEST_TYPES, "checked-twin", CheckedTwin())
    return "checked-twin"


def soon() -> Deadline:
    return Deadline(30, "test")


def complaints(records: list[Record]) -> list[str]:
    """What the kernel said that it should not have."""
    return [record.text for record in records if isinstance(record, Console)]


def test_nothing_is_left_behind(
    guest: Twin,
    hotplug: Hotplug,
    history: Callable[[], list[Record]],
    run_under_test: RunUnderTest,
    verdict: Callable[[], RunVerdict],
) -> None:
    """Load, add, veto, memory, unload, reload, as either installation, while all is busy: no WARN, no BUG, no byte is left."""
    assert "slub_debug=FZPU" in " ".join(run_under_test.live.machine.argv)
    for _ in range(2):
        guest.order("busy", soon(), seconds="2")
        guest.order("work", soon(), items="20000")
        hotplug.add_cpu()
        guest.veto_next(soon())
        hotplug.add_cpu(expect="vetoed")
        hotplug.add_dimm()
        guest.order("work", soon(), items="20000")
        guest.unload_driver(soon())
        guest.order("load", soon(), driver="pnp", pnp="1")
        guest.order("rebalance", soon(), driver="pnp")
        guest.unload_driver(soon(), driver="pnp")
        guest.load_driver(soon())
    with pytest.raises(GuestRefused, match="in use"):
        guest.order("reinsert", soon())
    guest.unload_driver(soon())
    guest.order("reinsert", soon())
    guest.load_driver(soon())
    hotplug.do(Quiesce())
    assert [] == complaints(history())
    # With its module the whole NT layer begins anew, and what stands for its boot with it: nobody recorded a reset.
    (reason,) = verdict().reasons
    assert reason.startswith("CAP-CONSISTENT: driver hpnotify says hello with boot nonce ")
    assert reason.endswith("and no boot was recorded")


def test_unload_waits_for_an_addition_in_flight(
    guest: Twin, hotplug: Hotplug, history: Callable[[], list[Record]], verdict: Callable[[], RunVerdict]
) -> None:
    """A driver that is unloaded while it sits in Start first gets that processor's end; nothing is corrupted."""
    guest.order("delay", soon(), ms="1500")
    hotplug.add_cpu(settle=False)
    soon().poll(lambda: any(isinstance(record, SyncEnter) and record.nt == 2 for record in history()))
    guest.unload_driver(soon())
    hotplug.do(Settle(), Quiesce())
    records = history()
    calls = [record for record in records if isinstance(record, CallEnter | CallExit | SyncEnter | SyncExit)]
    leaving = calls.index(
        next(call for call in calls if isinstance(call, CallEnter) and call.call == "unload")
    )
    left = calls.index(next(call for call in calls if isinstance(call, CallExit) and call.call == "unload"))
    starting = calls.index(next(call for call in calls if isinstance(call, SyncEnter) and call.nt == 2))
    started = calls.index(next(call for call in calls if isinstance(call, SyncExit) and call.nt == 2))
    assert starting < leaving < started < left
    assert [] == complaints(records)
    assert ([], Verdict.HOLDS) == (verdict().reasons, verdict().verdict)
