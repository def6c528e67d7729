# SPDX-License-Identifier: MIT
"""Executes a plan on a booted guest and records every step; it judges nothing but the plan's own expectations."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random
import time
from collections.abc import Callable, Collection, Iterator
from functools import singledispatchmethod
from typing import Any, Literal

import msgspec

from harness.capture.offline.correlation import Correlator
from harness.config import to_plain
from harness.deadline import Deadline
from harness.errors import (
    CommandRefused,
    GuestError,
    GuestHang,
    GuestRefused,
    HarnessError,
    HostExhausted,
    InfrastructureError,
    UsageError,
)
from harness.guest.guest import Guest, GuestCounts
from harness.history import record as r
from harness.history.writer import HistoryWriter
from harness.host.qemu_build import find_qemu
from harness.machine.machine import CpuSlot, Drop, Machine
from harness.machine.qemu.live_migration import LiveMigration, MigrationFailed, another_board
from harness.machine.qemu.machine import QemuMachine
from harness.run import contrast
from harness.run import operation as op
from harness.run.guest_commands import steer
from harness.run.options import Timeouts
from harness.run.pending_add import OST_SUCCESS, PendingAdd, amount, counted
from harness.run.plan import MORE_PROCESSORS
from harness.run.rehearsal import UNMOVED
from harness.run.removals import Removals, counted_of, lists, recount_after
from harness.run.watch import Watch

ASKING = op.AddCpu | op.AddDimm | op.Contrast | op.Reset | op.Unplug | op.BootGuest
"""Operations that name devices: if QEMU refuses one, that is an error of the plan, and a retry gives the
same."""


LONG_WAIT = 2.0
"""Seconds after which :attr:`Executor.tell` is called with what is waited for."""


def paced(budget: Timeouts, pace: float) -> Timeouts:
    """Return the budget for a guest that takes ``pace`` times as long as the twin; explicitly set values stay."""
    usual = Timeouts()
    return dataclasses.replace(
        budget,
        **{
            name: getattr(usual, name) * pace
            for name in ("boot", "operation", "consequence", "evidence")
            if getattr(budget, name) == getattr(usual, name)
        },
    )


def too_late(deadline: Deadline, done: int, count: int) -> GuestError:
    """Return the error for a plan whose time was over after ``done`` of its operations."""
    return GuestError(
        f"the time for the test, {deadline.seconds:g} s, was over after {done} of {count} operations",
        hint="The run is unknown from there. --test-timeout SECONDS gives it more.",
    )


class Executor:
    """Drives one machine and its guest through operations.

    ``drain`` forwards everything the guest has written so far, so that output before a command is in the
    history before it. ``unshown`` is what this machine cannot show
    (:class:`harness.guest.bootable.Bootable`): it is not awaited, and an operation of the plan that needs it
    ends with GuestRefused. ``ids`` are the device ids in the plan. ``boot`` boots a guest that has not booted
    yet, and prepares it (:meth:`prepare`); None for a booted guest. ``while_quiet`` is work for the time in which the driver
    must be silent anyway. ``tell`` is called with what is waited for, and for how long, when a wait becomes long.
    """

    def __init__(
        self,
        machine: Machine,
        guest: Guest,
        writer: HistoryWriter,
        watch: Watch,
        *,
        drain: Callable[[], None],
        seed: int,
        budget: Timeouts | None = None,
        unshown: tuple[str, ...] = (),
        ids: Collection[str] = (),
        boot: Callable[[], None] | None = None,
        while_quiet: Callable[[], None] = lambda: None,
    ) -> None:
        self.machine = machine
        self.guest = guest
        self.writer = writer
        self.watch = watch
        self.budget = budget or Timeouts()
        self._drain = drain
        self._unshown = unshown
        self._nonces = random.Random(seed)  # noqa: S311 nonces only need to differ, and to be the same on a repro
        self._names: dict[str, int] = {"cpu": 0, "dimm": 0}
        self._ids = set(ids)
        self._open: list[PendingAdd] = []
        self._halfway = False
        self.tell: Callable[[str], None] = lambda _: None
        self._boot = boot
        self._while_quiet = while_quiet
        self._found: list[PendingAdd] = []
        self._removals = Removals(
            machine,
            guest,
            writer,
            watch,
            self.budget,
            drain=drain,
            rest=self._rest_after_unplug,
            patience=self._patience,
        )
        self._base: GuestCounts | None = None
        self._index = 0
        self._loaded: list[str] = []
        self._migration: LiveMigration | None = None
        self._unbracketed = False
        self._drop: Drop | None = None
        self._correlator = Correlator()
        writer.subscribe(self._correlate)

    def prepare(self, *, load: bool = True, pnp: bool = False) -> GuestCounts:
        """Load the driver and establish the baseline: quiet, alive, counted. Return what the guest counts."""
        if load:
            deadline = Deadline(self.budget.operation, "load the driver")
            self._load(op.LoadDriver(pnp=pnp), deadline)
        return self._baseline(Deadline(self.budget.operation, "come to rest after loading the driver"))

    def execute(self, operations: list[op.Operation]) -> None:
        """Execute the operations in order. Raises what an operation raises; its record then says ``fail``.

        Raises GuestError when the time for the whole test is over; a started operation keeps its own timeout.
        """
        deadline = Deadline(self.budget.test, "the plan")
        for done, operation in enumerate(operations):
            if deadline.expired:
                raise too_late(deadline, done, len(operations))
            self.step(operation)
        if self._open or self._migration is not None:
            self.step(op.Settle())
        self.bracket()
        self.watch.check()

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way: each add has settled, and no operation failed halfway."""
        return not (self._open or self._found or self._halfway) and self._migration is None

    def close(self) -> None:
        """Abandon what is still in progress besides the machine itself."""
        if self._migration is not None:
            self._migration.close()

    def step(self, operation: op.Operation) -> None:
        """Execute one operation, between its two records."""
        self._index += 1
        name = str(type(operation).__struct_config__.tag)
        arguments: dict[str, Any] = {
            k: v for k, v in to_plain(operation).items() if k != "op" and v is not None
        }
        self.writer.write(
            r.OperationProgress(index=self._index, name=name, phase="begin", arguments=arguments)
        )
        try:
            detail = self._do(operation, Deadline(operation.timeout or self.budget.operation, name))
        except HarnessError as error:
            self.writer.write(
                r.OperationProgress(index=self._index, name=name, phase="fail", detail=error.message)
            )
            if isinstance(error, CommandRefused) and isinstance(operation, ASKING):
                error.of_plan()
            else:
                self._halfway = True
            raise
        self.writer.write(r.OperationProgress(index=self._index, name=name, phase="end", detail=detail))

    def _baseline(self, deadline: Deadline) -> GuestCounts:
        """Come to rest and write the baseline: quiet, alive, counted, bracketed.

        The guest counts during the silence. Nothing is lost by that: the count before the first add, which the checker
        compares with it, comes after the silence.
        """
        counted: list[GuestCounts] = []
        self.quiesce(
            self.budget.quiet,
            deadline,
            ask=lambda: counted.append(self.guest.counts(Deadline(self.budget.operation, "count"))),
        )
        self.watch.rebase()
        self._write_count(counted[-1], "baseline")
        self.bracket()
        return counted[-1]

    def quiesce(self, quiet: float, deadline: Deadline, *, ask: Callable[[], None] = lambda: None) -> None:
        """Wait for ``quiet`` seconds without driver records, check that the guest is alive, and record that.

        The silence begins with the driver's last record, not with this call. ``ask`` puts a question to the guest during
        the silence, and again if a record of the driver came after it: the last answer lies within the silence that is
        recorded. Raises GuestHang if the driver never becomes silent or the guest does not answer.
        """
        asked_after = -1.0
        look = self._patience(f"{quiet:g} s without a record of the driver", deadline)
        self._drain()
        while True:
            seen = self.watch.last_driver
            if asked_after != seen:
                asked_after = seen
                ask()
            left = seen + quiet - time.monotonic()
            if left > 0:
                self._while_quiet()
                left = max(0.0, seen + quiet - time.monotonic())
                self.watch.wait(
                    lambda seen=seen: look() or self.watch.last_driver > seen,  # type: ignore[misc]
                    Deadline(left, "quiet"),
                )
                if deadline.expired:
                    raise GuestHang(
                        f"the driver did not fall silent for {quiet:g} s within {deadline.seconds:g} s"
                    )
                continue
            nonce = f"{self._nonces.getrandbits(64):016x}"
            self.guest.prove_alive(nonce, deadline)
            # Events that the guest reports only on request are complete up to that request.
            asked = time.monotonic()
            self._drain()
            silent = asked - self.watch.last_driver
            if silent >= quiet:
                self.writer.write(r.Quiesced(nonce=nonce, quiet_ns=int(silent * 1e9)))
                return

    def bracket(self) -> None:
        """Make the driver echo a nonce, so that an ``Offset`` gives its counter's value between two host times.

        Does nothing while no driver is loaded. If a guest cannot do it, only the offset record is missing.
        """
        if not self._loaded:
            return
        nonce = f"{self._nonces.getrandbits(64):016x}"
        self._correlator.sent(nonce, time.monotonic_ns())
        try:
            deadline = Deadline(self.budget.operation, "make the driver echo a nonce")
            self.guest.mark(nonce, deadline, driver=self._loaded[0])
        except GuestRefused as error:
            self.writer.write(r.Stage(name="correlation", phase="note", detail=error.message))
            return
        self._drain()

    def _correlate(self, record: r.Record) -> None:
        """Listen to the history: after an echoed nonce, write an Offset right behind its record."""
        offset = self._correlator.observe(record, record.host_ns)
        if offset is not None:
            self.writer.write(offset)

    def _load(self, wanted: op.LoadDriver, deadline: Deadline) -> None:
        self.guest.load_driver(
            deadline,
            add_existing=wanted.add_existing,
            pnp=wanted.pnp,
            opt_out=wanted.opt_out,
            veto=wanted.veto,
            driver=wanted.driver,
        )
        self._loaded.append(wanted.driver)

    def _load_refused(self, wanted: op.LoadDriver, deadline: Deadline) -> str:
        try:
            self._load(wanted, deadline)
        except GuestRefused as error:
            self.quiesce(self.budget.quiet, deadline)
            return f"refused, as expected: {error.message}"
        raise GuestRefused(f"the driver {wanted.driver} was loaded, and the plan expects it to be refused")

    # -- operations ---------------------------------------------------------------------------------------------

    @singledispatchmethod
    def _do(self, operation: object, _deadline: Deadline) -> str:
        raise TypeError(f"no operation: {operation!r}")

    @_do.register
    def _(self, operation: op.AddCpu, deadline: Deadline) -> str:
        self._check_outcome(operation)
        self._removals.survives("the add", deadline)
        slot = self._slot(operation, deadline)
        self._removals.still_there(operation, slot.qom.rpartition("/")[2], deadline)
        attempt = self._attempt("cpu", operation, self._before(deadline).processors)
        refused = ""
        with self._adding(attempt, operation, slot=str(slot.index)):
            try:
                if operation.rival:
                    refused = self.machine.add_cpu_twice(attempt.device, slot, deadline)
                else:
                    self.machine.add_cpu(attempt.device, slot, deadline)
            except CommandRefused as error:
                self._check_slot(slot, deadline, error)
                raise
        said = self._after(attempt, operation, deadline)
        return f"{said}; one of the two clients was refused: {refused}" if refused else said

    @_do.register
    def _(self, operation: op.AddDimm, deadline: Deadline) -> str:
        self._check_outcome(operation)
        self._removals.survives("the add", deadline)
        self._removals.still_there(operation, "", deadline)
        attempt = self._attempt("dimm", operation, self._before(deadline).memory)
        attempt.size = int(operation.size)
        with self._adding(attempt, operation):
            self.machine.add_dimm(
                attempt.device, attempt.size, deadline, node=operation.node, backend=operation.made_of
            )
        return self._after(attempt, operation, deadline)

    @_do.register
    def _(self, operation: op.Contrast, deadline: Deadline) -> str:
        if self._unshown:
            raise self._cannot_show("memory outside ACPI memory devices")
        if self._open:
            self._settle(deadline)
        device = self._device("nvdimm", getattr(operation, "id", None))
        before, told = self.guest.counts(deadline), self._told()
        change = contrast.change(self.machine, operation, device, deadline)
        self._await_change(change, before.memory)
        self.quiesce(self.budget.quiet, Deadline(self.budget.operation, "come to rest"))
        now = self.guest.counts(Deadline(self.budget.operation, "count"))
        self._write_count(now, "contrast")
        since = {kind: count - told.get(kind, 0) for kind, count in self._told().items()}
        return contrast.contrasted(change.said, before.memory, now.memory, since)

    def _await_change(self, change: contrast.Change, before: int) -> None:
        """Wait until the guest's count matches QEMU's report; whether it does is only an observation."""
        deadline = Deadline(self.budget.consequence, "the guest's count")
        began = time.monotonic()
        while not deadline.expired:
            version = self.watch.version
            now = self.guest.counts(Deadline(self.budget.operation, "count"))
            if change.counted(before, now.memory):
                return
            self.watch.wait_change(version, deadline.within(recount_after(began), "a change in the guest"))

    def _told(self) -> dict[str, int]:
        """Count the records of the driver and the firmware."""
        self._drain()
        answers = sum(len(answers) for answers in tuple(self.watch.ost.values()))
        return {**self.watch.tally, "ost": answers}

    @_do.register
    def _(self, operation: op.Settle, deadline: Deadline) -> str:
        moved = ""
        if self._migration is not None:
            moved = self._end_migration(Deadline(operation.timeout or self.budget.boot, "migrate"))
        return "; ".join(filter(None, (moved, self._settle(deadline) if self._open else "")))

    @_do.register
    def _(self, operation: op.Migrate, _deadline: Deadline) -> str:
        deadline = Deadline(operation.timeout or self.budget.boot, "migrate")
        machine = self.machine
        if not isinstance(machine, QemuMachine):
            raise self._cannot_show("a migration") if self._unshown else self._unmoved("libvirt")
        if machine.kd is not None:
            raise self._unmoved("kd")
        if self._migration is not None:
            raise UsageError("the guest is being migrated already", hint="Do a 'settle' first.")
        self._drain()
        if not machine.paused_here:
            self.bracket()
        board = another_board(machine, deadline) if operation.fail == "other-machine" else ""
        qemu = find_qemu(operation.qemu, deadline).path if operation.qemu else None
        self._migration = LiveMigration(machine, self.writer, qemu=qemu, board=board)
        slow = not operation.settle or operation.fail in ("target-killed", "cancelled")
        self._migration.begin(deadline, slow=slow)
        if operation.fail == "target-killed":
            self._migration.kill()
        if operation.fail == "cancelled":
            self._migration.cancel(deadline)
        if operation.fail:
            return self._fail_migration(deadline)
        if not operation.settle:
            return f"on the way to process {self._migration.target}"
        return self._end_migration(deadline)

    @_do.register
    def _(self, operation: op.WaitFor, deadline: Deadline) -> str:
        if operation.what in self._unshown:
            raise self._cannot_show("the firmware's _OST")

        def reached() -> int:
            if operation.what == "ost":
                return sum(len(answers) for answers in tuple(self.watch.ost.values()))
            return self.watch.tally[operation.what]

        look = self._patience(f"{operation.count} {operation.what}", deadline)
        met = self._handed_on(lambda: reached() >= operation.count)
        if not self.watch.wait(lambda: look() or met(), deadline):
            raise GuestHang(
                f"waited {deadline.seconds:g} s for {operation.count} {operation.what}, seen {reached()}",
                hint="The timeline shows what did come; a longer wait is timeout = SECONDS in the plan.",
            )
        return f"{reached()} {operation.what}"

    @_do.register
    def _(self, operation: op.GuestCommand, deadline: Deadline) -> str:
        return steer(self.guest, operation, deadline)

    @_do.register
    def _(self, operation: op.Verifier, _deadline: Deadline) -> str:
        self._loaded.clear()
        self.watch.expect_reset()
        deadline = Deadline(operation.timeout or 2 * self.budget.boot, "restart under Driver Verifier")
        self.guest.verifier(deadline, drivers=("hpnotify.sys",) if operation.on else ())
        return "on" if operation.on else "off"

    @_do.register
    def _(self, operation: op.Unplug, deadline: Deadline) -> str:
        if self._open:
            self._settle(deadline)
        said = self._removals.request(operation, deadline)
        self._base = None
        self.bracket()
        return said

    @_do.register
    def _(self, _operation: op.BootGuest, deadline: Deadline) -> str:
        if self._boot is None:
            raise UsageError(
                "the guest has booted already",
                hint='An op = "boot" goes with machine.started = "paused" or "firmware".',
            )
        boot, self._boot = self._boot, None
        boot()
        return self._settle_found(deadline)

    @_do.register
    def _(self, operation: op.LoadDriver, deadline: Deadline) -> str:
        if operation.expect == "refused":
            return self._load_refused(operation, deadline)
        self._load(operation, deadline)
        self._baseline(deadline)
        return ""

    @_do.register
    def _(self, operation: op.UnloadDriver, deadline: Deadline) -> str:
        if operation.driver in self._loaded:
            self._loaded.remove(operation.driver)
        self.guest.unload_driver(deadline, driver=operation.driver)
        self._drain()
        return ""

    @_do.register
    def _(self, _operation: op.Pause, deadline: Deadline) -> str:
        # A paused guest cannot be queried.
        self._before(deadline)
        self._drain()
        self.machine.pause(deadline)
        return ""

    @_do.register
    def _(self, _operation: op.Resume, deadline: Deadline) -> str:
        self.machine.resume(deadline)
        if self._unbracketed:
            self._go_on(deadline)
        return ""

    @_do.register
    def _(self, operation: op.Reset, deadline: Deadline) -> str:
        self._removals.survives("a reset", deadline)
        self._loaded.clear()
        self._cut_short()
        self.watch.expect_reset()
        boots = self.guest.ready_count + 1
        if operation.add_cpus:
            self.machine.pause(deadline)
        self.machine.reset(deadline)
        if operation.add_cpus:
            self._add_unseen(operation.add_cpus, deadline)
            self.machine.resume(deadline)
        self.guest.wait_ready(Deadline(operation.timeout or self.budget.boot, "boot again"), boots=boots)
        return ""

    @_do.register
    def _(self, operation: op.Quiesce, deadline: Deadline) -> str:
        self.quiesce(operation.quiet, deadline)
        return ""

    @_do.register
    def _(self, operation: op.DropMonitor, _deadline: Deadline) -> str:
        if operation.when == "now":
            self.machine.drop_monitor()
        else:
            self._drop = operation.when
        return operation.when

    @_do.register
    def _(self, operation: op.Expect, deadline: Deadline) -> str:
        self._drain()
        wanted = {
            k: v for k, v in msgspec.structs.asdict(operation).items() if v is not None and k != "timeout"
        }
        if not wanted:
            raise UsageError("an 'expect' operation demands nothing: name at least one count")
        untold = [key for key in wanted if key.removesuffix("s").replace("_", "-") in self.watch.untold]
        for key in untold:
            del wanted[key]
        counts = self.guest.counts(deadline) if "processors" in wanted else None
        seen: dict[str, int] = {}
        for key in wanted:
            if key == "processors" and counts is not None:
                seen[key] = counts.processors
            elif key == "dimms":
                seen[key] = len(self.machine.memory_devices(deadline))
            else:
                seen[key] = self.watch.tally[key.removesuffix("s").replace("_", "-")]
        met = seen == wanted
        self.writer.write(
            r.Expectation(index=self._index, demanded=_listed(wanted), seen=_listed(seen), met=met)
        )
        said = "met" if met else f"not met: demanded {_listed(wanted)}; seen {_listed(seen)}"
        return f"{said}; the driver has no event for {', '.join(untold)}" if untold else said

    def _cut_short(self) -> None:
        """End the adds in progress at a reset: plugged devices are there when the guest boots, without a notification."""
        for attempt in self._open:
            said = f"{attempt.name} is interrupted by the reset: its outcome cannot be established"
            self.writer.write(r.Stage(name="plan", phase="note", detail=said))
        self._open.clear()
        self._base = None

    def _add_unseen(self, count: int, deadline: Deadline) -> None:
        """Plug processors into a machine whose guest has not started: not attempts, since no driver can be notified."""
        empty = [slot for slot in self.machine.cpu_slots(deadline) if not slot.qom]
        if len(empty) < count:
            raise UsageError(
                f"the machine has {len(empty)} empty processor slots, not {count}",
                hint=MORE_PROCESSORS,
            )
        for number, slot in enumerate(empty[:count], 1):
            self.machine.add_cpu(f"unseen-{self._index}-{number}", slot, deadline)

    # -- migration ----------------------------------------------------------------------------------------------

    def _unmoved(self, where: str) -> UsageError:
        why, hint = UNMOVED[where]
        return UsageError(f"the guest cannot be migrated: {why}", hint=hint)

    def _end_migration(self, deadline: Deadline) -> str:
        """Wait until the guest runs in the other QEMU. Raises MigrationFailed if it stays where it is."""
        migration, self._migration = self._migration, None
        assert migration is not None
        began = time.monotonic()
        migration.finish(deadline, lambda control: self.guest.follow(control, deadline))
        if self.machine.human is not None:
            said = f"a monitor for you: socat -,rawer UNIX-CONNECT:{self.machine.human}"
            self.writer.write(r.Stage(name="qemu", phase="note", detail=said))
        self._go_on(deadline)
        return f"moved to process {migration.target} within {time.monotonic() - began:.1f} s"

    def _fail_migration(self, deadline: Deadline) -> str:
        """Check that a migration that is to fail does, and that the guest continues where it was."""
        try:
            said = self._end_migration(deadline)
        except MigrationFailed as error:
            self._go_on(deadline)
            return f"failed, as asked for: {error.message}"
        raise InfrastructureError(f"the migration that was to fail did not: {said}")

    def _go_on(self, deadline: Deadline) -> None:
        """Check that the guest runs, and bracket its counter again: while the guest was stopped it may have stopped too."""
        self._unbracketed = getattr(self.machine, "paused_here", False)
        if not self._unbracketed:
            self.guest.prove_alive(f"{self._nonces.getrandbits(64):016x}", deadline)
            self.bracket()

    # -- attempts -----------------------------------------------------------------------------------------------

    def _check_outcome(self, operation: op.AddCpu | op.AddDimm) -> None:
        """Refuse adds that are to be ignored: a process uses every device, since no operating system could ignore it.

        What is found at boot is added before it.
        """
        if operation.expect not in ("found", "refused") and self._boot is not None:
            raise UsageError(
                f"the guest has not booted, so that what is added is not {operation.expect}: it is found",
                hint='Give expect = "found", or put an op = "boot" before it.',
            )
        if operation.expect == "found" and self._boot is None:
            raise UsageError(
                "the guest has booted: what is added now is not found at boot",
                hint='expect = "found" goes with an add before the op = "boot".',
            )
        if self._unshown and operation.expect == "ignored":
            raise self._cannot_show("a device that the guest ignores")
        if self._unshown and isinstance(operation, op.AddDimm) and not operation.made_of.plain:
            raise self._cannot_show("what a DIMM is made of on the host")

    def _cannot_show(self, what: str) -> GuestRefused:
        return GuestRefused(
            f"{self.guest.label} cannot show {what}, because its machine is a process",
            hint="Run this plan on a guest that boots: --guest twin.",
        )

    def _slot(self, operation: op.AddCpu, deadline: Deadline) -> CpuSlot:
        slots = self.machine.cpu_slots(deadline)
        if operation.slot is not None:
            if operation.slot >= len(slots) and operation.expect == "refused":
                # QEMU itself is to refuse it: the last slot's row with a socket that does not exist.
                props = {**slots[-1].props, "socket-id": operation.slot}
                return msgspec.structs.replace(slots[-1], index=operation.slot, props=props, qom="")
            if operation.slot >= len(slots):
                raise UsageError(
                    f"the machine has no processor slot {operation.slot}: its slots are 0 to {len(slots) - 1}",
                    hint=MORE_PROCESSORS,
                )
            return slots[operation.slot]
        for slot in slots:
            if not slot.qom:
                return slot
        if operation.expect == "refused":
            return slots[-1]
        raise CommandRefused(
            f"no processor slot is left: all {len(slots)} are taken",
            command="device_add",
            error_class="NoSlot",
            description="no slot left",
            hint=MORE_PROCESSORS,
        )

    def _check_slot(self, slot: CpuSlot, deadline: Deadline, refused: CommandRefused) -> None:
        """Raise InfrastructureError if another client took an empty slot before this run could."""
        if slot.qom:
            return
        now = next((row for row in self.machine.cpu_slots(deadline) if row.props == slot.props), slot)
        if now.qom:
            raise InfrastructureError(
                f"processor slot {slot.index} was taken by {now.qom.rpartition('/')[2]!r:.80}, which this run did not add",
                hint="Another client of QEMU or libvirt added it. Keep others from this machine.",
            ) from refused

    def _attempt(
        self, what: Literal["cpu", "dimm"], operation: op.AddCpu | op.AddDimm, before: int
    ) -> PendingAdd:
        device = self._device(what, operation.id)
        self._drain()
        return PendingAdd(
            name=f"{what}-{self._names[what]}",
            what=what,
            device=device,
            expected=operation.expect,
            before=before,
            tally=dict(self.watch.tally),
        )

    def _device(self, what: str, wanted: str | None) -> str:
        """Return the id of a device: ``wanted``, or a new one."""
        self._names[what] = self._names.get(what, 0) + 1
        names = (f"{what}-{number}" for number in itertools.count(self._names[what]))
        device = wanted or next(name for name in names if name not in self._ids)
        self._ids.add(device)
        return device

    @contextlib.contextmanager
    def _adding(
        self, attempt: PendingAdd, operation: op.AddCpu | op.AddDimm, *, slot: str = ""
    ) -> Iterator[None]:
        """Write the add's records around the command; turn an expected refusal into an agreement."""

        def note(phase: Any, detail: str = "") -> None:
            self.writer.write(attempt.note(phase, slot=slot, detail=detail))

        note("begin")
        if self._drop is not None:
            self.machine.drop_monitor(self._drop)
            self._drop = None
        try:
            yield
        except CommandRefused as error:
            note("refused", error.description)
            expected = operation.expect == "refused" and operation.saying in error.description
            self._agree_on_refusal(attempt, [] if expected else [error.description])
            if operation.expect != "refused":
                raise
        except HostExhausted as error:
            note("refused", error.message)
            raise
        except HarnessError as error:
            note("unsure", error.message)
            raise
        else:
            note("accepted")
            if operation.expect == "refused":
                self._agree_on_refusal(attempt, ["QEMU accepted what the plan expects it to refuse"])

    def _agree_on_refusal(self, attempt: PendingAdd, apart: list[str]) -> None:
        self.writer.write(
            attempt.agreed(apart, listed=False, ost=[], now=attempt.before, unshown=self._unshown)
        )

    def _after(self, attempt: PendingAdd, operation: op.AddCpu | op.AddDimm, deadline: Deadline) -> str:
        if operation.expect == "refused":
            self._base = self._base if self._open else None
            return "refused, as expected"
        if operation.expect == "found":
            self._found.append(attempt)
            return "there before the boot"
        self._open.append(attempt)
        return self._settle(deadline) if operation.settle else "sent"

    def _settle(self, deadline: Deadline) -> str:
        """Wait for the consequences of all open attempts, then record the agreement on each."""
        attempts, self._open = self._open, []
        for attempt in attempts:
            look = self._patience(f"the firmware's _OST for {attempt.device}", deadline)
            self.watch.wait(lambda a=attempt, look=look: look() or self._answered(a), deadline)  # type: ignore[misc]
        self._await_counts(attempts, deadline)
        told = self._await_driver(attempts)
        self.quiesce(self.budget.quiet, Deadline(self.budget.operation, "come to rest after an add"))
        now = self.guest.counts(Deadline(self.budget.operation, "count after an add"))
        self._base = None
        lines = []
        for attempt in attempts:
            agreement = attempt.agreement(
                listed=lists(
                    self.machine,
                    attempt.what,
                    attempt.device,
                    Deadline(self.budget.operation, "list devices"),
                ),
                ost=self.watch.ost.get(attempt.device, []),
                now=counted_of(attempt.what, now),
                growth=_growth(attempts, attempt.what),
                unshown=self._unshown,
                failed=self._failed(attempts),
            )
            self.writer.write(attempt.note("settled"))
            self.writer.write(agreement)
            lines.append(
                f"{attempt.name} {attempt.expected}"
                if agreement.agreed
                else f"{attempt.name}: {agreement.detail}"
            )
        if not told:
            lines.append("the driver did not get every expected notification")
        self.bracket()
        return "; ".join(lines)

    def _answered(self, attempt: PendingAdd) -> bool:
        if "ost" in self._unshown:
            return True
        return any(answer in OST_SUCCESS for answer in self.watch.ost.get(attempt.device, []))

    def _await_counts(self, attempts: list[PendingAdd], deadline: Deadline) -> None:
        """Query the guest again after each change until it counts as expected or the deadline passes."""
        began = time.monotonic()
        wanted = {a.what: amount(a.what, a.before + _growth(attempts, a.what)) for a in attempts}
        look = self._patience(f"the guest to count {' and '.join(wanted.values())}", deadline)
        while True:
            version = self.watch.version
            over = deadline.expired or self._failed(attempts)
            now = self.guest.counts(Deadline(self.budget.operation, "count after an add"))
            if over or all(
                counted(a.what, a.before, counted_of(a.what, now), _growth(attempts, a.what))
                for a in attempts
            ):
                return
            look()
            self.watch.wait_change(version, deadline.within(recount_after(began), "a change in the guest"))

    def _await_driver(self, attempts: list[PendingAdd]) -> bool:
        """Wait for the callbacks that the attempts should cause; the checker judges missing ones.

        Where no driver is loaded nobody is called, and there is nothing to wait for.
        """
        if not self._loaded:
            return True
        wanted: dict[str, int] = {}
        for attempt in attempts:
            kinds = {
                ("cpu", "added"): ("complete", "cpu-arrival"),
                ("cpu", "vetoed"): ("start",),
                ("dimm", "added"): ("memory-arrival",),
            }.get((attempt.what, attempt.expected), ())
            for kind in set(kinds) - self.watch.untold:
                base = min(other.tally.get(kind, 0) for other in attempts)
                wanted[kind] = wanted.get(kind, base) + 1

        def told() -> bool:
            return all(self.watch.tally[kind] >= count for kind, count in wanted.items())

        deadline = Deadline(self.budget.consequence, "the driver's records")
        look = self._patience(f"the driver's records ({', '.join(sorted(wanted))})", deadline)
        met = self._handed_on(told)
        self.watch.wait(lambda: look() or self._failed(attempts) or met(), deadline)
        return told()

    def _failed(self, attempts: list[PendingAdd]) -> bool:
        """Return whether the drivers were told that the only processor under way was not added.

        Then the guest's count does not grow any more, and there is no Complete and no arrival to wait for (DDI:
        wdm/ns-wdm-_ke_processor_change_notify_context.md). Of several adds it is not known which one failed.
        """
        if len(attempts) != 1 or attempts[0].what != "cpu":
            return False
        grown = {
            kind: self.watch.tally[kind] > attempts[0].tally.get(kind, 0) for kind in ("failure", "complete")
        }
        return grown["failure"] and not grown["complete"]

    def _patience(self, what: str, deadline: Deadline) -> Callable[[], bool]:
        """Return a function to call from time to time while one waits. It tells once what is waited for. It returns False."""
        began = time.monotonic()
        told: list[str] = []

        def look() -> bool:
            if not told and time.monotonic() >= began + LONG_WAIT:
                told.append(what)
                self.tell(f"waiting for {what}, at most {deadline.remaining():.0f} s more")
            return False

        return look

    def _handed_on(self, met: Callable[[], bool]) -> Callable[[], bool]:
        """Return ``met``; if it is false, evaluate it again with the events that the guest reports only on request."""

        def asked() -> bool:
            if met():
                return True
            self.guest.hand_on(Deadline(self.budget.operation, "ask for the driver's events"))
            return met()

        return asked

    def _before(self, deadline: Deadline) -> GuestCounts:
        """Return what the guest counted before the open batch of adds.

        For a guest that has not booted this is what the machine has at power-on.
        """
        if self._boot is not None:
            return GuestCounts(processors=self.machine.spec.processors, memory=self.machine.spec.memory)
        if self._base is None:
            self._base = self.guest.counts(deadline)
        return self._base

    def _rest_after_unplug(self) -> None:
        self.quiesce(self.budget.quiet, Deadline(self.budget.operation, "come to rest after an unplug"))

    # -- found at boot --------------------------------------------------------------------------------------------

    def _settle_found(self, deadline: Deadline) -> str:
        """Record the agreement on a device found at boot: QEMU lists it, there is no _OST, the guest counts it."""
        attempts, self._found = self._found, []
        now = self.guest.counts(deadline)
        for attempt in attempts:
            self.writer.write(attempt.note("settled"))
            self.writer.write(
                attempt.found(
                    listed=lists(self.machine, attempt.what, attempt.device, deadline),
                    ost=self.watch.ost.get(attempt.device, []),
                    now=counted_of(attempt.what, now),
                    all_found=[other.size for other in attempts if other.what == attempt.what],
                )
            )
        return f"{now.processors} processors"

    def _write_count(self, counts: GuestCounts, why: str) -> None:
        self.writer.write(r.Count(processors=counts.processors, memory=counts.memory, why=why))


def _growth(attempts: list[PendingAdd], what: str) -> int:
    return sum(attempt.growth for attempt in attempts if attempt.what == what)


def _listed(values: dict[str, int]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items())
