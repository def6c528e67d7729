# SPDX-License-Identifier: MIT
"""The driver installed as a Plug and Play driver: one registration in a device's life, whatever is stopped and started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from guest_drivers.host_process import INVALID_DEVICE_STATE, SUCCESS, Transcript, build, request, run, sweep

from harness.contract.verdict import RunVerdict, Verdict
from harness.deadline import Deadline
from harness.guest.twin.guest import Twin
from harness.history.driver import CallEnter, Hello, PnpEnter, PnpExit
from harness.history.record import Console, Record
from harness.run.operation import Quiesce

if TYPE_CHECKING:
    from harness.pytest_plugin import Hotplug

ROOT = "ROOT\\HPNOTIFY#1"
ROOT_AGAIN = "ROOT\\HPNOTIFY#3"
PCI = "PCI\\VEN_1234&DEV_11E8&SUBSYS_11001AF4&REV_10#2"
NO_SUCH_NAME = 0xC0000034
STARTED = ["START", "PrepareHardware", "D0Entry"]
STOPPED = ["STOP", "SelfManagedIoSuspend", "D0Exit", "ReleaseHardware"]
RELEASED_FIRST = ["STOP", "SelfManagedIoSuspend", "ReleaseHardware", "D0Exit"]
REMOVED = [
    "QUERY_REMOVE",
    "REMOVE",
    "SelfManagedIoSuspend",
    "D0Exit",
    "ReleaseHardware",
    "SelfManagedIoCleanup",
]


@pytest.fixture(scope="session")
def hosts(request: pytest.FixtureRequest) -> dict[str, Path]:
    """The host process by its sanitizer."""
    cache = request.config.cache.mkdir("hpnotify-host")
    return {name: build(cache, name) for name in ("address,undefined", "thread")}


def minors(records: list[Record], device: str) -> list[str]:
    """What a device was asked, in order."""
    return [record.minor for record in records if isinstance(record, PnpEnter) and record.device == device]


def unanswered(transcript: Transcript) -> set[int]:
    """Requests and callbacks that were entered and not left."""
    entered = {record.seq for record in transcript.records if isinstance(record, PnpEnter)}
    return entered - {record.enter for record in transcript.records if isinstance(record, PnpExit)}


@pytest.mark.host
def test_rebalance_registers_nothing_again(hosts: dict[str, Path]) -> None:
    """Each added processor stops and starts the device with resources, and the driver keeps its registrations."""
    transcript = run(
        hosts["address,undefined"], "start hpnotify PlugAndPlay=1 SecondRegistration=1", "add 2", "add 3", "deferred",
        "stop hpnotify",
    )  # fmt: skip
    records = transcript.records
    rebalanced = ["QUERY_STOP", *STOPPED, *STARTED, "SelfManagedIoRestart"]
    assert ["AddDevice", *STARTED, "SelfManagedIoInit", *rebalanced, *rebalanced, *REMOVED] == minors(
        records, PCI
    )
    asked = ["QUERY_STOP", "CANCEL_STOP"]
    assert ["AddDevice", *STARTED, "SelfManagedIoInit", *asked, *asked, *REMOVED] == minors(records, ROOT)
    calls = [record.call for record in records if isinstance(record, CallEnter)]
    assert (2, 2, 2, 2) == tuple(
        calls.count(name) for name in ("reg_sync", "reg_async", "dereg_sync", "unreg_ex")
    )
    assert ["pnp"] == [record.mode for record in records if isinstance(record, Hello)]
    assert (set(), [], []) == (unanswered(transcript), transcript.unbalanced(), transcript.trouble)


@pytest.mark.host
@pytest.mark.parametrize(
    ("fault", "rebalanced"),
    [
        ("stop-unasked", [*STOPPED, *STARTED, "SelfManagedIoRestart"]),
        ("early-release", ["QUERY_STOP", *RELEASED_FIRST, *STARTED, "SelfManagedIoRestart"]),
    ],
)
def test_survives_a_rebalance_in_another_order(
    hosts: dict[str, Path], fault: str, rebalanced: list[str]
) -> None:
    """A rebalance that is not as documented is recorded as it came, and leaves nothing behind."""
    transcript = run(
        hosts["address,undefined"], f"plant {fault}", "start hpnotify PlugAndPlay=1", "add 2", "deferred", "stop hpnotify"
    )  # fmt: skip
    assert rebalanced == minors(transcript.records, PCI)[5 : 5 + len(rebalanced)]
    assert (set(), [], []) == (unanswered(transcript), transcript.unbalanced(), transcript.trouble)


@pytest.mark.host
def test_the_exit_of_a_callback_says_what_it_returned(hosts: dict[str, Path]) -> None:
    """The error of the registration is in the exit of the callback that registers; the others say success."""
    transcript = run(hosts["address,undefined"], "start hpnotify PlugAndPlay=1 Veto=1", "stop hpnotify")
    failed = {
        (record.minor, record.ret)
        for record in transcript.records
        if isinstance(record, PnpExit) and record.ret
    }
    assert ("SelfManagedIoInit", 0xC000009A) in failed
    succeeded = {
        record.minor for record in transcript.records if isinstance(record, PnpExit) and not record.ret
    }
    assert {"AddDevice", "PrepareHardware", "D0Entry", "SelfManagedIoCleanup"} <= succeeded


@pytest.mark.host
def test_devices_that_opted_out_are_not_asked(hosts: dict[str, Path]) -> None:
    """Neither the device with resources nor the one without gets a request when a processor is added."""
    transcript = run(
        hosts["address,undefined"], "start hpnotify PlugAndPlay=1 RebalanceOptOut=1", "add 2", "deferred", "stop hpnotify"
    )  # fmt: skip
    life = ["AddDevice", *STARTED, "SelfManagedIoInit", *REMOVED]
    assert [life, life] == [minors(transcript.records, PCI), minors(transcript.records, ROOT)]
    assert (set(), [], []) == (unanswered(transcript), transcript.unbalanced(), transcript.trouble)


@pytest.mark.host
def test_control_device_works_and_goes(hosts: dict[str, Path]) -> None:
    """The control device answers while a device has it, also after a rebalance, and the driver starts again."""
    transcript = run(
        hosts["address,undefined"], "start hpnotify PlugAndPlay=1", request("DETACH"), "add 2", request("FLUSH"),
        "stop hpnotify", request("FLUSH"), "start hpnotify PlugAndPlay=1", request("FLUSH"), "stop hpnotify",
    )  # fmt: skip
    statuses = [status for status, _ in transcript.answers]
    assert [SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS, 0xC0000034, SUCCESS, SUCCESS, SUCCESS] == statuses
    assert (set(), [], []) == (unanswered(transcript), transcript.unbalanced(), transcript.trouble)


@pytest.mark.host
def test_the_device_that_registered_deregisters(hosts: dict[str, Path]) -> None:
    """Registrations are made and ended by the first device; the other's removal before it touches none."""
    transcript = run(hosts["address,undefined"], "start hpnotify PlugAndPlay=1", "stop hpnotify")
    within: dict[str, list[str]] = {}
    device = ""
    for record in transcript.records:
        if isinstance(record, PnpEnter) and record.minor.startswith("SelfManagedIo"):
            device = f"{record.device} {record.minor}"
            within[device] = []
        elif isinstance(record, CallEnter) and device:
            within[device].append(record.call)
    assert {
        f"{ROOT} SelfManagedIoInit": ["reg_sync", "reg_async", "reg_async"],
        f"{PCI} SelfManagedIoInit": [],
        f"{PCI} SelfManagedIoSuspend": [],
        f"{PCI} SelfManagedIoCleanup": [],
        f"{ROOT} SelfManagedIoSuspend": [],
        f"{ROOT} SelfManagedIoCleanup": ["unreg_ex", "unreg_ex", "dereg_sync", "unload", "etw_unreg"],
    } == within


@pytest.mark.host
def test_a_device_that_comes_again_registers_again(hosts: dict[str, Path]) -> None:
    """Disabled and enabled, the device that had the registrations has them again; another one never takes them."""
    transcript = run(
        hosts["address,undefined"], "start hpnotify PlugAndPlay=1", "reenable hpnotify", "add 2", request("FLUSH"),
        "reenable hpnotify", "reenable other", "stop hpnotify", "start hpnotify", "reenable hpnotify", "stop hpnotify",
    )  # fmt: skip
    statuses = [status for status, _ in transcript.answers]
    assert [*[SUCCESS] * 5, NO_SUCH_NAME, SUCCESS, SUCCESS, INVALID_DEVICE_STATE, SUCCESS] == statuses
    calls = [record.call for record in transcript.records if isinstance(record, CallEnter)]
    assert (3, 6, 3, 6) == tuple(
        calls.count(name) for name in ("reg_sync", "reg_async", "dereg_sync", "unreg_ex")
    )
    again = [
        record.minor
        for record in transcript.records
        if isinstance(record, PnpEnter) and record.device == ROOT_AGAIN
    ]
    assert ["AddDevice", *STARTED, "SelfManagedIoInit"] == again[:5]
    assert "S2 C2" in transcript.states()
    assert (set(), [], []) == (unanswered(transcript), transcript.unbalanced(), transcript.trouble)


@pytest.mark.host
@pytest.mark.parametrize("value", [0, 2, 0xFFFFFFFF])
def test_only_one_means_plug_and_play(hosts: dict[str, Path], value: int) -> None:
    """Any other value than 1 leaves the driver without devices."""
    transcript = run(hosts["address,undefined"], f"start hpnotify PlugAndPlay={value}", "stop hpnotify")
    assert [] == [record for record in transcript.records if isinstance(record, PnpEnter)]
    assert ["nonpnp"] == [record.mode for record in transcript.records if isinstance(record, Hello)]


@pytest.mark.host
@pytest.mark.parametrize("meanwhile", ["add 2", "reenable hpnotify"])
def test_everything_that_can_fail_fails_once(hosts: dict[str, Path], meanwhile: str) -> None:
    """Whatever fails, nothing is left behind, and what was entered is left."""
    transcripts = sweep(
        hosts["address,undefined"],
        "start hpnotify PlugAndPlay=1 SecondRegistration=1",
        meanwhile,
        "stop hpnotify",
    )
    assert len(transcripts) > 40
    for nth, transcript in enumerate(transcripts, 1):
        # What the layer itself had no memory for is no concern of the driver's.
        trouble = [line for line in transcript.trouble if not line.startswith("no memory to ")]
        left = (transcript.status, unanswered(transcript), transcript.unbalanced(), trouble)
        assert (nth, 0, set(), [], []) == (nth, *left)


@pytest.mark.host
def test_added_and_removed_at_the_same_time(hosts: dict[str, Path]) -> None:
    """Processors come while the driver and its devices come and go; ThreadSanitizer watches."""
    lanes = [
        *[f"0 {command}" for command in ["start hpnotify PlugAndPlay=1", "stop hpnotify"] * 5],
        *[f"1 add {number}" for number in range(2, 6)],
    ]
    transcript = run(hosts["thread"], "parallel", *lanes, "join")
    assert (set(), [], []) == (unanswered(transcript), transcript.unbalanced(), transcript.trouble)


@pytest.mark.qemu
def test_rebalance_in_the_twin(
    guest: Twin, hotplug: Hotplug, history: Callable[[], list[Record]], verdict: Callable[[], RunVerdict]
) -> None:
    """In ring 0 as well, and the contract's rules on the rebalance have something to judge."""
    soon = Deadline(30, "test")
    guest.unload_driver(soon)
    guest.order("load", soon, pnp="1")
    hotplug.do(Quiesce())
    hotplug.add_cpu()
    guest.order("rebalance", soon)
    hotplug.add_cpu()
    guest.unload_driver(soon)
    guest.order("load", soon, pnp="1")
    hotplug.do(Quiesce())
    records = history()
    assert 3 == minors(records, PCI).count("STOP")
    assert [] == [record for record in records if isinstance(record, Console)]
    judged = verdict()
    assert ([], Verdict.HOLDS) == (judged.reasons, judged.verdict)
    exercised = {result.rule for result in judged.rules if result.exercised}
    assert {
        "REBAL-ON-CPU-ADD", "REBAL-ORDER", "REBAL-KMDF-ORDER", "REBAL-NO-RESOURCES", "REBAL-VS-NOTIFY",
        "OB-NO-QUERYSTOP-VETO", "OB-KMDF-REG-ONCE",
    } <= exercised  # fmt: skip
