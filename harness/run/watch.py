# SPDX-License-Identifier: MIT
"""What the history has shown so far: tallies of driver records, firmware answers, resets and crashes, to wait
for."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from harness import locks
from harness.deadline import Deadline
from harness.errors import GuestCrash, InfrastructureError
from harness.history import driver, record
from harness.history.bug_check import PAGE, panic_words
from harness.history.record import Record
from harness.history.writer import HistoryWriter
from harness.machine import qmp_schema

_SYNC = {driver.START: "start", driver.COMPLETE: "complete", driver.FAILURE: "failure"}
_ARRIVAL = {"cpu": "cpu-arrival", "memory": "memory-arrival"}

ADDED = (0x0, 0x1, 0x200)
"""Sources of ``_OST`` for a new device: bus check, device check, insertion (ACPI 6.5, section 6.3.5)."""

MOST_INSTANCES = 10_000
"""Maximum number of drivers per boot that are distinguished; more, invented by a guest, are not counted."""


def crash_hint(crash: str) -> str:
    """Return the hint for a crash, by its message."""
    if crash.startswith("bug check"):
        return f"The code and its parameters: {PAGE}. The dump, if Windows wrote one, is in the evidence."
    return "What it said last is in console.log."


class Watch:
    """Listens to a history. ``tally`` counts finished hot-add callbacks since :meth:`rebase`, by the names plans use.

    Callbacks inside a registration's call span are for existing processors and are not counted. Neither are
    arrivals inside the span of a registration that requested existing interfaces. An arrival counts once per
    link, since existing interfaces may be announced twice (DDI:
    wdm/nf-wdm-ioregisterplugplaynotification.md). Records that a driver writes to several channels count on
    the channel of its first record. ``untold`` is what a driver with mapped events has no event for; it is
    not awaited.

    ``ours`` are the devices that the machine starts with. ``stranger`` is the first device with an ``_OST``
    that no command of this run added.
    """

    def __init__(
        self, writer: HistoryWriter, *, alive: Callable[[], None] = lambda: None, ours: Iterable[str] = ()
    ) -> None:
        self.tally: Counter[str] = Counter()
        self.ost: dict[str, list[tuple[int, int]]] = {}
        self.resets = 0
        self.crash = ""
        self.stranger = ""
        self.untold: frozenset[str] = frozenset()
        self.last_driver = time.monotonic()
        self.unexpected_resets = 0
        self._ours = set(ours)
        self._rebooting = False
        self._registering: set[tuple[str, str]] = set()
        self._asking: set[tuple[str, str, int]] = set()
        self._links: set[str] = set()
        self._counted: dict[tuple[str, str], str] = {}
        self._pending: dict[tuple[str, str, int], str] = {}
        self._changed = locks.condition("watch")
        self._version = 0
        self._writer = writer
        self._alive = alive
        writer.subscribe(self._see)

    def rebase(self) -> None:
        """Restart counting; known links stay known."""
        with self._changed:
            self.tally.clear()

    def forget(self, device: str) -> None:
        """Forget a removed device: its ``_OST`` says nothing about the next device with that id."""
        with self._changed:
            self.ost.pop(device, None)

    def expect_reset(self) -> None:
        """Note that the harness itself is about to reset the machine: until the guest is ready again, a reset is not a crash.

        There may be two: after a reset SeaBIOS resets the machine a second time to restore its own code.
        """
        with self._changed:
            self._rebooting = True

    def wait(self, met: Callable[[], bool], deadline: Deadline) -> bool:
        """Wait until ``met()``, or return False when the deadline passes.

        Raises what :meth:`check` raises. ``met`` and ``alive`` are called without a lock: they may wait for
        the thread that delivers a record here.
        """
        while True:
            version = self._version
            self.check()
            if met():
                return True
            if deadline.expired:
                return False
            with self._changed:
                if self._version == version:
                    self._changed.wait(min(deadline.remaining(), 0.1))

    def wait_change(self, version: int, deadline: Deadline) -> bool:
        """Wait until something has happened since ``version`` was read."""
        return self.wait(lambda: self._version != version, deadline)

    @property
    def version(self) -> int:
        """A number that increases whenever something relevant happened."""
        return self._version

    def check(self) -> None:
        """Raise GuestCrash if the guest crashed or reset itself, or what ``alive`` raises if QEMU ended.

        Raises InfrastructureError if another client added a device: its notifications are not caused by this
        run.
        """
        if self.crash:
            raise GuestCrash(f"the guest crashed: {self.crash[:200]}", hint=crash_hint(self.crash))
        if self.unexpected_resets:
            raise GuestCrash(
                "the guest reset itself",
                hint="Its console up to the reset is in console.log; the run is unknown from there.",
            )
        if self.stranger:
            raise InfrastructureError(
                f"{self.stranger} was added by another client of QEMU or libvirt, and not by this run",
                hint="Keep others from this machine: the guest's drivers are notified of their devices too.",
            )
        self._alive()

    def _see(self, seen: Record) -> None:
        if isinstance(seen, record.Qmp) and (derived := self._derived(seen)) is not None:
            self._writer.write(derived, host_ns=seen.host_ns)
        with self._changed:
            if isinstance(seen, driver.DriverRecord):
                self.last_driver = time.monotonic()
                self._see_driver(seen)
            elif isinstance(seen, record.Ost):
                self.ost.setdefault(seen.device, []).append((seen.source, seen.status))
            elif isinstance(seen, record.Console) and seen.severity == "crash":
                self.crash = self.crash or seen.text
            elif isinstance(seen, record.Qmp):
                self._see_device(seen.message)
                self._see_event(seen.message.get("event"))
                self.crash = self.crash or panic_words(seen.message)
            elif isinstance(seen, record.Mapped):
                self.untold = frozenset() if "async.enter" in seen.absent else frozenset(_ARRIVAL.values())
            elif isinstance(seen, record.GuestEvent):
                self._rebooting = self._rebooting and seen.event != "ready"
            else:
                return
            self._version += 1
            self._changed.notify_all()

    def _derived(self, seen: record.Qmp) -> record.Boot | record.Ost | None:
        """Return the additional record for an event, written right after its message.

        The event log refuses an event that breaks QEMU's schema; nothing is derived from it.
        """
        if "event" not in seen.message:
            return None
        try:
            event = qmp_schema.read_event(seen.message)
        except InfrastructureError:
            return None
        if event.event == "RESET":
            return record.Boot(
                epoch=self.resets + 2, cause="guest-reset" if event.data["guest"] else "host-reset"
            )
        if event.event != "ACPI_DEVICE_OST":
            return None
        info = msgspec.convert(event.data, qmp_schema.AcpiDeviceOst).info
        return record.Ost(
            device=info.device[:100],
            slot=info.slot[:20],
            slot_type=info.slot_type[:20],
            source=info.source,
            status=info.status,
            qemu_us=event.timestamp.seconds * 1_000_000 + event.timestamp.microseconds,
        )

    def _see_device(self, message: dict[str, Any]) -> None:
        """Distinguish this run's devices from others: libvirt's events have the harness's names beside libvirt's."""
        if message.get("execute") == "device_add":
            self._ours.add(str(message.get("arguments", {}).get("id", "")))
        elif message.get("event") == "ACPI_DEVICE_OST" and "libvirt" not in message:
            with contextlib.suppress(msgspec.ValidationError, KeyError, TypeError):
                info = msgspec.convert(message["data"], qmp_schema.AcpiDeviceOst).info
                if info.source in ADDED and info.device and info.device not in self._ours:
                    known = f"device {info.device!r:.80} ({info.slot_type!s:.10} slot {info.slot!s:.10})"
                    self.stranger = self.stranger or known

    def _see_event(self, name: object) -> None:
        if name == "RESET":
            self.resets += 1
            self.unexpected_resets += not self._rebooting
            self._registering.clear()
            self._asking.clear()
            self._pending.clear()

    def _see_driver(self, seen: driver.DriverRecord) -> None:
        instance = (seen.boot, seen.driver)
        if len(self._counted) < MOST_INSTANCES:
            self._counted.setdefault(instance, seen.channel)
        if self._counted.get(instance) != seen.channel:
            return
        match seen:
            case driver.CallEnter(call="reg_sync"):
                self._registering.add(instance)
            case driver.CallExit(call="reg_sync"):
                self._registering.discard(instance)
            case driver.CallEnter(call="reg_async", flags=flags, reg=reg) if flags & 1:
                self._asking.add((*instance, reg))
            case driver.CallExit(call="reg_async", reg=reg):
                self._asking.discard((*instance, reg))
            case driver.SyncExit(state=state) if instance not in self._registering:
                self.tally[_SYNC.get(state, "")] += 1
            case driver.AsyncEnter(event="arrival", cls=cls, link=link) if link not in self._links:
                if len(self._links) < 100_000:
                    self._links.add(link)
                if (*instance, seen.reg) not in self._asking:
                    self._pending[(*instance, seen.seq)] = cls
            case driver.AsyncExit(enter=enter):
                cls = self._pending.pop((*instance, enter), "")
                self.tally[_ARRIVAL.get(cls, "")] += 1
            case _:
                pass
