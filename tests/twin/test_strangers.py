# SPDX-License-Identifier: MIT
"""Another client of QEMU or libvirt adds a device beside this run: it is named, and nothing is concluded from what was told."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from part_markers import needs
from private_libvirtd import PrivateLibvirtd
from twin.running import plan_of

from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.errors import ExitCode, FailureClass, HarnessError, InfrastructureError
from harness.history.record import Add, Record
from harness.machine.libvirt.connection import load
from harness.run.boot import Live
from harness.run.failure import retriable
from harness.run.operation import AddCpu, Quiesce
from harness.run.request import RunRequest
from harness.run.run import Run

pytestmark = pytest.mark.qemu

DIMM = "<memory model='dimm'><target><size unit='MiB'>256</size><node>0</node></target></memory>"
LAST_SLOT = 5
NEXT_SLOT = 2
Stranger = Callable[[Live, str, int], None]


def at_the_monitor(live: Live, what: str, slot: int) -> None:
    """Add a device on QEMU's human monitor, and wait until QEMU has it."""
    lines = {
        "cpu": [f"device_add max-x86_64-cpu,id=odd,socket-id={slot},core-id=0,thread-id=0"],
        "dimm": ["object_add memory-backend-ram,id=m,size=256M", "device_add pc-dimm,id=odd,memdev=m"],
    }[what]
    assert live.machine.human is not None
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(60)
        monitor.connect(str(live.machine.human))
        monitor.sendall("".join(f"{line}\n" for line in [*lines, "info version"]).encode())
        said = b""
        # The prompt echoes what is typed; only the answer is a line of its own.
        while (
            b"\r\n7." not in said and b"\r\n8." not in said and b"\r\n9." not in said and b"\r\n1" not in said
        ):
            said += monitor.recv(1 << 16)


def through_libvirt(private_libvirtd: PrivateLibvirtd) -> Stranger:
    """Return a function that adds a device over another connection, as virsh does."""

    def add(live: Live, what: str, slot: int) -> None:
        other = load().open(private_libvirtd.uri)
        try:
            domain = other.lookupByUUIDString(live.machine.uuid)  # type: ignore[attr-defined]
            if what == "cpu":
                domain.setVcpu(str(slot), 1, load().VIR_DOMAIN_AFFECT_LIVE)
            else:
                domain.attachDeviceFlags(DIMM, load().VIR_DOMAIN_AFFECT_LIVE)
        finally:
            other.close()

    return add


def beside(request: RunRequest, stranger: Stranger, what: str) -> tuple[Run, HarnessError]:
    """Add a processor, have somebody else add a device, go on; return the run with the error that ends it."""
    run = Run(request)
    try:
        with run.live() as live:
            live.executor.step(AddCpu())
            before = live.machine.serial()
            stranger(live, what, LAST_SLOT)
            live.machine.wait_event("ACPI_DEVICE_OST", Deadline(60, "the firmware's answer"), after=before)
            live.executor.execute([AddCpu(), Quiesce()])
    except HarnessError as error:
        return run, error
    pytest.fail("nobody noticed")


def check(run: Run, error: HarnessError, device: str) -> None:
    """The stranger's device is named, the infrastructure is blamed, and nothing is proved."""
    assert type(error) is InfrastructureError
    assert error.message.startswith(device)
    assert "another client of qemu or libvirt" in f"{error.message} {error.hint}".lower()
    assert (retriable(error), error.exit_code) == (True, ExitCode.INFRASTRUCTURE)
    verdict = run.judge()
    assert (verdict.verdict, verdict.failure_class) == (Verdict.UNKNOWN, FailureClass.INFRASTRUCTURE)
    assert any(device in reason for reason in verdict.reasons)


@pytest.fixture
@needs("qemu")
def request_here(request_run: Callable[..., RunRequest]) -> Callable[..., RunRequest]:
    """A function that makes the request of a run."""
    return lambda **options: request_run(plan_of('[[do]]\nop = "quiesce"\n'), **options)


@pytest.mark.parametrize(("what", "slot"), [("cpu", "CPU slot 5"), ("dimm", "DIMM slot 0")])
def test_at_qemus_monitor(request_here: Callable[..., RunRequest], what: str, slot: str) -> None:
    """A second client of QEMU."""
    run, error = beside(request_here(monitor=True, restore=True), at_the_monitor, what)
    check(run, error, f"device 'odd' ({slot}) was added")


@pytest.mark.libvirt
@needs("libvirt")
@pytest.mark.parametrize(
    ("what", "device"), [("cpu", "'vcpu5' (CPU slot 5)"), ("dimm", "'dimm0' (DIMM slot 0)")]
)
def test_through_libvirt(
    request_here: Callable[..., RunRequest], private_libvirtd: PrivateLibvirtd, what: str, device: str
) -> None:
    """``virsh setvcpu`` and ``virsh attach-device`` on our domain."""
    request = request_here(backend="libvirt", connect=private_libvirtd.uri)
    run, error = beside(request, through_libvirt(private_libvirtd), what)
    check(run, error, f"device {device} was added")


def taken(request: RunRequest, stranger: Stranger) -> tuple[Run, HarnessError]:
    """Have somebody else take the slot that this run is about to fill."""
    run = Run(request)
    try:
        with run.live() as live:

            def listen(record: Record) -> None:
                if isinstance(record, Add) and record.phase == "begin":
                    stranger(live, "cpu", NEXT_SLOT)

            run.writer.subscribe(listen)
            live.executor.step(AddCpu())
    except HarnessError as error:
        return run, error
    pytest.fail("nobody noticed")


def test_a_slot_that_somebody_else_took(request_here: Callable[..., RunRequest]) -> None:
    """QEMU refuses the second, and the plan is not to blame for it."""
    run, error = taken(request_here(monitor=True, restore=True), at_the_monitor)
    check(run, error, "processor slot 2 was taken by 'odd'")
