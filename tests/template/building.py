# SPDX-License-Identifier: MIT
"""Builds of a guest that the scripted installer plays: a machine as small as its firmware allows, and short limits."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from harness.deadline import Deadline
from harness.history.record import Record
from harness.host import qemu_build
from harness.host.firmware import find_ovmf
from harness.host.registry import Registry
from harness.machine.attachments import Cdrom, Disk, Flash
from harness.machine.machine import MachineSpec
from harness.template.build import Recipe, Start, TemplateBuild
from harness.template.checkpoints import BuildInputs
from harness.template.manifest import GuestCredentials, Medium
from harness.template.stage import StageTimeouts
from harness.template.store import BuiltTemplate, Store
from tests.template.scripted_medium import script_medium

NAME = "scripted"
CERTIFICATE = "5c" * 32
PASSWORD = "correct-horse-battery"
FACT = f"mark fact certificate {CERTIFICATE}"

INPUTS = BuildInputs(installation={"medium": "0" * 64}, provisioning={"provision/10-first.ps1": "0" * 64})

MENDED = BuildInputs(installation=INPUTS.installation, provisioning={"provision/10-first.ps1": "1" * 64})
"""As INPUTS, with another script."""

PACE = StageTimeouts(0.5)
"""Firmware under emulation on a busy host takes up to half a minute; nothing else here takes more than seconds."""


class Bench:
    """A store in ``folder``, and builds in it from ``boot``, the bootable medium.

    With ``uefi`` the machine has UEFI firmware, whose start takes 3 s of processor time, otherwise SeaBIOS, which takes a tenth.
    """

    def __init__(self, folder: Path, boot: Path, *, uefi: bool = True) -> None:
        self.folder = folder
        self.boot = boot
        self._uefi = uefi
        self.store = Store(folder / "store")
        self.records: list[Record] = []
        self.registry = Registry(folder / "registry")
        self._numbers = itertools.count(1)

    def recipe(self, script: list[str], **changes: Any) -> Recipe:
        """Return a recipe whose guest does ``script``."""
        answers = script_medium(self.folder / f"answers-{next(self._numbers)}.iso", script)
        ovmf = find_ovmf()

        def machine(disk: Path, variables: Path) -> MachineSpec:
            return MachineSpec(
                accelerator="tcg", qemu=qemu_build.find_program(), cpu="max", processors=1, max_processors=1,
                memory=128 << 20, max_memory=128 << 20, dimm_slots=0, screen=True,
                flash=Flash(code=ovmf.code, variables=variables) if self._uefi else None,
                disks=(Disk(file=disk, format="qcow2", bus="ahci", port=0, boot=0),),
                cdroms=(Cdrom(file=self.boot, port=1, boot=1), Cdrom(file=answers, port=2, boot=2)),
            )  # fmt: skip

        recipe = Recipe(
            template=NAME, title="A scripted guest", support="supported", edition="only", image="only",
            medium=Medium(name=self.boot.name, size=self.boot.stat().st_size, sha256="0" * 64),
            inputs=INPUTS, machine=machine, variables=ovmf.variables, disk_size=1 << 30,
            secrets=GuestCredentials(password=PASSWORD, private_key="private", public_key="public"), needed=("certificate",), space=64 << 20,
        )  # fmt: skip
        return msgspec.structs.replace(recipe, **changes)

    def build(
        self,
        recipe: Recipe,
        *,
        pace: StageTimeouts = PACE,
        listen: Callable[[Record], None] | None = None,
        start: Start = "latest",
    ) -> BuiltTemplate:
        """Build, and keep the records in ``records``."""
        listeners = (self.records.append, *([listen] if listen else []))
        with self.store.building(NAME):
            return TemplateBuild(
                recipe, self.store, pace=pace, listeners=listeners, registry=self.registry, start=start
            ).run(Deadline(300, "the build"))  # fmt: skip
