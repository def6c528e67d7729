# SPDX-License-Identifier: MIT
"""The rehearsal: a plan walked through on paper, so that what no machine of its guest can do is said before one starts."""

from __future__ import annotations

import re
from functools import singledispatchmethod

import msgspec

from harness.config import line_of
from harness.errors import BadDocument
from harness.machine.machine import MachineSpec
from harness.run import operation as op
from harness.run.options import is_process
from harness.run.plan import MORE_PROCESSORS, OF_THE_MACHINE, Plan
from harness.size import Size

MIB = 1 << 20

WELL_FORMED = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")
"""What QEMU takes as a device id (QEMU: util/id.c, id_wellformed)."""

WITHOUT_HOTPLUG = ("microvm", "isapc", "none")
"""x86 machine types of QEMU that take neither processors nor DIMMs while they run (QEMU: docs/system/target-i386.rst)."""

NOT_ON_A_PROCESS = {
    "drop-monitor": "how a monitor drops: it has none",
    "unplug": "an unplug: there is no QEMU that would ask for a device",
    "verifier": "Driver Verifier: there is no Windows",
    "watch-arrivals": "a listener in user mode: there is no Windows",
}
"""What a guest cannot do whose machine is a process, by operation.

A reset and a device that the guest ignores are parts of built-in plans, which every guest takes: there the run says what it
cannot show, and is unknown.
"""

ONLY_ON_WINDOWS = {
    "verifier": "Driver Verifier",
    "watch-arrivals": "a listener for arrivals in user mode",
}
"""What the twin has not, by operation."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan's machine will have, as far as it is known before it is built. Sizes in bytes, None for not known."""

    processors: int | None = None
    max_processors: int | None = None
    memory: int | None = None
    max_memory: int | None = None
    dimm_slots: int | None = None
    nodes: int | None = None
    machine: str = "q35"


def limits_of(plan: Plan, guest: str, machine: str) -> Limits:
    """Return what the plan says of its machine and, for the guests without a template, the harness's defaults."""
    usual: dict[str, int] = {}
    if guest == "twin" or is_process(guest):
        usual = {
            field.name: field.default
            for field in msgspec.structs.fields(MachineSpec)
            if field.name in OF_THE_MACHINE
        }
    return Limits(**{**usual, **plan.machine.said}, machine=machine)


class Mistake(msgspec.Struct, frozen=True):
    """What is wrong with a plan: the keys that lead to the place, the words, and what would be right."""

    steps: list[str | int]
    words: str
    hint: str = ""


def rehearse(plan: Plan, *, guest: str, machine: str = "q35") -> None:
    """Walk through ``plan`` on ``guest`` with QEMU's machine type ``machine``.

    An add that is expected to be refused is legal whatever it asks for, and changes nothing. Raises BadDocument with the
    plan's file and line, the operation and its value, for the first mistake.
    """
    mistake = _Rehearsal(plan, guest, limits_of(plan, guest, machine)).first_mistake()
    if mistake is None:
        return
    text, name = plan.origin
    place = f"{name}:{line_of(text, mistake.steps)}" if text else f"plan {plan.name}"
    raise BadDocument(f"{place}: {mistake.words}", hint=mistake.hint)


class _Rehearsal:
    def __init__(self, plan: Plan, guest: str, limits: Limits) -> None:
        self.plan = plan
        self.guest = guest
        self.limits = limits
        self.index = 0
        self.paused_by = 0
        self.ids: dict[str, int] = {}
        self.slots: dict[int, str] = dict.fromkeys(range(limits.processors or 0), "")
        self.dimms: dict[str, int] = {}

    def first_mistake(self) -> Mistake | None:
        if (found := self.machine()) is not None:
            return found
        kind = self.limits.machine.partition(",")[0]
        for index, operation in enumerate(self.plan.do):
            self.index = index
            tag = str(type(operation).__struct_config__.tag)
            if isinstance(operation, op.AddCpu | op.AddDimm) and kind in WITHOUT_HOTPLUG:
                return self.mistake(
                    "op",
                    f"the machine type {kind!r} takes no hot-added devices",
                    "Leave out --machine, or give q35 or pc.",
                )
            found = self.unshown(tag, operation) or self.waits(operation) or self.step(operation)
            if found is not None:
                return found
        return None

    def mistake(self, key: str, words: str, hint: str = "") -> Mistake:
        tag = type(self.plan.do[self.index]).__struct_config__.tag
        return Mistake(["do", self.index, key], f"do[{self.index + 1}] ({tag}): {words}", hint)

    def machine(self) -> Mistake | None:
        """Return what keeps the machine from being built (:mod:`harness.machine.devices`)."""
        of = self.limits
        for key, size in (("memory", of.memory), ("max_memory", of.max_memory)):
            if size is not None and (size < MIB or size % MIB):
                return self.wish(
                    key, Size(f"{size} B").text, "is not a whole number of MiB", 'Give a size like "512 MiB".'
                )
        if of.memory is not None and of.max_memory is not None and of.memory > of.max_memory:
            return self.wish(
                "memory", f"{of.memory // MIB} MiB", f"is more than max_memory, {of.max_memory // MIB} MiB",
                "max_memory is what there may be in all, power-on memory included.",
            )  # fmt: skip
        if of.processors is not None and of.max_processors is not None and of.processors > of.max_processors:
            return self.wish(
                "processors",
                of.processors,
                f"is more than max_processors, {of.max_processors}",
                MORE_PROCESSORS,
            )
        most = min(filter(None, (of.max_processors, of.memory and of.memory // MIB)), default=None)
        if most is not None and of.nodes is not None and of.nodes > most:
            return self.wish(
                "nodes", of.nodes, f"is more than the machine can share out, {most}",
                "Each node needs a processor slot and a MiB of power-on memory.",
            )  # fmt: skip
        return None

    def wish(self, key: str, value: object, words: str, hint: str) -> Mistake:
        return Mistake(["machine", key], f"machine.{key} = {value} {words}", hint)

    # -- what the guest cannot do --------------------------------------------------------------------------------

    def unshown(self, tag: str, operation: op.Operation) -> Mistake | None:
        if is_process(self.guest):
            what = NOT_ON_A_PROCESS.get(tag, "")
            key = "op"
            if isinstance(operation, op.WaitFor) and operation.what == "ost":
                what, key = "the firmware's _OST", "what"
            if what:
                return self.mistake(
                    key,
                    f"the guest {self.guest} cannot show {what}",
                    "Run this plan on a Windows guest: --guest NAME."
                    if tag in ONLY_ON_WINDOWS
                    else "Run this plan on a guest that boots: --guest twin.",
                )
        if self.guest == "twin" and tag in ONLY_ON_WINDOWS:
            return self.mistake(
                "op",
                f"the twin cannot show {ONLY_ON_WINDOWS[tag]}: it is Linux",
                "Run this plan on a Windows guest: --guest NAME.",
            )
        return None

    def waits(self, operation: op.Operation) -> Mistake | None:
        """Return the mistake if an operation needs a guest that runs, and the plan has paused it."""
        if not self.paused_by:
            return None
        match operation:
            case op.AddCpu() | op.AddDimm() if operation.settle and operation.expect != "refused":
                return self.mistake(
                    "op",
                    f"the guest is paused by do[{self.paused_by}], and this add waits for its consequences",
                    "Give settle = false, and resume and settle after the last add.",
                )
            case op.Expect() if operation.processors is not None:
                return self.paused("processors")
            case op.AddCpu() | op.AddDimm() | op.Expect() | op.Resume() | op.Unplug() | op.DropMonitor():
                return None
            case op.Reset() if operation.add_cpus:
                return None
        return self.paused("op")

    def paused(self, key: str) -> Mistake:
        return self.mistake(
            key,
            f"the guest is paused by do[{self.paused_by}] and cannot do that",
            'Put an op = "resume" before it.',
        )

    # -- what the machine cannot do ------------------------------------------------------------------------------

    @singledispatchmethod
    def step(self, _operation: object) -> Mistake | None:
        """Take what an operation changes. Return what is wrong with it."""
        return None

    @step.register
    def _(self, _operation: op.Pause) -> Mistake | None:
        self.paused_by = self.index + 1
        return None

    @step.register
    def _(self, _operation: op.Resume) -> Mistake | None:
        self.paused_by = 0
        return None

    @step.register
    def _(self, operation: op.Reset) -> Mistake | None:
        self.paused_by = 0
        return self.fill(operation.add_cpus) if operation.add_cpus else None

    @step.register
    def _(self, operation: op.Expect) -> Mistake | None:
        if operation == op.Expect(timeout=operation.timeout):
            return self.mistake("op", "it demands nothing", "Name at least one count: processors = 3.")
        return None

    @step.register
    def _(self, operation: op.Unplug) -> Mistake | None:
        # Whether the guest gives it back shows when the plan runs: from here on it may be free.
        self.ids.pop(operation.device, None)
        self.dimms.pop(operation.device, None)
        for slot in [slot for slot, device in self.slots.items() if device == operation.device]:
            del self.slots[slot]
        return None

    @step.register
    def _(self, operation: op.AddCpu) -> Mistake | None:
        if operation.expect == "refused":
            return None
        return self.name(operation.id) or self.plug(operation)

    @step.register
    def _(self, operation: op.AddDimm) -> Mistake | None:
        if operation.expect == "refused":
            return None
        return self.name(operation.id) or self.insert(operation)

    def name(self, wanted: str | None) -> Mistake | None:
        if wanted is None:
            return None
        if not WELL_FORMED.match(wanted):
            return self.mistake(
                "id",
                f"QEMU takes no device id {wanted!r}",
                "An id begins with a letter; letters, digits, '-', '.' and '_' follow.",
            )
        if wanted in self.ids:
            return self.mistake(
                "id",
                f"the id {wanted!r} is taken by do[{self.ids[wanted]}]",
                "Give another id, or none: one is found.",
            )
        self.ids[wanted] = self.index + 1
        return None

    def plug(self, operation: op.AddCpu) -> Mistake | None:
        most, slot = self.limits.max_processors, operation.slot
        if slot is None:
            return self.fill(1, operation.id or "")
        if most is not None and slot >= most:
            return self.mistake(
                "slot",
                f"there is no processor slot {slot}: the machine's slots are 0 to {most - 1}",
                MORE_PROCESSORS,
            )
        if slot in self.slots:
            by = self.slots[slot]
            owner = f"device {by!r}" if by else "a processor from power-on or an earlier operation"
            return self.mistake(
                "slot",
                f"processor slot {slot} is taken by {owner}",
                "Leave out slot: the first empty one is taken.",
            )
        self.slots[slot] = operation.id or ""
        return None

    def fill(self, count: int, device: str = "") -> Mistake | None:
        """Take the first empty slots."""
        most = self.limits.max_processors
        if most is None or self.limits.processors is None:
            return None
        empty = [slot for slot in range(most) if slot not in self.slots]
        if len(empty) < count:
            key = "op" if count == 1 else "add_cpus"
            left = (
                "no processor slot is left"
                if not empty
                else f"{len(empty)} processor slots are left, not {count}"
            )
            return self.mistake(
                key,
                f"{left}: the machine has {most}, {self.limits.processors} filled at power-on",
                MORE_PROCESSORS,
            )
        self.slots.update(dict.fromkeys(empty[:count], device))
        return None

    def insert(self, operation: op.AddDimm) -> Mistake | None:
        limits = self.limits
        if limits.nodes is not None and operation.node is not None and operation.node >= limits.nodes:
            return self.mistake(
                "node",
                f"there is no node {operation.node}: the machine's nodes are 0 to {limits.nodes - 1}",
                "machine.nodes in the plan sets how many there are.",
            )
        if limits.dimm_slots is not None and len(self.dimms) >= limits.dimm_slots:
            return self.mistake(
                "op",
                f"no DIMM slot is left: the machine has {limits.dimm_slots}",
                "machine.dimm_slots in the plan sets how many there are.",
            )
        if limits.memory is not None and limits.max_memory is not None:
            room = limits.max_memory - limits.memory - sum(self.dimms.values())
            if operation.size > room:
                return self.mistake(
                    "size",
                    f"{operation.size.text!r} does not fit: of max_memory {limits.max_memory >> 20} MiB, "
                    f"{max(room, 0) >> 20} MiB are left",
                    "machine.max_memory in the plan sets how much there may be, power-on memory included.",
                )
        self.dimms[operation.id or f"\n{self.index}"] = int(operation.size)
        return None
