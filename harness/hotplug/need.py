# SPDX-License-Identifier: MIT
"""The need: what a run's machine takes of its host at most, for its lease."""

from __future__ import annotations

from harness.config import parse_size
from harness.hotplug.operation import AddCpu, AddDimm
from harness.hotplug.plan import Plan
from harness.machine.budget import Need
from harness.machine.machine import MachineSpec

OVERHEAD = 256 << 20
"""Bytes that QEMU itself takes besides the guest's memory: under TCG the translated code, some devices, its own heap."""

RUN_SIZE = 64 << 20
"""Bytes of a run directory; that of a run of the twin takes less than one MiB, a crash some MiB more."""

OVERLAY_SIZE = 2 << 30
"""Bytes that an overlay grows by in a run: what a guest with a disk of its own writes while it boots and is tested."""

OPEN_VCPUS = 4
OPEN_MEMORY = 1 << 30
"""What is allowed for where no plan says what will be added, because a test or a person will."""


def need_of(plan: Plan, spec: MachineSpec) -> Need:
    """Return what the machine has at power-on and what the plan adds to it, as far as it has slots for that.

    What a plan expects to be refused counts too: whether it is, the run has yet to show.
    """
    processors = sum(isinstance(operation, AddCpu) for operation in plan.do)
    memory = sum(parse_size(operation.size) for operation in plan.do if isinstance(operation, AddDimm))
    if not processors and not memory:
        processors, memory = OPEN_VCPUS, OPEN_MEMORY
    return Need(
        vcpus=min(spec.processors + processors, spec.max_processors),
        memory=min(spec.memory + memory, max(spec.max_memory, spec.memory)) + OVERHEAD,
        disk=RUN_SIZE + OVERLAY_SIZE * len(spec.disks),
    )
