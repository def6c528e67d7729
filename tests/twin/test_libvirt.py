# SPDX-License-Identifier: MIT
"""The main job through libvirt: built-in plans hold on the twin, whoever starts QEMU."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest
from part_markers import needs
from private_libvirtd import PrivateLibvirtd
from twin.running import plan_of, records_of

from harness.contract.verdict import Verdict
from harness.errors import FailureClass
from harness.history import record as r
from harness.history.run_directory import RunDirectory
from harness.run.request import RunRequest
from harness.run.run import RunResult, perform
from tests.machine.libvirt.test_remote_host import sshd, uri_of
from tests.transport.servers import SshServer

__all__ = ["sshd"]

pytestmark = [pytest.mark.qemu, pytest.mark.libvirt]


@pytest.fixture
@needs("qemu", "libvirt")
def perform_plan(
    request_run: Callable[..., RunRequest], private_libvirtd: PrivateLibvirtd
) -> Callable[..., RunResult]:
    """A function that runs a plan on a fresh twin through libvirt and returns its result."""
    return lambda plan, **options: perform(
        request_run(plan, backend="libvirt", connect=private_libvirtd.uri, **options)
    )


@pytest.mark.parametrize(
    "name",
    [
        "balloon", "burst", "burst-across-nodes", "burst-to-the-maximum", "every-slot", "found-at-boot", "found-in-firmware",
        "monitor-drops", "nvdimm", "pause-in-add", "reset", "two-clients", "unaligned-dimm", "unplug", "unplug-ignored", "unplug-late", "unplug-refused", "veto", "virtio-mem",
    ],
)  # fmt: skip
def test_built_in_plan_holds(perform_plan: Callable[..., RunResult], name: str) -> None:
    """A built-in plan runs to its end and its verdict holds, as with QEMU alone."""
    result = perform_plan(name)
    assert result.error is None
    assert (result.verdict.verdict, result.verdict.reasons) == (Verdict.HOLDS, [])


def test_a_reset_in_the_middle_of_an_add_is_unknown(perform_plan: Callable[..., RunResult]) -> None:
    """As with QEMU alone: what it cut short cannot be established, and what comes after it is judged."""
    result = perform_plan("reset-in-add")
    assert (result.error, result.verdict.verdict) == (None, Verdict.UNKNOWN)
    said = {one.rule: one.verdict for one in result.verdict.rules}
    assert (Verdict.HOLDS, Verdict.UNKNOWN) == (said["EXPECT"], said["CAP-EPOCH"])
    assert Verdict.VIOLATED not in said.values()


def test_dimms_that_are_files(perform_plan: Callable[..., RunResult]) -> None:
    """libvirt makes the files, shared or not; to the guest each is a DIMM."""
    file = '[[do]]\nop = "add-dimm"\nsize = "128 MiB"\nbackend = "file"\n'
    expected = '[[do]]\nop = "expect"\ndimms = 2\nmemory_arrivals = 2\n'
    result = perform_plan(plan_of(f"{file}{file}share = true\nhost_nodes = [0]\n{expected}"))
    assert (result.error, result.verdict.verdict, result.verdict.reasons) == (None, Verdict.HOLDS, [])


def test_the_debuggers_port_is_listened_to(perform_plan: Callable[..., RunResult]) -> None:
    """What the driver prints comes in over the third serial port, every record of it."""
    result = perform_plan(plan_of('[[do]]\nop = "add-cpu"\n'), kd="listen")
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)
    accounts = {one.name: one for one in records_of(result) if isinstance(one, r.Channel)}
    counts = {name: (one.records, one.lost) for name, one in accounts.items()}
    assert counts["debugcon"] == counts["dbgprint"]


def test_the_whole_chain_is_recorded(
    perform_plan: Callable[..., RunResult], private_libvirtd: PrivateLibvirtd
) -> None:
    """libvirt's calls, its replies, the firmware's answers under our names, and who answered where."""
    result = perform_plan("cpu-and-dimm")
    assert result.error is None
    assert result.verdict.verdict is Verdict.HOLDS
    records = records_of(result)
    calls = [x.message.get("execute", "") for x in records if isinstance(x, r.Qmp) and x.direction == "out"]
    changes = [call for call in calls if call.startswith("virDomain")]
    assert changes == ["virDomainResume", "virDomainSetVcpu", "virDomainAttachDeviceFlags"]
    assert {x.device for x in records if isinstance(x, r.Ost)} == {"cpu-1", "dimm-1"}
    agreements = [x for x in records if isinstance(x, r.Agreement)]
    assert [(x.agreed, x.detail) for x in agreements] == [(True, ""), (True, "")]
    facts = json.loads((result.directory / "run.json").read_bytes())
    assert (facts["backend"], facts["libvirt"]["uri"]) == ("libvirt", private_libvirtd.uri)
    assert facts["libvirt"]["libvirt"].count(".") == 2
    assert facts["qemu_argv"][0].endswith("qemu-system-x86_64")
    assert (result.directory / "domain.xml").is_file()


def test_requests_to_give_a_device_back_are_libvirts_calls(perform_plan: Callable[..., RunResult]) -> None:
    """Never QEMU's own command behind libvirt's back; the firmware answers, and QEMU tells, under our names."""
    result = perform_plan("unplug")
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)
    records = records_of(result)
    calls = [x.message.get("execute", "") for x in records if isinstance(x, r.Qmp) and x.direction == "out"]
    assert [call for call in calls if call.startswith("virDomain")] == [
        "virDomainResume",
        "virDomainAttachDeviceFlags",
        "virDomainSetVcpu",
        "virDomainDetachDeviceFlags",
        "virDomainAttachDeviceFlags",
        "virDomainSetVcpu",
    ]
    assert "device_del" not in calls
    settled = [x for x in records if isinstance(x, r.Removal) and x.phase == "settled"]
    assert [(x.device, x.outcome) for x in settled] == [("guest-dimm", "gone"), ("guest-cpu", "gone")]
    deleted = [
        x.message["data"]
        for x in records
        if isinstance(x, r.Qmp) and x.message.get("event") == "DEVICE_DELETED"
    ]
    assert all("guest-" in str(data) for data in deleted), deleted


def test_a_connection_that_drops_adds_nothing_twice(perform_plan: Callable[..., RunResult]) -> None:
    """A plan that drops the connection between adds still ends with one of each."""
    text = (
        '[[do]]\nop = "drop-monitor"\n\n[[do]]\nop = "add-cpu"\n\n[[do]]\nop = "drop-monitor"\n\n'
        '[[do]]\nop = "add-dimm"\nsize = "256 MiB"\n\n[[do]]\nop = "expect"\nprocessors = 3\ndimms = 1\n'
    )
    result = perform_plan(plan_of(text))
    assert result.error is None
    assert result.verdict.verdict is Verdict.HOLDS


def test_a_run_that_fails_leaves_its_evidence(perform_plan: Callable[..., RunResult]) -> None:
    """Registers and memory come through libvirt's own calls while the guest is still there."""
    waits = '[[do]]\nop = "wait-for"\nwhat = "ost"\ncount = 9\ntimeout = 0.5\n'
    result = perform_plan(plan_of(waits), dump=1 << 30)
    assert result.failure_class is FailureClass.GUEST_HANG
    index = RunDirectory(result.directory).evidence()
    assert index is not None
    had = {item.name: (item.state, item.reason) for item in index.items}
    assert [("collected", "")] * 3 == [had["state"], had["registers"], had["memory"]]
    assert "RIP=" in (result.directory / "evidence" / "registers.txt").read_text()


@pytest.mark.remote
@pytest.mark.parametrize("name", ["cpu-and-dimm", "veto"])
def test_on_another_host(
    request_run: Callable[..., RunRequest],
    private_libvirtd: PrivateLibvirtd,
    sshd: SshServer,
    name: str,
) -> None:
    """Over a real sshd on loopback, image sent and records fetched, a plan holds as well; KVM is not tried there."""
    request = request_run(name, backend="libvirt", connect=uri_of(sshd, private_libvirtd))
    result = perform(dataclasses.replace(request, accelerator="auto"))
    assert result.error is None
    assert (result.verdict.verdict, result.verdict.reasons) == (Verdict.HOLDS, [])
    facts = json.loads((result.directory / "run.json").read_bytes())
    assert (facts["accelerator"], facts["libvirt"]["uri"]) == ("tcg", request.connect)
