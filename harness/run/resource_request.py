# SPDX-License-Identifier: MIT
"""The resource request: the maximum that a run's machine uses of its host, for its lease."""

from __future__ import annotations

import msgspec

from harness.host.budget import ResourceRequest
from harness.machine.machine import MachineSpec
from harness.run.operation import AddCpu, AddDimm, AddNvdimm, Migrate
from harness.run.plan import Plan

OPEN_VCPUS = 4
OPEN_MEMORY = 1 << 30
"""The allowance if no plan says what will be added, because a test or a user decides."""


def request_of(plan: Plan, spec: MachineSpec) -> ResourceRequest:
    """Return what the machine has at power-on plus what the plan adds, limited by its slots.

    Adds that a plan expects to be refused count too: only the run shows whether they are.
    """
    processors = sum(isinstance(operation, AddCpu) for operation in plan.do)
    dimms = [operation for operation in plan.do if isinstance(operation, AddDimm)]
    memory = sum(int(operation.size) for operation in dimms)
    # The bytes of a file also use the host's memory, while they are in its cache.
    files = sum(int(operation.size) for operation in dimms if operation.backend == "file")
    nvdimms = sum(int(operation.size) for operation in plan.do if isinstance(operation, AddNvdimm))
    memory += nvdimms + int(plan.machine.virtio_mem or 0)
    if not processors and not memory:
        processors, memory = OPEN_VCPUS, OPEN_MEMORY
    wanted = spec.resource_request(processors=processors, memory=memory, disk=files + nvdimms)
    if any(isinstance(operation, Migrate) for operation in plan.do):
        # Both QEMUs have the guest's memory until one of them ends; its processors run in one.
        return msgspec.structs.replace(wanted, memory=2 * wanted.memory)
    return wanted
