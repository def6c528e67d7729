# SPDX-License-Identifier: MIT
"""The rehearsal: a dry run of a plan, which reports what no machine of its guest can do before one starts."""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
from collections.abc import Callable
from functools import singledispatchmethod
from typing import Literal

import msgspec

from harness.errors import BadDocument, UsageError
from harness.machine.memory_backend import not_of_one_dimm
from harness.machine.other_memory import VIRTIO_MEM_BLOCK
from harness.run import operation as op
from harness.run.guest_abilities import impossible_answer, inability
from harness.run.options import is_process
from harness.run.plan import MEMORY_BLOCK, MORE_PROCESSORS, Plan
from harness.run.planned_machine import (
    MACHINE_TYPE,
    MIB,
    WITHOUT_HOTPLUG,
    Limits,
    check_machine,
    limits_of,
    refusal,
    unbuildable,
)
from harness.size import Size

LEAST_LEFT = 128 * MIB
"""The minimum that a balloon must leave a guest: with less than its own programs need, they would be killed."""

WELL_FORMED = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")
"""The valid device ids of QEMU (QEMU: util/id.c, id_wellformed)."""

UNMOVED = {
    "libvirt": (
        "libvirt migrates no guest that it is to destroy when its client ends, and one elsewhere would leave its files behind",
        "Run this plan with --backend qemu.",
    ),
    "kd": (
        "the debugger's port is a socket of the QEMU that the guest would leave",
        "Leave out --kd and --debugger.",
    ),
}
"""Cases in which a guest cannot be migrated: why, and what to do (libvirt: src/qemu/qemu_migration.c,
qemuMigrationSrcIsAllowed)."""

WHILE_MIGRATING = (
    op.Settle
    | op.Expect
    | op.WaitFor
    | op.Quiesce
    | op.DropMonitor
    | op.VetoNext
    | op.DelayStart
    | op.Pause
    | op.Resume
)
"""Operations that are allowed during a migration, besides adds that are refused: they change no device."""


def rehearse(plan: Plan, *, guest: str, machine: str = "q35", backend: str = "qemu", kd: str = "") -> None:
    """Check ``plan`` on ``guest`` with QEMU's machine type ``machine``, on a ``backend``; ``kd`` if COM3 is in use.

    An add that is expected to be refused is always legal, and changes nothing. Raises BadDocument with the
    plan's file and line, the operation and its value, for the first mistake, and UsageError for a machine type that QEMU does
    not have.
    """
    if not is_process(guest) and MACHINE_TYPE.fullmatch(machine) is None:
        raise UsageError(
            f"--machine {machine!r} is not a machine type of QEMU's for x86",
            hint="Give q35 or pc, or one of those that 'qemu-system-x86_64 -machine help' lists as pc-q35-… or pc-i440fx-….",
        )
    rehearsal = _Rehearsal(plan, guest, limits_of(plan, guest, machine), backend)
    rehearsal.unmoved = UNMOVED.get("kd" if kd else backend, ())
    rehearsal.perform()


def change_after_removal(plan: Plan, *, guest: str) -> tuple[int, int] | None:
    """Return the first operation that changes the machine after a processor was removed, and the one that removed it.

    Both count from 1. None if there is no such operation, or the plan has an earlier mistake.
    """
    walk = _Rehearsal(plan, guest, limits_of(plan, guest, "q35"))
    with contextlib.suppress(BadDocument):
        walk.perform()
    return walk.changed


class _Rehearsal:
    def __init__(self, plan: Plan, guest: str, limits: Limits, backend: str = "qemu") -> None:
        self.plan = plan
        self.guest = guest
        self.backend = backend
        self.limits = limits
        self.index = 0
        self.paused_by = 0
        self.migrated_by = 0
        self.dropped_by = 0
        self.contrast = 0
        self.unmoved: tuple[str, ...] = ()
        self.ids: dict[str, int] = {}
        self.slots: dict[int, str] = dict.fromkeys(range(limits.processors or 0), "")
        self.dimms: dict[str, int] = {}
        self.processors: set[str] = set()
        self.adds = {"cpu": 0, "dimm": 0}
        self.named = {add.id for add in plan.do if isinstance(add, op.AddCpu | op.AddDimm) and add.id}
        self.unsettled = 0
        self.gone: dict[str, int] = {}
        self.kept: dict[str, int] = {}
        self.answer: tuple[int, op.AnswerUnplugs] | None = None
        self.started = plan.machine.started
        self.processor_gone = 0
        self.changed: tuple[int, int] | None = None

    def perform(self) -> None:
        """Walk through the plan. Raises BadDocument for its first mistake, as every method here does."""
        check_machine(self.plan, self.guest, self.limits)
        kind = self.limits.machine.partition(",")[0]
        for index, operation in enumerate(self.plan.do):
            self.index = index
            if isinstance(operation, op.AddCpu | op.AddDimm) and kind in WITHOUT_HOTPLUG:
                raise self.mistake(
                    "op",
                    f"the machine type {kind!r} takes no hot-added devices",
                    "Leave out --machine, or give q35 or pc.",
                )
            if (lacking := inability(self.guest, operation)) is not None:
                raise self.mistake(lacking.key, lacking.words, lacking.hint)
            self.unbooted(operation)
            self.waits(operation)
            self.meanwhile(operation)
            _step(type(operation))(self, operation)
        if self.started != "running":
            raise unbuildable(
                self.plan,
                "started",
                repr(self.started),
                "leaves the guest without a boot: no operation has it",
                'Put an op = "boot" behind what is added before it.',
            )

    def mistake(self, key: str, words: str, hint: str = "") -> BadDocument:
        tag = type(self.plan.do[self.index]).__struct_config__.tag
        return refusal(self.plan, ["do", self.index, key], f"do[{self.index + 1}] ({tag}): {words}", hint)

    # -- what the guest cannot do --------------------------------------------------------------------------------

    def unbooted(self, operation: op.Operation) -> None:
        """Check that an operation that needs a booted guest, or one that has not booted, has it."""
        add = isinstance(operation, op.AddCpu | op.AddDimm)
        if self.started == "running":
            if isinstance(operation, op.BootGuest):
                raise self.mistake(
                    "op",
                    "the guest has booted already",
                    'Give machine.started = "paused" or "firmware", and add what is to be found at boot before it.',
                )
            if add and operation.expect == "found":  # type: ignore[union-attr]
                raise self.mistake(
                    "expect",
                    "the guest has booted: what is added now is added and not found",
                    'With machine.started = "paused" or "firmware" the plan begins before the boot.',
                )
            return
        if add and operation.expect not in ("found", "refused"):  # type: ignore[union-attr]
            raise self.mistake(
                self.said("expect"),
                f"the guest has not booted, so that what is added is not {operation.expect}: it is found",  # type: ignore[union-attr]
                'Give expect = "found", or put an op = "boot" before it.',
            )
        counts = isinstance(operation, op.Expect) and operation != op.Expect(
            dimms=operation.dimms, timeout=operation.timeout
        )
        if not (add or isinstance(operation, op.BootGuest | op.Expect | op.DropMonitor)) or counts:
            raise self.mistake(
                "op",
                f"the guest has not booted (machine.started = {self.started!r}) and cannot do that",
                'Put an op = "boot" before it.',
            )

    def waits(self, operation: op.Operation) -> None:
        """Check that no operation needs a running guest while the plan has paused it."""
        if not self.paused_by:
            return
        match operation:
            case op.AddCpu() | op.AddDimm() if operation.settle and operation.expect != "refused":
                raise self.mistake(
                    "op",
                    f"the guest is paused by do[{self.paused_by}], and this add waits for its consequences",
                    "Give settle = false, and resume and settle after the last add.",
                )
            case op.Expect() if operation.processors is not None:
                raise self.paused("processors")
            case op.AddCpu() | op.AddDimm() | op.Expect() | op.Resume() | op.DropMonitor() | op.Migrate():
                return
            case op.Reset() if operation.add_cpus:
                return
        raise self.paused("op")

    def paused(self, key: str) -> BadDocument:
        return self.mistake(
            key,
            f"the guest is paused by do[{self.paused_by}] and cannot do that",
            'Put an op = "resume" before it.',
        )

    def meanwhile(self, operation: op.Operation) -> None:
        """Check that an operation is allowed while the guest is being migrated."""
        if not self.migrated_by or isinstance(operation, WHILE_MIGRATING):
            return
        if not isinstance(operation, op.AddCpu | op.AddDimm):
            words = "this cannot be until that has ended"
            hint = 'Put an op = "settle" before it.'
        elif operation.expect == "refused":
            return
        else:
            words = "QEMU takes no device meanwhile"
            hint = 'Put an op = "settle" before it, or give expect = "refused".'
        raise self.mistake("op", f"the guest is being migrated by do[{self.migrated_by}], and {words}", hint)

    # -- what the machine cannot do ------------------------------------------------------------------------------

    @singledispatchmethod
    def step(self, _operation: object) -> None:
        """Apply an operation's changes."""

    @step.register
    def _(self, _operation: op.Pause) -> None:
        self.paused_by = self.index + 1

    @step.register
    def _(self, _operation: op.Resume) -> None:
        self.paused_by = 0

    @step.register
    def _(self, operation: op.Migrate) -> None:
        if self.unmoved:
            why, hint = self.unmoved
            raise self.mistake("op", f"the guest cannot be migrated: {why}", hint)
        if self.contrast:
            raise self.mistake(
                "op",
                f"the guest cannot be migrated with what do[{self.contrast}] gave it: the other QEMU would be built without it",
                "Migrate before that.",
            )
        if operation.fail is not None and not operation.settle:
            raise self.mistake(
                "settle", "a migration that is to fail does so at once", "Leave out settle = false."
            )
        if operation.fail == "other-machine" and operation.qemu is not None:
            raise self.mistake(
                "qemu", "the other version of the machine type is one of the same QEMU", "Leave out qemu."
            )
        if operation.qemu is not None and shutil.which(operation.qemu) is None:
            raise self.mistake(
                "qemu",
                f"there is no program {operation.qemu!r} to migrate to",
                "Give the path of a QEMU, or leave qemu out for the same one.",
            )
        self.migrated_by = 0 if operation.settle else self.index + 1

    @step.register
    def _(self, _operation: op.Settle) -> None:
        self.migrated_by = self.unsettled = 0

    @step.register
    def _(self, operation: op.Reset) -> None:
        self.paused_by = 0
        self.change()
        names = [f"unseen-{self.index + 1}-{number}" for number in range(1, operation.add_cpus + 1)]
        if names:
            self.fill(*names)

    @step.register
    def _(self, operation: op.Expect) -> None:
        if operation == op.Expect(timeout=operation.timeout):
            raise self.mistake("op", "it demands nothing", "Name at least one count: processors = 3.")

    @step.register
    def _(self, operation: op.Unplug) -> None:
        device = operation.device
        if self.unsettled:
            raise self.mistake(
                "op",
                f"do[{self.unsettled}] was sent with settle = false and is not settled",
                'Put an op = "settle" before it.',
            )
        if device not in self.ids:
            if device in self.gone:
                words = f"{device!r} is given back by do[{self.gone[device]}]"
            else:
                words = f"no operation before it adds a device {device!r}"
            there = ", ".join(self.ids)
            raise self.mistake(
                "device",
                words,
                f"There are: {there}." if there else "Add it first: only what was added can be taken out.",
            )
        if (lacking := impossible_answer(self.guest, operation, self.answer)) is not None:
            raise self.mistake(self.said(lacking.key), lacking.words, lacking.hint)
        self.take(operation)

    def said(self, key: str) -> str:
        """Return ``key`` if the plan has it, else the key of the operation itself."""
        operation = self.plan.do[self.index]
        usual = next(field.default for field in msgspec.structs.fields(operation) if field.name == key)
        return key if getattr(operation, key) != usual else "op"

    def take(self, operation: op.Unplug) -> None:
        """Remove the device, or note that it stays."""
        device = operation.device
        if device in self.dimms:
            self.change()
        if operation.expect != "gone":
            self.kept[device] = self.index + 1
            return
        if device in self.processors:
            self.processor_gone = self.processor_gone or self.index + 1
        self.gone[device] = self.index + 1
        self.kept.pop(device, None)
        del self.ids[device]
        self.dimms.pop(device, None)
        self.processors.discard(device)
        for slot in [slot for slot, name in self.slots.items() if name == device]:
            del self.slots[slot]

    def change(self) -> None:
        """Note a change of the machine (:mod:`harness.run.removed_processor`)."""
        if self.processor_gone and self.changed is None:
            self.changed = self.index + 1, self.processor_gone

    @step.register
    def _(self, operation: op.AnswerUnplugs) -> None:
        self.answer = self.index + 1, operation

    @step.register
    def _(self, _operation: op.BootGuest) -> None:
        self.started = "running"

    @step.register
    def _(self, operation: op.DropMonitor) -> None:
        self.dropped_by = 0 if operation.when == "now" else self.index + 1

    @step.register
    def _(self, operation: op.AddCpu) -> None:
        if operation.rival and self.dropped_by:
            raise self.mistake(
                "rival",
                f"two clients ask at once, and do[{self.dropped_by}] loses the connection at the next add",
                "Put another add between them.",
            )
        self.dropped_by = 0
        device = self.called("cpu", operation)
        if operation.expect != "refused":
            self.name(operation.id, device)
            self.plug(operation, device)

    @step.register
    def _(self, operation: op.AddDimm) -> None:
        self.dropped_by = 0
        device = self.called("dimm", operation)
        if self.backend == "libvirt" and (lacking := not_of_one_dimm(operation.made_of)):
            raise self.mistake(
                lacking[0], f"libvirt cannot be given {lacking[1]} for one DIMM", "Use --backend qemu for it."
            )
        if operation.expect != "refused":
            self.name(operation.id, device)
            self.insert(operation, device)

    @step.register
    def _(self, operation: op.AddNvdimm) -> None:
        device = operation.id or f"nvdimm in do[{self.index + 1}]"
        self.contrast = self.contrast or self.index + 1
        self.lacks("nvdimm", self.limits.nvdimm, "a machine that takes NVDIMMs")
        self.aligned(operation.size, MEMORY_BLOCK)
        self.name(operation.id, device)
        self.insert(op.AddDimm(size=operation.size, node=operation.node, id=operation.id), device)

    @step.register
    def _(self, operation: op.ResizeVirtioMem) -> None:
        most = self.limits.virtio_mem
        self.lacks("virtio_mem", most, "a virtio-mem device")
        self.contrast = self.contrast or self.index + 1
        if most is not None and operation.size > most:
            raise self.mistake(
                "size",
                f"{operation.size.text!r} is more than the device has, machine.virtio_mem = {most >> 20} MiB",
                "machine.virtio_mem in the plan sets how much there may be.",
            )
        self.aligned(operation.size, VIRTIO_MEM_BLOCK)

    @step.register
    def _(self, operation: op.SetBalloon) -> None:
        self.lacks("balloon", self.limits.balloon, "a balloon")
        least, memory = LEAST_LEFT, self.limits.memory
        if operation.size < least or (
            memory is not None and operation.size > memory + sum(self.dimms.values())
        ):
            raise self.mistake(
                "size",
                f"a balloon cannot leave the guest {operation.size.text!r}",
                f"It leaves at least {least >> 20} MiB, and at most what the guest has.",
            )
        self.aligned(operation.size, MIB)

    def lacks(self, key: str, given: object, what: str) -> None:
        value = '"1 GiB"' if key == "virtio_mem" else "true"
        if not given:
            raise self.mistake("op", f"it needs {what}", f"Say so in the plan: [machine] {key} = {value}.")

    def aligned(self, size: Size, unit: int) -> None:
        if size % unit or (not size and unit == MEMORY_BLOCK):
            raise self.mistake("size", f"{size.text!r} is not a multiple of {unit >> 20} MiB")

    def called(self, what: Literal["cpu", "dimm"], operation: op.AddCpu | op.AddDimm) -> str:
        """Return the id of the device that an add makes, as :class:`harness.run.executor.Executor` finds it."""
        self.adds[what] += 1
        names = (f"{what}-{number}" for number in itertools.count(self.adds[what]))
        device = operation.id or next(name for name in names if name not in self.named)
        self.named.add(device)
        if operation.expect != "refused":
            self.change()
            # What waits for its own consequences waits for those of all that are open.
            self.unsettled = 0 if operation.settle else self.unsettled or self.index + 1
        return device

    def name(self, wanted: str | None, device: str) -> None:
        if wanted is None:
            self.ids[device] = self.index + 1
            return
        if not WELL_FORMED.match(wanted):
            raise self.mistake(
                "id",
                f"QEMU takes no device id {wanted!r}",
                "An id begins with a letter; letters, digits, '-', '.' and '_' follow.",
            )
        if wanted in self.kept:
            raise self.mistake(
                "id",
                f"{wanted!r} is still there: do[{self.kept[wanted]}] expects the guest to keep it",
                "Give another id, or none: one is found.",
            )
        if wanted in self.ids:
            raise self.mistake(
                "id",
                f"the id {wanted!r} is taken by do[{self.ids[wanted]}]",
                "Give another id, or none: one is found.",
            )
        self.ids[wanted] = self.index + 1

    def plug(self, operation: op.AddCpu, device: str) -> None:
        most, slot = self.limits.max_processors, operation.slot
        self.processors.add(device)
        if slot is None:
            self.fill(device)
            return
        if most is not None and slot >= most:
            raise self.mistake(
                "slot",
                f"there is no processor slot {slot}: the machine's slots are 0 to {most - 1}",
                MORE_PROCESSORS,
            )
        if slot in self.slots:
            by = self.slots[slot]
            owner = f"device {by!r}" if by else "a processor from power-on or an earlier operation"
            if by in self.kept:
                owner += f", which is still there: do[{self.kept[by]}] expects the guest to keep it"
            raise self.mistake(
                "slot",
                f"processor slot {slot} is taken by {owner}",
                "Leave out slot: the first empty one is taken.",
            )
        self.slots[slot] = device

    def fill(self, *devices: str) -> None:
        """Take the first empty slots."""
        most, count = self.limits.max_processors, len(devices)
        self.processors.update(devices)
        self.ids.update(dict.fromkeys(devices, self.index + 1))
        if most is None or self.limits.processors is None:
            return
        empty = [slot for slot in range(most) if slot not in self.slots]
        if len(empty) < count:
            key = "op" if count == 1 else "add_cpus"
            left = (
                "no processor slot is left"
                if not empty
                else f"{len(empty)} processor slots are left, not {count}"
            )
            raise self.mistake(
                key,
                f"{left}: the machine has {most}, {self.limits.processors} filled at power-on",
                MORE_PROCESSORS,
            )
        self.slots.update(zip(empty[:count], devices, strict=True))

    def insert(self, operation: op.AddDimm, device: str) -> None:
        limits = self.limits
        if limits.nodes is not None and operation.node is not None and operation.node >= limits.nodes:
            raise self.mistake(
                "node",
                f"there is no node {operation.node}: the machine's nodes are 0 to {limits.nodes - 1}",
                "machine.nodes in the plan sets how many there are.",
            )
        if limits.dimm_slots is not None and len(self.dimms) >= limits.dimm_slots:
            raise self.mistake(
                "op",
                f"no DIMM slot is left: the machine has {limits.dimm_slots}",
                "machine.dimm_slots in the plan sets how many there are.",
            )
        if limits.memory is not None and limits.max_memory is not None:
            room = limits.max_memory - limits.memory - sum(self.dimms.values()) - (limits.virtio_mem or 0)
            if operation.size > room:
                raise self.mistake(
                    "size",
                    f"{operation.size.text!r} does not fit: of max_memory {limits.max_memory >> 20} MiB, "
                    f"{max(room, 0) >> 20} MiB are left",
                    "machine.max_memory in the plan sets how much there may be, power-on memory included.",
                )
        self.dimms[device] = int(operation.size)


_step: Callable[[type], Callable[[_Rehearsal, op.Operation], None]]
_step = vars(_Rehearsal)["step"].dispatcher.dispatch
"""The method for a kind of operation. To ask the rehearsal for its own makes a new function for each operation."""
