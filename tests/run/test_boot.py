# SPDX-License-Identifier: MIT
"""What is said of a machine before it boots."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.host.firmware import Ovmf
from harness.machine.machine import MachineSpec
from harness.run.boot import without_crash_registers
from harness.template.template import find_template

WINDOWS = find_template("windows-server-2025").machine_spec(
    accelerator="kvm",
    qemu=Path("qemu"),
    firmware=Ovmf(Path("code"), Path("variables")),
    variables=Path("v"),
    disk=Path("d"),
)


@pytest.mark.parametrize(
    ("backend", "spec", "said"),
    [
        ("libvirt", WINDOWS, True),
        ("qemu", WINDOWS, False),
        ("libvirt", msgspec.structs.replace(WINDOWS, cpu="Broadwell,hv-relaxed"), False),
        ("libvirt", MachineSpec(accelerator="kvm", qemu=Path("qemu")), False),
    ],
)
def test_what_libvirt_leaves_out_is_said(backend: str, spec: MachineSpec, said: bool) -> None:
    """Only of a guest that QEMU directly would have offered the registers to."""
    assert said == ("--backend qemu has it" in without_crash_registers(backend, spec))
