# SPDX-License-Identifier: MIT
"""The machine that Windows guests get takes what is added: the twin shows it, in Windows' place, from the same firmware."""

from __future__ import annotations

import calendar
import re
import shutil
import subprocess
from collections.abc import Callable

import msgspec
import pytest
from twin.running import Perform, plan_of

from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.guest.guest_types import GUEST_TYPES, Bootable, GuestOptions, TwinType
from harness.host.firmware import find_ovmf
from harness.machine.attachments import RealTimeClock
from harness.template.template import HOST_CLOCK, find_template

pytestmark = pytest.mark.qemu

PLAN = """
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
dimms = 1
"""


class TwinInTheirPlace(TwinType):
    """The twin's kernel on a template's machine: its firmware, board, processor, memory, disk and network."""

    def __init__(self, template: str, clock: RealTimeClock = HOST_CLOCK, words: str = "") -> None:
        self._template = find_template(template)
        self._clock = clock
        self._words = words

    def prepare(self, options: GuestOptions, deadline: Deadline, progress: Callable[[str], None]) -> Bootable:
        """Keep of the twin's machine only what boots it."""
        firmware = find_ovmf()
        disk, variables = options.directory / "disk.qcow2", options.directory / "variables"
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", disk, str(int(self._template.devices.disk_size))],
            check=True,
        )
        shutil.copyfile(firmware.variables, variables)
        spec = self._template.machine_spec(
            accelerator="tcg",
            qemu=options.spec.qemu,
            firmware=firmware,
            variables=variables,
            disk=disk,
            clock=self._clock,
        )
        # The kernel that QEMU is given has the first place in the boot order.
        disks = tuple(msgspec.structs.replace(disk, boot=None) for disk in spec.disks)
        spec = msgspec.structs.replace(spec, disks=disks)
        twin = super().prepare(msgspec.structs.replace(options, spec=spec), deadline, progress)
        spec = msgspec.structs.replace(twin.spec, append=f"{twin.spec.append} {self._words}".rstrip())
        return msgspec.structs.replace(twin, spec=spec, pace=5.0)


@pytest.mark.parametrize("template", ["windows-server-2025"])
def test_added_processor_and_dimm_arrive(
    perform_plan: Perform, monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    """The last slot and a DIMM: QEMU, firmware and guest agree, and every rule holds."""
    monkeypatch.setitem(GUEST_TYPES, "twin-in-their-place", TwinInTheirPlace(template))
    result = perform_plan(plan_of(PLAN), guest="twin-in-their-place")
    assert result.error is None
    assert (Verdict.HOLDS, []) == (result.verdict.verdict, result.verdict.reasons)


def test_the_guest_begins_at_the_time_of_its_machine(
    perform_plan: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that boots months later takes its time from the clock that begins at the template's shutdown."""
    start = calendar.timegm((2026, 3, 1, 10, 1, 0))
    twin = TwinInTheirPlace("windows-server-2025", RealTimeClock(start=start), "loglevel=7")
    monkeypatch.setitem(GUEST_TYPES, "twin-in-their-place", twin)
    result = perform_plan(plan_of('[[do]]\nop = "settle"\n'), guest="twin-in-their-place")
    assert result.error is None
    console = (result.directory / "console.log").read_text(errors="replace")
    (told,) = re.findall(r"setting system clock to \S+ UTC \(([0-9]+)\)", console)
    assert 0 <= int(told) - start < 120
