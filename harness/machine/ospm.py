# SPDX-License-Identifier: MIT
"""A guest's progress: whether its firmware has begun, and whether an operating system handles ACPI events.

Every hot-add needs the latter. Both are asked of the machine, not of the guest.
A processor or a DIMM is announced by a general purpose event: bit 2 for processors, bit 3 for memory (QEMU:
docs/specs/acpi_cpu_hotplug.rst, acpi_mem_hotplug.rst). An event whose enable bit is clear raises no interrupt (ACPI 6.5,
4.8.4.1). Only an operating system sets these bits, when it has read the tables and taken over ACPI.

``query-acpi-ospm-status`` does not show this: it lists processors as soon as the processor interface was used in
its modern form, and OVMF does that itself, within the first second, to count them.
"""

from __future__ import annotations

import re

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.machine.machine import Machine

ENABLED = 0x628
"""First byte of GPE0_EN on a q35 board. The power management block is at 0x600 for SeaBIOS and OVMF alike, GPE0 at its
offset 0x20, and the enable bits come after eight bytes of status (QEMU: include/hw/acpi/ich9.h)."""

PROCESSOR = 1 << 2
MEMORY = 1 << 3

UNMAPPED = 0xFF
"""The value of a port without a device: until the firmware has placed the power management block."""

_BYTE = re.compile(r"=\s*0x([0-9a-fA-F]{1,2})\s*$")


_AT = re.compile(r"\b[ER]IP=([0-9a-f]{8,16})\b")

RESET_VECTOR = 0xFFF0
"""The address at which every x86 processor begins (Intel SDM, volume 3, 10.1.4)."""


def has_begun(machine: Machine, deadline: Deadline) -> bool:
    """Return whether the first processor has executed anything since its reset. Raises InfrastructureError as below."""
    said = str(machine.execute("human-monitor-command", deadline, **{"command-line": "info registers"}))
    found = _AT.search(said)
    if found is None:
        raise InfrastructureError(f"QEMU does not say where the first processor is: {said[:100]!r}")
    return int(found[1], 16) != RESET_VECTOR


def listening(machine: Machine, deadline: Deadline) -> bool:
    """Return whether both events are enabled. Raises InfrastructureError if the monitor's answer is invalid."""
    said = str(machine.execute("human-monitor-command", deadline, **{"command-line": f"i /b {ENABLED:#x}"}))
    found = _BYTE.search(said)
    if found is None:
        raise InfrastructureError(f"QEMU does not say what is at I/O port {ENABLED:#x}: {said[:100]!r}")
    enabled = int(found[1], 16)
    return enabled != UNMAPPED and enabled & (PROCESSOR | MEMORY) == PROCESSOR | MEMORY
