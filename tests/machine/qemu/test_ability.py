# SPDX-License-Identifier: MIT
"""What a QEMU can build: asked of real ones, and compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.host.qemu_build import find_program
from harness.machine.attachments import Network
from harness.machine.machine import MachineSpec
from harness.machine.qemu import ability
from harness.machine.qemu.ability import QemuAbility, difference

SPEC = MachineSpec(accelerator="tcg", qemu=Path("qemu"))
ALL = {"isa-serial", "isa-debugcon", "pvpanic", "pc-dimm"}


def able(**fields: object) -> QemuAbility:
    """What a QEMU can build that can build everything, but for ``fields``."""
    usual = QemuAbility(
        boards={"q35": "pc-q35-9.2", "pc-q35-9.2": "pc-q35-9.2", "pc-q35-7.2": "pc-q35-7.2"},
        devices=ALL,
        processor={"sse2": True, "avx2": False},
    )
    return msgspec.structs.replace(usual, **fields)


@pytest.mark.parametrize(
    ("spec", "there", "words"),
    [
        ({}, {}, ""),
        ({}, {"boards": {"q35": "pc-q35-7.2", "pc-q35-7.2": "pc-q35-7.2"}}, "it has no machine type 'pc-q35-9.2'"),
        ({"machine": "pc-q35-7.2,hpet=off"}, {"boards": {"pc-q35-7.2": "pc-q35-7.2"}}, ""),
        ({}, {"devices": ALL - {"isa-debugcon", "pvpanic"}}, "it has no device isa-debugcon, pvpanic"),
        ({}, {"devices": ALL - {"pc-dimm"}}, "it has no device pc-dimm"),
        ({"network": Network()}, {}, "it has no device e1000e"),
        ({}, {"processor": {"sse2": True, "avx2": True}}, "its processor 'max' differs in avx2"),
        ({}, {"processor": {"sse2": True, "avx2": False, "x": 1}}, "its processor 'max' differs in x"),
        ({}, {"processor": {str(n): n for n in range(9)}}, "its processor 'max' differs in 0, 1, 2, 3, 4 and 6 more"),
    ],
)  # fmt: skip
def test_a_difference_is_named(spec: dict[str, object], there: dict[str, object], words: str) -> None:
    """An alias is that of the QEMU that the guest is in; options of a machine type are no part of its name."""
    assert words == difference(msgspec.structs.replace(SPEC, **spec), able(), able(**there))


@pytest.mark.qemu
def test_a_real_qemu_says_what_it_can_build() -> None:
    """The same program differs in nothing; a 32-bit one has another processor."""
    deadline = Deadline(60, "ask")
    here = ability.ask(find_program(), SPEC, deadline)
    assert here.boards["q35"].startswith("pc-q35-")
    assert {"isa-debugcon", "pc-dimm", "max-x86_64-cpu"} <= here.devices
    assert "" == difference(SPEC, here, ability.ask(find_program(), SPEC, deadline))
    other = shutil.which("qemu-system-i386")
    if other is None:
        pytest.skip("there is no qemu-system-i386: sudo apt-get install qemu-system-x86")
    assert "its processor 'max' differs in " in difference(
        SPEC, here, ability.ask(Path(other), SPEC, deadline)
    )


@pytest.mark.parametrize(
    "text", ["", "exit 3", "echo '{\"return\": []}'", "yes '{' | head -n 100", "echo nonsense >&2; exit 1"]
)
def test_what_is_no_qemu_is_said(tmp_path: Path, text: str) -> None:
    """Whatever it answers."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    with pytest.raises(InfrastructureError, match="does not say what it can build: "):
        ability.ask(program, SPEC, Deadline(20, "ask"))
