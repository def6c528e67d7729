# SPDX-License-Identifier: MIT
"""The machine that Windows guests get takes what is added: the twin shows it, in Windows' place, from the same firmware."""

from __future__ import annotations

import calendar
import os
import re
import shutil
import subprocess
from collections.abc import Callable

import msgspec
import pytest
from part_markers import needs
from twin.running import found_at_boot, plan_of, records_of

from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.guest.bootable import Bootable, GuestOptions
from harness.guest.guest_types import GUEST_TYPES, TwinType
from harness.guest.twin.guest import KNOWN_HYPERVISOR
from harness.host.firmware import find_ovmf
from harness.machine.attachments import RealTimeClock
from harness.run.request import RunRequest
from harness.run.run import RunResult, perform
from harness.setup.cache import cache_directory
from harness.template.template import find_template

pytestmark = pytest.mark.qemu

PLAN = """
driver = false

[machine]
started = "paused"

[[do]]
op = "add-cpu"
expect = "found"

[[do]]
op = "add-cpu"
slot = 8
expect = "refused"
saying = "Invalid CPU"

[[do]]
op = "add-dimm"
size = "256 MiB"
expect = "found"

[[do]]
op = "boot"

[[do]]
op = "load-driver"

[[do]]
op = "add-cpu"
slot = 7

[[do]]
op = "add-dimm"
size = "1 GiB"

[[do]]
op = "expect"
starts = 1
completes = 1
cpu_arrivals = 1
memory_arrivals = 1
dimms = 2
"""


TEMPLATE = "windows-server-2025"
START = calendar.timegm((2026, 3, 1, 10, 1, 0))
"""When the template's guest was turned off, in seconds since 1970."""


class TwinInTheirPlace(TwinType):
    """The twin's kernel on a template's machine: its firmware, board, processor, memory, disk, network and clock."""

    def prepare(self, options: GuestOptions, deadline: Deadline, progress: Callable[[str], None]) -> Bootable:
        """Keep of the twin's machine only what boots it."""
        firmware, template = find_ovmf(), find_template(TEMPLATE)
        disk, variables = options.directory / "disk.qcow2", options.directory / "variables"
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", disk, str(int(template.devices.disk_size))],
            check=True,
        )
        shutil.copyfile(firmware.variables, variables)
        spec = template.machine_spec(
            accelerator="tcg",
            qemu=options.spec.qemu,
            firmware=firmware,
            variables=variables,
            disk=disk,
            clock=RealTimeClock(start=START),
        )
        # The kernel that QEMU is given has the first place in the boot order.
        disks = tuple(msgspec.structs.replace(disk, boot=None) for disk in spec.disks)
        spec = msgspec.structs.replace(spec, disks=disks)
        twin = super().prepare(msgspec.structs.replace(options, spec=spec), deadline, progress)
        # The processor's model is the template's: what the twin's own needs on some kernels is said of this one.
        hides = ",-hypervisor" if KNOWN_HYPERVISOR[-1] in twin.spec.extra else ""
        spec = msgspec.structs.replace(
            twin.spec, append=f"{twin.spec.append} loglevel=7", cpu=f"{twin.spec.cpu}{hides}"
        )
        return msgspec.structs.replace(twin, spec=spec, pace=5.0)


@pytest.fixture(scope="module")
@needs("qemu")
def in_their_place(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """One run on the machine, for all tests that look at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(GUEST_TYPES, "twin-in-their-place", TwinInTheirPlace())
        return perform(
            RunRequest(
                plan=plan_of(PLAN),
                guest="twin-in-their-place",
                runs=tmp_path_factory.mktemp("runs"),
                cache=cache_directory(os.environ),
                argv=["test"],
                accelerator="tcg",
            )
        )


def test_added_processor_and_dimm_arrive(in_their_place: RunResult) -> None:
    """The last slot and a DIMM: QEMU, firmware and guest agree, and every rule holds.

    Before the boot QEMU refuses a slot that the machine does not have, and takes the next add. The driver is loaded after it.
    """
    assert in_their_place.error is None
    assert (Verdict.HOLDS, []) == (in_their_place.verdict.verdict, in_their_place.verdict.reasons)


def test_what_is_there_before_the_firmware_is_found(in_their_place: RunResult) -> None:
    """The processor and the DIMM that were added before UEFI firmware started are existing ones to the driver."""
    processors = find_template(TEMPLATE).topology.processors
    assert found_at_boot(records_of(in_their_place)) == list(range(processors + 1))


def test_the_guest_begins_at_the_time_of_its_machine(in_their_place: RunResult) -> None:
    """A kernel that boots months later takes its time from the clock that begins at the template's shutdown."""
    console = (in_their_place.directory / "console.log").read_text(errors="replace")
    (told,) = re.findall(r"setting system clock to \S+ UTC \(([0-9]+)\)", console)
    assert 0 <= int(told) - START < 120
