# SPDX-License-Identifier: MIT
"""The driver's state during a plan: which operations it accepts, and the expected outcome of each add.

The plan checker (:mod:`harness.run.rehearsal`) knows the machine's state. This module knows the driver's. Without it a
generated plan could request what the driver must refuse, or expect a processor that the driver vetoes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatchmethod

import msgspec

from harness.run import operation as op

PROCESSOR_CALLBACKS = frozenset({"sync", "sync2"})
AT_LOAD = frozenset({"sync", "processors", "memory"})
"""The registrations that a driver makes when it is loaded."""
AT_BOOT = 2
"""Processors that every machine has from its boot on."""


class IllegalOperation(Exception):
    """The driver would refuse an operation, or its outcome cannot be predicted. It is caught inside this package."""


class DriverState:
    """Follows the operations of a plan on ``guest``. ``take`` returns each with its expected outcome.

    An add waits for its consequences, unless the guest is paused. Outcomes that no document defines are avoided: at
    most one veto is pending, and only adds follow a pending veto. An unplug names a device that is present.
    """

    def __init__(self, guest: str = "") -> None:
        self.guest = guest
        self.registered: dict[str, set[str]] = {"hpnotify": set(AT_LOAD)}
        self.vetoing = ""
        self.paused = False
        self.open = False
        self.with_devices = False
        self.refuses_unplugs = False
        self.added = {"cpu": 0, "dimm": 0}
        self.devices: dict[str, list[str]] = {"cpu": [], "dimm": []}

    def take(self, operation: op.Operation) -> op.Operation:
        """Return ``operation`` with its outcome. Raises IllegalOperation."""
        if self.vetoing and not isinstance(operation, op.AddCpu | op.AddDimm):
            raise IllegalOperation
        if self.paused and not isinstance(operation, op.AddCpu | op.AddDimm | op.Resume | op.Migrate):
            raise IllegalOperation
        if self.open and not self.paused and not isinstance(operation, op.Settle):
            raise IllegalOperation
        return _step(type(operation))(self, operation)

    @singledispatchmethod
    def _step(self, _operation: object) -> op.Operation:
        raise IllegalOperation

    @_step.register
    def _(self, operation: op.AddCpu) -> op.Operation:
        self.open = self.open or self.paused
        expect = "vetoed" if self.vetoing else "added"
        self._name("cpu", there=not self.vetoing)
        self.vetoing = ""
        return msgspec.structs.replace(operation, settle=not self.paused, expect=expect)

    @_step.register
    def _(self, operation: op.AddDimm) -> op.Operation:
        self.open = self.open or self.paused
        self._name("dimm", there=True)
        return msgspec.structs.replace(operation, settle=not self.paused)

    def _name(self, kind: str, *, there: bool) -> None:
        """Follow how the executor names an added device."""
        self.added[kind] += 1
        if there:
            self.devices[kind].append(f"{kind}-{self.added[kind]}")

    @_step.register
    def _(self, operation: op.VetoNext) -> op.Operation:
        if operation.nth != 1 or not PROCESSOR_CALLBACKS & self.registered.get(operation.driver, set()):
            raise IllegalOperation
        self.vetoing = operation.driver
        return operation

    @_step.register
    def _(self, operation: op.DelayStart) -> op.Operation:
        if operation.driver not in self.registered:
            raise IllegalOperation
        return operation

    @_step.register
    def _(self, operation: op.Register) -> op.Operation:
        made = self.registered.get(operation.driver)
        if made is None or operation.which in made or operation.expect != "made":
            raise IllegalOperation
        made.add(operation.which)
        return operation

    @_step.register
    def _(self, operation: op.Deregister) -> op.Operation:
        made = self.registered.get(operation.driver, set())
        if operation.which not in made:
            raise IllegalOperation
        made.discard(operation.which)
        return operation

    @_step.register
    def _(self, operation: op.LoadDriver) -> op.Operation:
        # The devices are those of one driver.
        devices = operation.pnp and operation.driver != "hpnotify"
        if operation.driver in self.registered or devices or (operation.opt_out and not operation.pnp):
            raise IllegalOperation
        if operation.veto:
            # A driver that vetoes an existing processor while it registers cannot be loaded.
            if operation.veto > AT_BOOT or operation.pnp or not operation.add_existing:
                raise IllegalOperation
            return msgspec.structs.replace(operation, expect="refused")
        self.registered[operation.driver] = set(AT_LOAD)
        self.with_devices = self.with_devices or operation.pnp
        return msgspec.structs.replace(operation, expect="loaded")

    @_step.register
    def _(self, operation: op.UnloadDriver) -> op.Operation:
        if self.registered.pop(operation.driver, None) is None:
            raise IllegalOperation
        if operation.driver == "hpnotify":
            self.with_devices = False
        return operation

    @_step.register
    def _(self, operation: op.Pause) -> op.Operation:
        self.paused = True
        return operation

    @_step.register
    def _(self, operation: op.Resume) -> op.Operation:
        if not self.paused:
            raise IllegalOperation
        self.paused = False
        return operation

    @_step.register
    def _(self, operation: op.Settle) -> op.Operation:
        if not self.open:
            raise IllegalOperation
        self.open = False
        return operation

    @_step.register
    def _(self, operation: op.DropMonitor) -> op.Operation:
        if operation.when != "now":
            raise IllegalOperation
        return operation

    @_step.register
    def _(self, operation: op.Reset) -> op.Operation:
        # Windows starts a driver that has devices at its boot, and no page says when.
        if self.with_devices:
            raise IllegalOperation
        self.registered.clear()
        # They are present from the boot on, and are not removed.
        self.devices = {"cpu": [], "dimm": []}
        return operation

    @_step.register
    def _(self, operation: op.Migrate) -> op.Operation:
        if operation.qemu is not None or (self.paused and operation.fail is not None):
            raise IllegalOperation
        return msgspec.structs.replace(operation, settle=True)

    @_step.register
    def _(self, operation: op.AnswerUnplugs) -> op.Operation:
        if operation.by == "ignore":
            raise IllegalOperation
        self.refuses_unplugs = operation.by == "refuse"
        return operation

    @_step.register
    def _(self, operation: op.Unplug) -> op.Operation:
        there = self.devices.get(operation.device.partition("-")[0], [])
        if not there:
            raise IllegalOperation
        # Shrinking may have removed the add of the named device.
        device = operation.device if operation.device in there else there[-1]
        if self.guest != "twin":
            return msgspec.structs.replace(operation, device=device, expect="kept")
        if self.refuses_unplugs:
            return msgspec.structs.replace(operation, device=device, expect="refused")
        there.remove(device)
        return msgspec.structs.replace(operation, device=device, expect="gone")


_step: Callable[[type], Callable[[DriverState, op.Operation], op.Operation]]
_step = vars(DriverState)["_step"].dispatcher.dispatch
"""The method for a kind of operation. To ask the state for its own makes a new function each time, thousands of times."""
