# SPDX-License-Identifier: MIT
"""The unplug requests of a run: each is sent, awaited and agreed on; and the ids and slots that are free
afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from harness.deadline import Deadline, pause_after
from harness.errors import CommandRefused, GuestRefused, HarnessError
from harness.guest.guest import Guest, GuestCounts
from harness.history.record import Removal
from harness.history.writer import HistoryWriter
from harness.machine.machine import PERIPHERAL, Machine, QmpEvent
from harness.machine.qmp_schema import AcpiDeviceOst, DeviceEvent
from harness.run import operation as op
from harness.run.pending_removal import EJECTION_SOURCES, Ejection, PendingRemoval
from harness.run.removed_processor import dies_of_change, fatal_change
from harness.run.rest import Rest
from harness.run.watch import Watch

FIRST_RECOUNT, LONGEST_RECOUNT = 0.02, 1.0
"""Seconds after which a guest is counted again although nothing was recorded meanwhile."""


@dataclass(eq=False)
class Removals:
    """The results of the requests. ``rest`` waits for the guest."""

    machine: Machine
    guest: Guest
    writer: HistoryWriter
    watch: Watch
    rest: Rest
    _made: int = 0
    _kept: dict[str, str] = field(default_factory=dict)
    _processor_gone: str = ""

    def request(self, operation: op.Unplug, deadline: Deadline) -> str:
        """Make a request, wait for the guest's reaction, and record the agreement; return the detail for the record.

        Raises CommandRefused if QEMU has no such device or refuses, and what the machine raises.
        """
        removal = self._removal(operation, deadline)
        if removal.what == "dimm":
            self.survives(f"the request to give {removal.device} back", deadline)
        self.guest.unplug_ahead(deadline)
        after = self.machine.serial()
        self._note(removal, "begin")
        try:
            self.machine.unplug(removal.device, deadline)
        except CommandRefused as error:
            self._note(removal, "refused", detail=error.description)
            raise
        except HarnessError as error:
            self._note(removal, "unsure", detail=error.message)
            raise
        self._note(removal, "accepted")
        return self._settle_removal(removal, after, deadline)

    def _removal(self, operation: op.Unplug, deadline: Deadline) -> PendingRemoval:
        """Find the device of the request. Raises CommandRefused if QEMU has no such processor or DIMM."""
        device = operation.device
        slot = next((s for s in self.machine.cpu_slots(deadline) if s.qom.endswith(f"/{device}")), None)
        dimm = next((d for d in self.machine.memory_devices(deadline) if d.id == device), None)
        if slot is None and dimm is None:
            raise CommandRefused(
                f"QEMU has neither a processor nor a DIMM called {device!r}",
                command="device_del",
                error_class="DeviceNotFound",
                description=f"no processor or DIMM {device!r}",
                hint="A device is called by the id of its add: cpu-1 is that of the first processor without one.",
            )
        self._made += 1
        self.rest.drain()
        counts = self.guest.counts(deadline)
        return PendingRemoval(
            name=f"unplug-{self._made}",
            what="dimm" if dimm is not None else "cpu",
            device=device,
            slot=str(dimm.slot if dimm is not None else slot.index if slot is not None else ""),
            expected=operation.expect,
            reason=operation.reason,
            before=counts.memory if dimm is not None else counts.processors,
            size=dimm.size if dimm is not None else 0,
        )

    def _note(self, removal: PendingRemoval, phase: Any, *, outcome: Any = "", detail: str = "") -> None:
        self.writer.write(
            Removal(
                request=removal.name,
                phase=phase,
                what=removal.what,
                device=removal.device,
                slot=removal.slot,
                bytes=removal.size,
                expected=removal.expected,
                outcome=outcome,
                detail=detail,
            )
        )

    def _heard(self, removal: PendingRemoval, after: int) -> Ejection:
        """Return what QEMU's events say about a request that was made when the last message was ``after``."""
        return Ejection(
            ost=[
                (info.source, info.status)
                for event in self.machine.events("ACPI_DEVICE_OST", after=after)
                if (info := msgspec.convert(event.data, AcpiDeviceOst).info).source in EJECTION_SOURCES
                and (info.device == removal.device or (info.slot_type, info.slot) == (removal.slot_type, removal.slot))
            ],
            deleted=any(self._is_of(removal, event) for event in self.machine.events("DEVICE_DELETED", after=after)),
            failed=any(
                self._is_of(removal, event)
                for name in ("DEVICE_UNPLUG_GUEST_ERROR", "MEM_UNPLUG_ERROR")
                for event in self.machine.events(name, after=after)
            ),
        )  # fmt: skip

    def _is_of(self, removal: PendingRemoval, event: QmpEvent) -> bool:
        """For a processor, QEMU 7.2 under TCG reports only the removal of its local APIC, by the path in the processor."""
        told = msgspec.convert(event.data, DeviceEvent)
        path = PERIPHERAL + removal.device
        return told.device == removal.device or told.path == path or told.path.startswith(f"{path}/")

    def _settle_removal(self, removal: PendingRemoval, after: int, deadline: Deadline) -> str:
        """Wait for the guest's reaction to a request, then record the outcome and the agreement on it."""
        look = self.rest.patience(f"the guest's answer to the request for {removal.device}", deadline)
        self.watch.wait(lambda: look() or self._heard(removal, after).decided, deadline)
        heard = self._heard(removal, after)
        if heard.given_back or heard.deleted:
            self._await_gone(removal, after, deadline)
        self.rest.after("an unplug")
        heard = self._heard(removal, after)
        listed = lists(
            self.machine, removal.what, removal.device, Deadline(self.rest.budget.operation, "list devices")
        )
        now = self.rest.counts("count after an unplug")
        agreement = removal.agreement(heard, listed=listed, now=counted_of(removal.what, now))
        outcome = removal.outcome(heard, listed=listed)
        self._note(removal, "settled", outcome=outcome)
        self.writer.write(agreement)
        if outcome == "gone":
            self._release(removal)
        else:
            self._kept[removal.device] = f"after {removal.name}, {heard.words}"
        return heard.words if agreement.agreed else f"{removal.name}: {agreement.detail}"

    def _await_gone(self, removal: PendingRemoval, after: int, deadline: Deadline) -> None:
        """Wait until QEMU no longer lists the device and reports its removal, and firmware and guest confirm it."""
        began = time.monotonic()
        while not deadline.expired:
            version = self.watch.version
            now = self.rest.counts("count after an unplug")
            heard = self._heard(removal, after)
            if (
                heard.deleted
                and heard.given_back
                and not lists(self.machine, removal.what, removal.device, deadline)
                and removal.smaller(counted_of(removal.what, now))
            ):
                return
            self.watch.wait_change(version, deadline.within(recount_after(began), "a change in the guest"))

    def _release(self, removal: PendingRemoval) -> None:
        """Mark the id and the slot as free again."""
        self._kept.pop(removal.device, None)
        self.watch.forget(removal.device)
        self.machine.release(removal.device, Deadline(self.rest.budget.operation, "let go of what is gone"))
        if removal.what == "cpu":
            self._processor_gone = removal.name

    def survives(self, what: str, deadline: Deadline) -> None:
        """Raise InfrastructureError if a change of the machine would crash QEMU after a processor was removed."""
        if not self._processor_gone or self.machine.spec.accelerator != "tcg":
            return
        said = self.machine.execute("query-version", deadline)["qemu"]
        version = f"{said['major']}.{said['minor']}.{said['micro']}"
        if dies_of_change(version, "tcg"):
            raise fatal_change(version, what, self._processor_gone)

    def still_there(self, operation: op.AddCpu | op.AddDimm, holder: str, deadline: Deadline) -> None:
        """Raise GuestRefused if the id or the slot belongs to a device that the guest did not give back."""
        if not self._kept or operation.expect == "refused":
            return
        for device in filter(None, (operation.id, holder)):
            if why := self._kept.get(device):
                listed = [slot.qom.rpartition("/")[2] for slot in self.machine.cpu_slots(deadline)]
                if device in listed or any(d.id == device for d in self.machine.memory_devices(deadline)):
                    raise GuestRefused(
                        f"{device!r} is still there: {why}",
                        hint="Give the add another id, and no slot or another one.",
                    )


def recount_after(began: float) -> float:
    """Return the seconds after which a guest is counted again without a record of a change, since ``began``.

    Memory becomes usable without one, as does everything on a guest whose driver reports on request only.
    """
    return pause_after(time.monotonic() - began, FIRST_RECOUNT, LONGEST_RECOUNT)


def lists(machine: Machine, what: str, device: str, deadline: Deadline) -> bool:
    """Return whether QEMU lists a processor or a DIMM with the id ``device``."""
    if what == "dimm":
        return any(dimm.id == device for dimm in machine.memory_devices(deadline))
    return any(slot.qom.endswith(f"/{device}") for slot in machine.cpu_slots(deadline))


def counted_of(what: str, counts: GuestCounts) -> int:
    """Return the guest's count of processors, or of bytes of memory."""
    return counts.processors if what == "cpu" else counts.memory
