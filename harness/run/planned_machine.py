# SPDX-License-Identifier: MIT
"""The machine that a plan asks for, and whether one like it can be built; without one."""

from __future__ import annotations

import functools
import re

import msgspec

from harness.config import line_of
from harness.errors import BadDocument
from harness.machine.machine import MachineSpec
from harness.run.options import is_process
from harness.run.plan import MEMORY_BLOCK, MORE_PROCESSORS, OF_THE_MACHINE, Plan
from harness.size import Size

MIB = 1 << 20

WITHOUT_HOTPLUG = ("microvm", "isapc", "none")
"""x86 machine types of QEMU that support neither processor nor DIMM hotplug (QEMU: docs/system/target-i386.rst)."""

MACHINE_TYPE = re.compile(rf"(?:q35|pc(?:-[\w.-]{{1,40}})?|{'|'.join(WITHOUT_HOTPLUG)})(?:,.*)?")
"""QEMU's machine types for x86, with their properties; distributions use their own version names (QEMU: docs/system/target-i386.rst)."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan's machine will have, as far as it is known before it is built. Sizes in bytes, None for unknown."""

    processors: int | None = None
    max_processors: int | None = None
    memory: int | None = None
    max_memory: int | None = None
    dimm_slots: int | None = None
    nodes: int | None = None
    virtio_mem: int | None = None
    balloon: bool | None = None
    nvdimm: bool | None = None
    machine: str = "q35"


def limits_of(plan: Plan, guest: str, machine: str) -> Limits:
    """Return what the plan says about its machine and, for guests without a template, the harness's defaults."""
    usual = _defaults() if guest == "twin" or is_process(guest) else {}
    return Limits(**{**usual, **plan.machine.said}, machine=machine)  # type: ignore[arg-type]


@functools.cache
def _defaults() -> dict[str, int]:
    """Return the machine's defaults. An exploration checks thousands of plans, and reading a struct's fields is slow."""
    fields = msgspec.structs.fields(MachineSpec)
    return {field.name: field.default for field in fields if field.name in OF_THE_MACHINE}


def refusal(plan: Plan, steps: list[str | int], words: str, hint: str) -> BadDocument:
    """Return the error for the place of ``plan`` that ``steps`` lead to, with its file and line."""
    text, name = plan.origin
    place = f"{name}:{line_of(text, steps)}" if text else f"plan {plan.name}"
    return BadDocument(f"{place}: {words}", hint=hint)


def check_machine(plan: Plan, guest: str, of: Limits) -> None:
    """Check that the machine can be built (:mod:`harness.machine.devices`). Raises BadDocument for the first mistake."""
    if plan.machine.started != "running" and is_process(guest):
        raise unbuildable(
            plan,
            "started",
            repr(plan.machine.started),
            f"is nothing that the guest {guest} can show: its machine is a process and has no firmware",
            "Run this plan on a guest that boots: --guest twin.",
        )
    for key, size in (("memory", of.memory), ("max_memory", of.max_memory)):
        if size is not None and (size < MIB or size % MIB):
            raise unbuildable(
                plan,
                key,
                Size(f"{size} B").text,
                "is not a whole number of MiB",
                'Give a size like "512 MiB".',
            )
    if of.memory is not None and of.max_memory is not None and of.memory > of.max_memory:
        raise unbuildable(
            plan, "memory", f"{of.memory // MIB} MiB", f"is more than max_memory, {of.max_memory // MIB} MiB",
            "max_memory is what there may be in all, power-on memory included.",
        )  # fmt: skip
    if of.processors is not None and of.max_processors is not None and of.processors > of.max_processors:
        raise unbuildable(
            plan,
            "processors",
            of.processors,
            f"is more than max_processors, {of.max_processors}",
            MORE_PROCESSORS,
        )
    if of.virtio_mem and (of.virtio_mem % MEMORY_BLOCK):
        raise unbuildable(
            plan, "virtio_mem", Size(f"{of.virtio_mem} B").text, "is not a multiple of 128 MiB", 'Give a size like "1 GiB".'
        )  # fmt: skip
    if (
        of.memory is not None
        and of.max_memory is not None
        and of.memory + (of.virtio_mem or 0) > of.max_memory
    ):
        raise unbuildable(
            plan, "virtio_mem", f"{(of.virtio_mem or 0) // MIB} MiB",
            f"does not fit: of max_memory {of.max_memory // MIB} MiB, {(of.max_memory - of.memory) // MIB} MiB are left",
            "max_memory is what there may be in all, power-on memory included.",
        )  # fmt: skip
    most = min(filter(None, (of.max_processors, of.memory and of.memory // MIB)), default=None)
    if most is not None and of.nodes is not None and of.nodes > most:
        raise unbuildable(
            plan, "nodes", of.nodes, f"is more than the machine can share out, {most}",
            "Each node needs a processor slot and a MiB of power-on memory.",
        )  # fmt: skip


def unbuildable(plan: Plan, key: str, value: object, words: str, hint: str) -> BadDocument:
    """Return the error for a value of the plan's machine."""
    return refusal(plan, ["machine", key], f"machine.{key} = {value} {words}", hint)
