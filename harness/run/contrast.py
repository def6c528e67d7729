# SPDX-License-Identifier: MIT
"""Contrast: a guest's memory changes without an ACPI memory device, so that no driver is told.

What the operations do is observed here and judged by nobody but the plan's own ``expect`` and the rules that hold always.
GUID_DEVICE_MEMORY is the class of memory devices, and the driver of those binds to ACPI's PNP0C80 (WD:
install/guid-device-memory.md); of the rest Windows documents nothing.
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
"""Seconds for QEMU to say how far the guest is."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What QEMU says of a change, and by how many bytes the guest's count is to grow by it, or to shrink."""

    said: str
    growth: int = 0

    def counted(self, before: int, now: int) -> bool:
        """Return whether the guest counts as it should; it keeps tables of pages out of its count."""
        return (now - before >= self.growth * SMALLEST_SHARE) if self.growth >= 0 else (
            now - before <= self.growth * SMALLEST_SHARE
        )  # fmt: skip


def change(machine: Machine, operation: op.Contrast, device: str, deadline: Deadline) -> Change:
    """Carry out an operation and wait until QEMU says that the guest followed.

    ``device`` is the name of what is added. Raises CommandRefused, GuestHang if the guest does not follow.
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
    """Return what was observed: the guest's count in bytes, what the driver and the firmware told, and QEMU's word.

    ``told`` counts records by kind, ``ost`` among them.
    """
    heard = ", ".join(f"{count} {kind}" for kind, count in sorted(told.items()) if count and kind != "ost")
    counted = f"{size_text(before)} -> {size_text(now)}" if before != now else f"still {size_text(before)}"
    answers = f"{told.get('ost') or 'no'} _OST"
    return f"{counted}, {f'told: {heard}' if heard else 'no driver told'}; {said}, {answers}"
