# SPDX-License-Identifier: MIT
"""What a run's lease counts: the machine at power-on and what its plan adds, as far as there is room for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.machine.attachments import Disk
from harness.machine.machine import OVERHEAD, OVERLAY_SIZE, RUN_SIZE, MachineSpec
from harness.run.plan import decode_plan
from harness.run.resource_request import OPEN_MEMORY, OPEN_VCPUS, request_of

MIB = 1 << 20
SPEC = MachineSpec(
    accelerator="tcg",
    qemu=Path("qemu"),
    processors=2,
    max_processors=8,
    memory=512 * MIB,
    max_memory=4096 * MIB,
)

CPU = '[[do]]\nop = "add-cpu"\n'
DIMM = '[[do]]\nop = "add-dimm"\nsize = "256 MiB"\n'


@pytest.mark.parametrize(
    ("operations", "vcpus", "memory"),
    [
        (CPU, 3, 512 * MIB),
        (CPU * 4 + DIMM, 6, 768 * MIB),
        (CPU * 20, 8, 512 * MIB),
        (DIMM * 20, 2, 4096 * MIB),
        ('[[do]]\nop = "quiesce"\n', 2 + OPEN_VCPUS, 512 * MIB + OPEN_MEMORY),
    ],
    ids=["one", "several", "more than slots", "more than there is room for", "nobody knows"],
)
def test_processors_and_memory(operations: str, vcpus: int, memory: int) -> None:
    """What is added counts up to the machine's own limits; a plan that adds nothing leaves it to a test, or a person."""
    request = request_of(decode_plan(f'name = "x"\n{operations}', name="x"), SPEC)
    assert (vcpus, memory + OVERHEAD, RUN_SIZE) == (request.vcpus, request.memory, request.disk)


@pytest.mark.parametrize("settle", ["", "settle = false\n"])
def test_a_migration_takes_the_memory_twice(settle: str) -> None:
    """Two QEMUs have the guest for a while, with all that was added; its processors run in one of them."""
    plan = decode_plan(f'name = "x"\n{CPU}{DIMM}[[do]]\nop = "migrate"\n{settle}', name="x")
    request = request_of(plan, SPEC)
    assert (3, 2 * (768 * MIB + OVERHEAD)) == (request.vcpus, request.memory)


def test_disks() -> None:
    """Each disk of the machine is an overlay that grows."""
    spec = MachineSpec(
        accelerator="tcg", qemu=Path("qemu"), disks=(Disk(file=Path("a")), Disk(file=Path("b"), port=1))
    )
    assert RUN_SIZE + 2 * OVERLAY_SIZE == request_of(decode_plan(f'name = "x"\n{CPU}', name="x"), spec).disk


def test_files_of_dimms() -> None:
    """A DIMM that is a file takes the disk as well, sparse or not."""
    dimm = f'{DIMM}backend = "file"\n'
    request = request_of(decode_plan(f'name = "x"\n{dimm}{DIMM}{dimm}', name="x"), SPEC)
    assert (RUN_SIZE + 512 * MIB, 1280 * MIB + OVERHEAD) == (request.disk, request.memory)
