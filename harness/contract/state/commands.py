# SPDX-License-Identifier: MIT
"""What the host did: the operations of the run, its commands to add and to give back, and the windows of their effects.

A window begins with a command and ends with the next one: what comes in it may be the command's effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contract.state.attempts import MOST_ATTEMPTS
from harness.contract.state.entities import AddWindow, HostAdd, Registration
from harness.contract.state.evidence import MOST_LOSSES
from harness.history import record as r

if TYPE_CHECKING:
    from harness.contract.state.model import Model

MOST_OWED = 65536
"""Commands remembered per registration whose arrivals it is still to get."""

MOST_COMMANDS = 65536
"""Names of commands remembered."""


class HostCommands:
    """The host's side of a history.

    Over the whole history: ``operations`` are begun and not ended. ``found`` are the devices added before a boot and not
    yet agreed on, since firmware may reset the machine once more. ``known``: the host's side is in the history. ``held``
    and ``acted``: a user had the guest, and an operation was executed.

    Since the last boot: ``adds`` whose outcome is not established; ``cpu_in_flight``. ``window`` is that of the last
    command, until the next, ``cpu_window`` that of the last processor adds. ``cpu_adds`` counts the commands to add a
    processor, ``cpu_plugged`` those that QEMU did not refuse. ``removals`` are the requests to give a device back whose
    outcome is not established. ``retry_possible``: the last processor was not added, and Windows may try again.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.known = False
        self.held = self.acted = False
        self.operations: dict[int, r.OperationProgress] = {}
        self.found: dict[str, r.Add] = {}
        self._commanded: dict[str, str] = {}
        self.begin_boot()

    def begin_boot(self, *, restored: bool = False) -> None:
        """Record that the guest boots. What was under way has no outcome, and the devices that are there are found."""
        if restored:
            self._commanded.clear()
        self.adds: dict[str, HostAdd] = {}
        self.cpu_in_flight: dict[str, HostAdd] = {}
        self.window: HostAdd | None = None
        self.cpu_window: AddWindow | None = None
        self.cpu_adds = 0
        self.cpu_plugged = 0
        self.last_cpu_add_at = 0
        self.first_cpu_add: HostAdd | None = None
        self.agreed_on: HostAdd | None = None
        self.removals: dict[str, r.Removal] = {}
        self.retry_possible = False
        self._unsettled: dict[str, HostAdd] = {}
        self._clean: list[HostAdd] = []

    def end_boot(self) -> None:
        """Record that the boot is over: the effects of the last command are then complete."""
        if self.window is not None:
            self._close_window()
        self._close_cpu_window()

    def operation(self, operation: r.OperationProgress) -> None:
        """Take the beginning or the end of an operation of the plan."""
        self.known = True
        self._model.facts.add("record of the run")
        self.acted = True
        if operation.phase == "begin" and len(self.operations) < MOST_LOSSES:
            self.operations[operation.index] = operation
        elif operation.phase in ("end", "fail"):
            self.operations.pop(operation.index, None)

    def stage(self, stage: r.Stage) -> None:
        """Take a stage of the run: in one of them a user holds the guest."""
        self.held = self.held or stage.name == "held"

    def removal(self, removal: r.Removal) -> None:
        """Take a request to give a device back. A processor that is gone is no longer counted by the guest."""
        self.known = True
        self._model.facts.add("host command")
        if removal.phase == "begin":
            if self.window is not None:
                self._close_window()
            if not self.cpu_in_flight:
                self._close_cpu_window()
            if len(self.removals) < MOST_ATTEMPTS:
                self.removals[removal.request] = removal
        elif removal.phase == "refused":
            self.removals.pop(removal.request, None)
        elif removal.phase == "settled" and removal.outcome == "gone" and removal.what == "cpu":
            self._model.counts.cpu_gone += 1

    def _found(self, add: r.Add) -> HostAdd:
        """Take a device that was added before the guest booted. It is not a hot-add, so nothing is announced."""
        self.known = True
        self._model.facts.add("host command")
        if add.phase == "begin" and len(self.found) < MOST_ATTEMPTS:
            self.found[add.attempt] = add
        elif add.phase == "refused":
            self.found.pop(add.attempt, None)
        return HostAdd(begin=add, at=0, settled_at=0)

    def add(self, add: r.Add) -> HostAdd:
        """Take a step of an add and return the command that it belongs to."""
        if add.expected == "found":
            return self._found(add)
        self.known = True
        if add.phase == "begin":
            if add.attempt in self._commanded:
                self._model.evidence.contradict(f"command {add.attempt} began twice", (add,))
            elif len(self._commanded) < MOST_COMMANDS:
                self._commanded[add.attempt] = add.what
            return self._begin_add(add)
        if self._commanded.get(add.attempt, "") != add.what and len(self._commanded) < MOST_COMMANDS:
            self._model.evidence.contradict(
                f"command {add.attempt} was {add.phase} and never began as one for a {add.what}", (add,)
            )
        if add.attempt not in self.adds:
            return HostAdd(begin=add, at=self._model.at, settled_at=self._model.at)
        host = self.adds[add.attempt]
        if add.phase == "accepted":
            host.accepted = True
        elif add.phase == "refused":
            host.refused, host.detail = True, add.detail
        elif add.phase == "unsure":
            host.unsure = True
        if add.phase in ("settled", "refused"):
            host.settled_at = self._model.at
            self._unsettled.pop(add.attempt, None)
            self.cpu_in_flight.pop(add.attempt, None)
            if add.phase == "refused":
                self._refused(host)
            self._forget(host)
        return host

    def _refused(self, host: HostAdd) -> None:
        """Record that QEMU refused a command: it announces no processor, and no arrival of its DIMM is expected."""
        if host.begin.what == "cpu":
            self.cpu_plugged -= 1
            if (
                not self.cpu_in_flight
                and not self.retry_possible
                and self._model.attempts.opened > host.starts_before
            ):
                self._model.evidence.contradict(
                    f"QEMU refused {host.begin.attempt}, and a processor was announced after it was sent",
                    (host.begin,),
                )
            return
        at = host.at
        for registration in self._model.registrations.each():
            if (at, 1) in registration.owed[-1:] and registration.cls == "memory":
                registration.owed.pop()

    def _forget(self, host: HostAdd) -> None:
        if host.agreed and host.settled_at:
            self.adds.pop(host.begin.attempt, None)

    def _begin_add(self, add: r.Add) -> HostAdd:
        host = HostAdd(
            begin=add,
            at=self._model.at,
            starts_before=self._model.attempts.opened,
            active_before=self._model.counts.counted(),
        )
        if self.window is not None:
            if not self.window.settled_at:
                self.window.clean = host.clean = False
            self._close_window()
        self._model.facts.add("host command")
        if add.what == "dimm":
            self._model.facts.add("host command to add a DIMM")
        if add.what == "cpu":
            self._model.facts.add("host command to add a processor")
            if self.cpu_adds:
                self._model.facts.add("two hot-adds")
            self._open_cpu_window()
            if not self.cpu_in_flight and self._model.attempts.all_closed:
                self._model.attempts.barrier = self._model.at
            self.cpu_adds += 1
            self.cpu_plugged += 1
            self.retry_possible = False
            self.last_cpu_add_at = self._model.at
            self.first_cpu_add = self.first_cpu_add or host
            for other in self._clean:
                if not other.settled_at:
                    other.clean = False
            self._clean.clear()
            self.cpu_in_flight[add.attempt] = host
        else:
            if not self.cpu_in_flight:
                self._close_cpu_window()
            if (
                self.cpu_in_flight
                or not self._model.attempts.all_closed
                or self._model.attempts.opened < self.cpu_plugged
                or self.retry_possible
            ):
                host.clean = False
            self._owe_memory(add)
        self.adds[add.attempt] = self._unsettled[add.attempt] = host
        self._clean.append(host)
        del self._clean[:-MOST_ATTEMPTS]
        if len(self.adds) > MOST_ATTEMPTS:
            del self.adds[next(iter(self.adds))]
        if len(self._unsettled) > MOST_ATTEMPTS:
            del self._unsettled[next(iter(self._unsettled))]
        self.window = host
        return host

    def _open_cpu_window(self) -> None:
        """Record that a processor add begins: alone, or joining those in flight."""
        if self.cpu_window is not None and self.cpu_in_flight:
            self.cpu_window.adds += 1
            return
        self._close_cpu_window()
        self.cpu_window = AddWindow(
            at=self._model.at, base=self._model.counts.counted(),
            earlier=self.cpu_plugged > 0,
            failed=self._model.attempts.failures > 0,
            starts={stream: stream.starts for stream in self._model.streams.values()},
        )  # fmt: skip

    def _close_cpu_window(self) -> None:
        """Record that the next host command begins, or the boot is over: the effects of an add are then complete."""
        window = self.cpu_window
        if window is None or window.closed_at:
            return
        window.closed_at = self._model.at
        window.grown = max(window.grown, self._model.active)
        for registration in self._model.registrations.each():
            if registration.alive:
                self.owe(registration, window)
        self._model.emit(AddWindow, window)

    def owe(self, registration: Registration, window: AddWindow) -> None:
        """Note how many arrivals of a window's processors a registration should get."""
        if registration.sync or registration.cls != "cpu" or not 0 < registration.done_at < window.at:
            return
        count = window.completes if window.completes or window.failures else min(window.agreed, window.adds)
        if count and len(registration.owed) < MOST_OWED:
            registration.owed.append((window.at, count))

    def _owe_memory(self, add: r.Add) -> None:
        if add.expected != "added":
            return
        for registration in self._model.registrations.each():
            if (
                not registration.sync and registration.alive and registration.cls == "memory"
                and registration.base_at > 0 and len(registration.owed) < MOST_OWED
            ):  # fmt: skip
                registration.owed.append((self._model.at, 1))
                self._model.facts.add("hot-add of a DIMM with a memory registration")

    def _close_window(self) -> None:
        window, self.window = self.window, None
        self._model.emit(HostAdd, window)

    def agreement(self, agreement: r.Agreement) -> None:
        """Take what QEMU, the firmware and the guest agree on: the outcome of a command is established."""
        host = self.agreed_on = self.adds.get(agreement.attempt)
        self.removals.pop(agreement.attempt, None)
        self.found.pop(agreement.attempt, None)
        if host is not None:
            host.agreed, host.detail = agreement.agreed, agreement.detail
            host.unshown = bool(agreement.unshown)
            added = agreement.agreed and host.begin.expected == "added"
            if host.begin.what == "cpu":
                self._model.counts.agreed_count = max(
                    self._model.counts.agreed_count, agreement.counted_after
                )
                self._model.counts.compare(agreement.counted_after, agreement)
                if host is self.first_cpu_add and self._model.counts.count is not None:
                    self._model.counts.first(self._model.counts.count, agreement)
            if host.begin.what == "cpu" and not added:
                self.retry_possible = True
            if self.cpu_window is not None and self.cpu_window.at <= host.at:
                grown = agreement.counted_after > agreement.counted_before
                self.cpu_window.agreed += host.begin.what == "cpu" and added and grown
            self._forget(host)
