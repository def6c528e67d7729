# SPDX-License-Identifier: MIT
"""The adds of a run: each device gets an id, is plugged, awaited and agreed on; also those found when the guest boots."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from harness.deadline import Deadline
from harness.errors import CommandRefused, HarnessError, HostExhausted, InfrastructureError, UsageError
from harness.guest.bootable import cannot_show
from harness.guest.guest import Guest, GuestCounts
from harness.history.record import Stage
from harness.history.writer import HistoryWriter
from harness.machine.machine import CpuSlot, Drop, Machine
from harness.run import operation as op
from harness.run.pending_add import OST_SUCCESS, PendingAdd, amount, counted
from harness.run.plan import MORE_PROCESSORS
from harness.run.removals import Removals, counted_of, lists, recount_after
from harness.run.rest import Rest
from harness.run.watch import Watch


@dataclass(eq=False)
class Additions:
    """The adds under way, and the ids that are taken. ``rest`` waits for the guest.

    ``unshown`` is what this machine cannot show, and is not awaited. ``ids`` are the device ids in the plan. ``loaded``
    returns whether a driver is there to be notified, ``bracket`` brackets the guest's counter. ``booted`` is False until the
    guest boots: what is added before is found then. ``drop`` is when the monitor is to drop at the next add.
    """

    machine: Machine
    guest: Guest
    writer: HistoryWriter
    watch: Watch
    rest: Rest
    removals: Removals
    unshown: tuple[str, ...]
    ids: set[str]
    loaded: Callable[[], bool]
    bracket: Callable[[], None]
    booted: bool
    drop: Drop | None = None
    _names: dict[str, int] = field(default_factory=lambda: {"cpu": 0, "dimm": 0})
    _open: list[PendingAdd] = field(default_factory=list)
    _found: list[PendingAdd] = field(default_factory=list)
    _base: GuestCounts | None = None

    @property
    def unsettled(self) -> bool:
        """Whether there are adds to a running guest whose outcome is not established yet."""
        return bool(self._open)

    @property
    def under_way(self) -> bool:
        """Whether there is any add whose outcome is not established yet, also one to be found at boot."""
        return bool(self._open or self._found)

    def add_cpu(self, operation: op.AddCpu, deadline: Deadline) -> str:
        """Add a processor and, if the plan wants that, wait for the outcome; return the detail for the record.

        Raises CommandRefused if QEMU refuses unexpectedly, UsageError and GuestRefused for what cannot be done here.
        """
        self._check_outcome(operation)
        self.removals.survives("the add", deadline)
        slot = self._slot(operation, deadline)
        self.removals.still_there(operation, slot.qom.rpartition("/")[2], deadline)
        attempt = self._attempt("cpu", operation, self.before(deadline).processors)
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

    def add_dimm(self, operation: op.AddDimm, deadline: Deadline) -> str:
        """Add a DIMM, as :meth:`add_cpu` adds a processor."""
        self._check_outcome(operation)
        self.removals.survives("the add", deadline)
        self.removals.still_there(operation, "", deadline)
        attempt = self._attempt("dimm", operation, self.before(deadline).memory)
        attempt.size = int(operation.size)
        with self._adding(attempt, operation):
            self.machine.add_dimm(
                attempt.device, attempt.size, deadline, node=operation.node, backend=operation.made_of
            )
        return self._after(attempt, operation, deadline)

    def add_unseen(self, count: int, name: str, deadline: Deadline) -> None:
        """Plug processors into a machine whose guest has not started: not attempts, since no driver can be notified.

        Their ids are ``name`` and a number.
        """
        empty = [slot for slot in self.machine.cpu_slots(deadline) if not slot.qom]
        if len(empty) < count:
            raise UsageError(
                f"the machine has {len(empty)} empty processor slots, not {count}",
                hint=MORE_PROCESSORS,
            )
        for number, slot in enumerate(empty[:count], 1):
            self.machine.add_cpu(f"{name}-{number}", slot, deadline)

    def cut_short(self) -> None:
        """End the adds in progress at a reset: plugged devices are there when the guest boots, without a notification."""
        for attempt in self._open:
            said = f"{attempt.name} is interrupted by the reset: its outcome cannot be established"
            self.writer.write(Stage(name="plan", phase="note", detail=said))
        self._open.clear()
        self._base = None

    def forget_count(self) -> None:
        """Record that the guest's count changed by something else than an add."""
        self._base = None

    def device(self, what: str, wanted: str | None) -> str:
        """Return the id of a device: ``wanted``, or a new one."""
        self._names[what] = self._names.get(what, 0) + 1
        names = (f"{what}-{number}" for number in itertools.count(self._names[what]))
        device = wanted or next(name for name in names if name not in self.ids)
        self.ids.add(device)
        return device

    def before(self, deadline: Deadline) -> GuestCounts:
        """Return what the guest counted before the open batch of adds.

        For a guest that has not booted this is what the machine has at power-on.
        """
        if not self.booted:
            return GuestCounts(processors=self.machine.spec.processors, memory=self.machine.spec.memory)
        if self._base is None:
            self._base = self.guest.counts(deadline)
        return self._base

    def settle(self, deadline: Deadline) -> str:
        """Wait for the consequences of all open attempts, then record the agreement on each. Return "" if there is none."""
        if not self._open:
            return ""
        attempts, self._open = self._open, []
        for attempt in attempts:
            look = self.rest.patience(f"the firmware's _OST for {attempt.device}", deadline)
            self.watch.wait(lambda a=attempt, look=look: look() or self._answered(a), deadline)  # type: ignore[misc]
        self._await_counts(attempts, deadline)
        told = self._await_driver(attempts)
        self.rest.after("an add")
        now = self.rest.counts("count after an add")
        self._base = None
        lines = []
        for attempt in attempts:
            agreement = attempt.agreement(
                listed=lists(
                    self.machine,
                    attempt.what,
                    attempt.device,
                    Deadline(self.rest.budget.operation, "list devices"),
                ),
                ost=self.watch.ost.get(attempt.device, []),
                now=counted_of(attempt.what, now),
                growth=_growth(attempts, attempt.what),
                unshown=self.unshown,
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

    def settle_found(self, deadline: Deadline) -> str:
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

    def _check_outcome(self, operation: op.AddCpu | op.AddDimm) -> None:
        """Refuse adds that are to be ignored: a process uses every device, since no operating system could ignore it.

        What is found at boot is added before it.
        """
        if operation.expect not in ("found", "refused") and not self.booted:
            raise UsageError(
                f"the guest has not booted, so that what is added is not {operation.expect}: it is found",
                hint='Give expect = "found", or put an op = "boot" before it.',
            )
        if operation.expect == "found" and self.booted:
            raise UsageError(
                "the guest has booted: what is added now is not found at boot",
                hint='expect = "found" goes with an add before the op = "boot".',
            )
        if self.unshown and operation.expect == "ignored":
            raise cannot_show(self.guest.label, "a device that the guest ignores")
        if self.unshown and isinstance(operation, op.AddDimm) and not operation.made_of.plain:
            raise cannot_show(self.guest.label, "what a DIMM is made of on the host")

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
        device = self.device(what, operation.id)
        self.rest.drain()
        return PendingAdd(
            name=f"{what}-{self._names[what]}",
            what=what,
            device=device,
            expected=operation.expect,
            before=before,
            tally=dict(self.watch.tally),
        )

    @contextlib.contextmanager
    def _adding(
        self, attempt: PendingAdd, operation: op.AddCpu | op.AddDimm, *, slot: str = ""
    ) -> Iterator[None]:
        """Write the add's records around the command; turn an expected refusal into an agreement."""

        def note(phase: Any, detail: str = "") -> None:
            self.writer.write(attempt.note(phase, slot=slot, detail=detail))

        note("begin")
        if self.drop is not None:
            self.machine.drop_monitor(self.drop)
            self.drop = None
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
            attempt.agreed(apart, listed=False, ost=[], now=attempt.before, unshown=self.unshown)
        )

    def _after(self, attempt: PendingAdd, operation: op.AddCpu | op.AddDimm, deadline: Deadline) -> str:
        if operation.expect == "refused":
            self._base = self._base if self._open else None
            return "refused, as expected"
        if operation.expect == "found":
            self._found.append(attempt)
            return "there before the boot"
        self._open.append(attempt)
        return self.settle(deadline) if operation.settle else "sent"

    def _answered(self, attempt: PendingAdd) -> bool:
        if "ost" in self.unshown:
            return True
        return any(answer in OST_SUCCESS for answer in self.watch.ost.get(attempt.device, []))

    def _await_counts(self, attempts: list[PendingAdd], deadline: Deadline) -> None:
        """Query the guest again after each change until it counts as expected or the deadline passes."""
        began = time.monotonic()
        wanted = {a.what: amount(a.what, a.before + _growth(attempts, a.what)) for a in attempts}
        look = self.rest.patience(f"the guest to count {' and '.join(wanted.values())}", deadline)
        while True:
            version = self.watch.version
            over = deadline.expired or self._failed(attempts)
            now = self.rest.counts("count after an add")
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
        if not self.loaded():
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

        deadline = Deadline(self.rest.budget.consequence, "the driver's records")
        look = self.rest.patience(f"the driver's records ({', '.join(sorted(wanted))})", deadline)
        met = self.rest.handed_on(told)
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


def _growth(attempts: list[PendingAdd], what: str) -> int:
    return sum(attempt.growth for attempt in attempts if attempt.what == what)
