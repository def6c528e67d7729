# SPDX-License-Identifier: MIT
"""libvirt keeps the machine contract, and what is its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from private_libvirtd import PrivateLibvirtd

from harness.deadline import Deadline
from harness.history.tape import Tape
from harness.machine import version
from harness.machine.libvirt import LibvirtMachine
from harness.machine.machine import MachineSpec
from harness.machine.registry import Registry
from tests.machine.contract import MachineContract

MIB = 1 << 20

pytestmark = pytest.mark.libvirt

MakeMachine = Callable[..., LibvirtMachine]


@pytest.fixture
def deadline() -> Deadline:
    """More than any of these tests takes on a busy host, libvirt's first look at QEMU included."""
    return Deadline(120, "test")


@pytest.fixture
def make_machine(
    tmp_path: Path, tape: Tape, registry: Registry, private_libvirtd: PrivateLibvirtd
) -> Iterator[MakeMachine]:
    """Make machines, not yet started; keywords are those of MachineSpec."""
    machines: list[LibvirtMachine] = []

    def make(directory: Path | None = None, *, uri: str = "", **fields: Any) -> LibvirtMachine:
        spec = MachineSpec(
            **{"accelerator": "tcg", "qemu": version.find_program(), "memory": 128 << 20, **fields}
        )
        machine = LibvirtMachine(
            spec,
            directory or tmp_path / "run",
            tape,
            uri=uri or private_libvirtd.uri,
            name=f"test{len(machines)}",
            registry=registry,
        )
        machines.append(machine)
        return machine

    yield make
    for machine in machines:
        machine.close()


class TestLibvirtMachine(MachineContract):
    """The contract, on a real libvirtd under TCG."""

    duplicate_cpu = ("virDomainSetVcpu", "NotCalled")
    slot_taken = "vcpu '0' is already in requested state"
    no_dimm_slot = "exceeds slots count '2'"
