# SPDX-License-Identifier: MIT
"""Memory that a guest gets without an ACPI memory device: virtio-mem, a balloon, an NVDIMM.

QEMU's firmware makes no ACPI memory device (PNP0C80) for any of them. virtio-mem and the balloon are PCI devices
(QEMU: docs/system/devices/virtio, hw/virtio/virtio-mem.c, virtio-balloon.c). An NVDIMM is announced to the root device
of NVDIMMs (ACPI0012) by an event of its own (QEMU: docs/nvdimm.txt, hw/acpi/nvdimm.c).
"""

from __future__ import annotations

from typing import Any

from harness.deadline import Deadline
from harness.errors import GuestHang
from harness.machine.machine import Machine
from harness.machine.qmp_schema import BalloonInfo, MemoryDeviceInfo, VirtioMemDeviceInfo, read

VIRTIO_MEM = "virtiomem0"
VIRTIO_MEM_BLOCK = 2 << 20
"""Bytes that virtio-mem plugs at once, the size of a huge page (QEMU: hw/virtio/virtio-mem.c)."""

BALLOON_PAGE = 1 << 20
"""The precision in bytes of a balloon's size: a guest gives pages of 4 KiB, and libvirt counts in KiB."""


def virtio_mem(size: int) -> list[str]:
    """Return a virtio-mem device of up to ``size`` bytes on node 0, with nothing plugged at power-on."""
    return [
        "-object", f"memory-backend-ram,id={VIRTIO_MEM}-memory,size={size}",
        "-device", f"virtio-mem-pci,id={VIRTIO_MEM},memdev={VIRTIO_MEM}-memory,node=0,requested-size=0",
    ]  # fmt: skip


def balloon() -> list[str]:
    """Return a balloon, which takes memory from the guest and gives it back."""
    return ["-device", "virtio-balloon-pci,id=balloon0"]


def plugged(machine: Machine, deadline: Deadline) -> int:
    """Return how many bytes of the virtio-mem device are plugged (``query-memory-devices``)."""
    return sum(
        read("a virtio-mem device", row.data, VirtioMemDeviceInfo).size
        for row in _rows(machine, deadline)
        if row.type == "virtio-mem"
    )


def nvdimms(machine: Machine, deadline: Deadline) -> list[str]:
    """Return the ids of the NVDIMMs that QEMU lists (``query-memory-devices``)."""
    return [str(row.data.get("id", "")) for row in _rows(machine, deadline) if row.type == "nvdimm"]


def balloon_size(machine: Machine, deadline: Deadline) -> int:
    """Return how many bytes the balloon leaves the guest (``query-balloon``)."""
    return read("a balloon", machine.execute("query-balloon", deadline), BalloonInfo).actual


def await_size(what: str, wanted: int, seen: Any, deadline: Deadline, *, within: int = 1) -> None:
    """Wait until ``seen()`` is within ``within`` bytes of ``wanted``. Raises GuestHang."""
    deadline.poll(
        lambda: abs(seen() - wanted) < within,
        interval=0.02,
        error=lambda: GuestHang(
            f"{what}: the guest was to have {wanted >> 20} MiB within {deadline.seconds:g} s, and QEMU says {seen() >> 20} MiB",
            hint="The guest needs a driver for the device; the twin has one if its distribution's kernel has.",
        ),
    )


def _rows(machine: Machine, deadline: Deadline) -> list[MemoryDeviceInfo]:
    command = "query-memory-devices"
    return read(f"the answer to {command}", machine.execute(command, deadline), list[MemoryDeviceInfo])
