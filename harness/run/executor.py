# SPDX-License-Identifier: MIT
"""Executes a plan on a booted guest and records every step; it judges nothing but the plan's own expectations."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Collection
from functools import singledispatchmethod
from typing import Any

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
    UsageError,
)
from harness.guest.bootable import cannot_show
from harness.guest.guest import Guest, GuestCounts
from harness.history import record as r
from harness.history.writer import HistoryWriter
from harness.machine.machine import Machine
from harness.run import contrast
from harness.run import operation as op
from harness.run.additions import Additions
from harness.run.guest_commands import steer
from harness.run.migrations import Migrations
from harness.run.options import Timeouts
from harness.run.removals import Removals, recount_after
from harness.run.rest import Rest
from harness.run.watch import Watch

ASKING = op.AddCpu | op.AddDimm | op.Contrast | op.Reset | op.Unplug | op.BootGuest
"""Operations that name devices: if QEMU refuses one, that is an error of the plan, and a retry gives the
same."""


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
    must be silent anyway. ``rest`` waits for the guest, and reports a wait that becomes long.
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
        self._halfway = False
        self._boot = boot
        self._index = 0
        self._loaded: list[str] = []
        # Nonces only need to differ, and to be the same on a repro.
        self.rest = Rest(guest, writer, watch, self.budget, drain, random.Random(seed), while_quiet)  # noqa: S311
        self._removals = Removals(machine, guest, writer, watch, self.rest)
        self._additions = Additions(
            machine,
            guest,
            writer,
            watch,
            self.rest,
            self._removals,
            unshown=unshown,
            ids=set(ids),
            loaded=lambda: bool(self._loaded),
            bracket=self.bracket,
            booted=boot is None,
        )
        self._migrations = Migrations(
            machine, guest, writer, self.rest, process=bool(unshown), bracket=self.bracket
        )
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
        if self._additions.unsettled or self._migrations.under_way:
            self.step(op.Settle())
        self.bracket()
        self.watch.check()

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way: each add has settled, and no operation failed halfway."""
        return not (self._additions.under_way or self._migrations.under_way or self._halfway)

    def close(self) -> None:
        """Abandon what is still in progress besides the machine itself."""
        self._migrations.close()

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
        self.rest.quiesce(self.budget.quiet, deadline, ask=lambda: counted.append(self.rest.counts()))
        self.watch.rebase()
        self._write_count(counted[-1], "baseline")
        self.bracket()
        return counted[-1]

    def bracket(self) -> None:
        """Make the driver echo a nonce, so that an ``Offset`` gives its counter's value between two host times.

        Does nothing while no driver is loaded. If a guest cannot do it, only the offset record is missing.
        """
        if not self._loaded:
            return
        nonce = self.rest.nonce()
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
            self.rest.quiesce(self.budget.quiet, deadline)
            return f"refused, as expected: {error.message}"
        raise GuestRefused(f"the driver {wanted.driver} was loaded, and the plan expects it to be refused")

    # -- operations ---------------------------------------------------------------------------------------------

    @singledispatchmethod
    def _do(self, operation: object, _deadline: Deadline) -> str:
        raise TypeError(f"no operation: {operation!r}")

    @_do.register
    def _(self, operation: op.AddCpu, deadline: Deadline) -> str:
        return self._additions.add_cpu(operation, deadline)

    @_do.register
    def _(self, operation: op.AddDimm, deadline: Deadline) -> str:
        return self._additions.add_dimm(operation, deadline)

    @_do.register
    def _(self, operation: op.Contrast, deadline: Deadline) -> str:
        if self._unshown:
            raise cannot_show(self.guest.label, "memory outside ACPI memory devices")
        self._additions.settle(deadline)
        device = self._additions.device("nvdimm", getattr(operation, "id", None))
        before, told = self.guest.counts(deadline), self._told()
        change = contrast.change(self.machine, operation, device, deadline)
        self._await_change(change, before.memory)
        self.rest.after("")
        now = self.rest.counts()
        self._write_count(now, "contrast")
        since = {kind: count - told.get(kind, 0) for kind, count in self._told().items()}
        return contrast.contrasted(change.said, before.memory, now.memory, since)

    def _await_change(self, change: contrast.Change, before: int) -> None:
        """Wait until the guest's count matches QEMU's report; whether it does is only an observation."""
        deadline = Deadline(self.budget.consequence, "the guest's count")
        began = time.monotonic()
        while not deadline.expired:
            version = self.watch.version
            now = self.rest.counts()
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
        if self._migrations.under_way:
            moved = self._migrations.end(Deadline(operation.timeout or self.budget.boot, "migrate"))
        return "; ".join(filter(None, (moved, self._additions.settle(deadline))))

    @_do.register
    def _(self, operation: op.Migrate, _deadline: Deadline) -> str:
        deadline = Deadline(operation.timeout or self.budget.boot, "migrate")
        return self._migrations.begin(operation, deadline)

    @_do.register
    def _(self, operation: op.WaitFor, deadline: Deadline) -> str:
        if operation.what in self._unshown:
            raise cannot_show(self.guest.label, "the firmware's _OST")

        def reached() -> int:
            if operation.what == "ost":
                return sum(len(answers) for answers in tuple(self.watch.ost.values()))
            return self.watch.tally[operation.what]

        look = self.rest.patience(f"{operation.count} {operation.what}", deadline)
        met = self.rest.handed_on(lambda: reached() >= operation.count)
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
        self._additions.settle(deadline)
        said = self._removals.request(operation, deadline)
        self._additions.forget_count()
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
        self._additions.booted = True
        boot()
        return self._additions.settle_found(deadline)

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
        self._additions.before(deadline)
        self._drain()
        self.machine.pause(deadline)
        return ""

    @_do.register
    def _(self, _operation: op.Resume, deadline: Deadline) -> str:
        self.machine.resume(deadline)
        self._migrations.resumed(deadline)
        return ""

    @_do.register
    def _(self, operation: op.Reset, deadline: Deadline) -> str:
        self._removals.survives("a reset", deadline)
        self._loaded.clear()
        self._additions.cut_short()
        self.watch.expect_reset()
        boots = self.guest.ready_count + 1
        if operation.add_cpus:
            self.machine.pause(deadline)
        self.machine.reset(deadline)
        if operation.add_cpus:
            self._additions.add_unseen(operation.add_cpus, f"unseen-{self._index}", deadline)
            self.machine.resume(deadline)
        self.guest.wait_ready(Deadline(operation.timeout or self.budget.boot, "boot again"), boots=boots)
        return ""

    @_do.register
    def _(self, operation: op.Quiesce, deadline: Deadline) -> str:
        self.rest.quiesce(operation.quiet, deadline)
        return ""

    @_do.register
    def _(self, operation: op.DropMonitor, _deadline: Deadline) -> str:
        if operation.when == "now":
            self.machine.drop_monitor()
        else:
            self._additions.drop = operation.when
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

    def _write_count(self, counts: GuestCounts, why: str) -> None:
        self.writer.write(r.Count(processors=counts.processors, memory=counts.memory, why=why))


def _listed(values: dict[str, int]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items())
