# SPDX-License-Identifier: MIT
"""Contrast: a guest's memory changes without an ACPI memory device, so no driver is notified.

The effects of the operations are only observed here. The plan's ``expect`` and the general rules judge them.
GUID_DEVICE_MEMORY is the class of memory devices, and their driver binds to ACPI's PNP0C80 (WD:
install/guid-device-memory.md). Windows documents nothing about the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from harness.deadline import Deadline
from harness.host.budget import size_text
from harness.machine import other_memory
from harness.machine.machine import Machine
from harness.run import operation as op
from harness.run.pending_add import SMALLEST_SHARE

ASK = 10.0
"""Seconds for QEMU to report the guest's progress."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """QEMU's report of a change, and the number of bytes by which the guest's count should grow, or shrink if negative."""

    said: str
    growth: int = 0

    def counted(self, before: int, now: int) -> bool:
        """Return whether the guest's count is as expected; it excludes page tables."""
        return (now - before >= self.growth * SMALLEST_SHARE) if self.growth >= 0 else (
            now - before <= self.growth * SMALLEST_SHARE
        )  # fmt: skip


def change(machine: Machine, operation: op.Contrast, device: str, deadline: Deadline) -> Change:
    """Execute an operation and wait until QEMU reports that the guest followed.

    ``device`` is the name of the added device. Raises CommandRefused, GuestHang if the guest does not follow.
    """
    size = int(operation.size)

    def plugged() -> int:
        return other_memory.plugged(machine, Deadline(ASK, "ask virtio-mem"))

    def left() -> int:
        return other_memory.balloon_size(machine, Deadline(ASK, "ask the balloon"))

    match operation:
        case op.AddNvdimm():
            machine.add_nvdimm(device, size, deadline, node=operation.node)
            return Change(said=f"QEMU lists the NVDIMM {device}")
        case op.ResizeVirtioMem():
            before = plugged()
            machine.request_virtio_mem(size, deadline)
            other_memory.await_size("virtio-mem", size, plugged, deadline)
            return Change(said=f"virtio-mem has {size_text(size)} plugged", growth=size - before)
        case op.SetBalloon():
            before = left()
            machine.set_balloon(size, deadline)
            other_memory.await_size("the balloon", size, left, deadline, within=other_memory.BALLOON_PAGE)
            return Change(said=f"the balloon leaves {size_text(size)}", growth=size - before)


def contrasted(said: str, before: int, now: int, told: Mapping[str, int]) -> str:
    """Return what was observed: the guest's count in bytes, the records of driver and firmware, and QEMU's report.

    ``told`` counts records by kind, ``ost`` among them.
    """
    heard = ", ".join(f"{count} {kind}" for kind, count in sorted(told.items()) if count and kind != "ost")
    counted = f"{size_text(before)} -> {size_text(now)}" if before != now else f"still {size_text(before)}"
    answers = f"{told.get('ost') or 'no'} _OST"
    return f"{counted}, {f'told: {heard}' if heard else 'no driver told'}; {said}, {answers}"
