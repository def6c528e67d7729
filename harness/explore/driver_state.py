# SPDX-License-Identifier: MIT
"""The driver's state during a plan: which operations it accepts, and the expected outcome of each add.

The plan checker (:mod:`harness.run.rehearsal`) knows the machine's state. This module knows the driver's. Without it a
generated plan could request what the driver must refuse, or expect a processor that the driver vetoes.
"""

from __future__ import annotations

from functools import singledispatchmethod

import msgspec

from harness.run import operation as op

PROCESSOR_CALLBACKS = frozenset({"sync", "sync2"})
AT_LOAD = frozenset({"sync", "processors", "memory"})
"""The registrations that a driver makes when it is loaded."""


class IllegalOperation(Exception):
    """The driver would refuse an operation, or its outcome cannot be predicted. It is caught inside this package."""


class DriverState:
    """Follows the operations of a plan. ``take`` returns each with its expected outcome.

    An add waits for its consequences, unless the guest is paused. Outcomes that no document defines are avoided: at
    most one veto is pending, and only adds follow a pending veto.
    """

    def __init__(self) -> None:
        self.registered: dict[str, set[str]] = {"hpnotify": set(AT_LOAD)}
        self.vetoing = ""
        self.paused = False
        self.open = False

    def take(self, operation: op.Operation) -> op.Operation:
        """Return ``operation`` with its outcome. Raises IllegalOperation."""
        if self.vetoing and not isinstance(operation, op.AddCpu | op.AddDimm):
            raise IllegalOperation
        if self.paused and not isinstance(operation, op.AddCpu | op.AddDimm | op.Resume):
            raise IllegalOperation
        if self.open and not self.paused and not isinstance(operation, op.Settle):
            raise IllegalOperation
        return self._step(operation)

    @singledispatchmethod
    def _step(self, _operation: object) -> op.Operation:
        raise IllegalOperation

    @_step.register
    def _(self, operation: op.AddCpu) -> op.Operation:
        self.open = self.open or self.paused
        expect = "vetoed" if self.vetoing else "added"
        self.vetoing = ""
        return msgspec.structs.replace(operation, settle=not self.paused, expect=expect)

    @_step.register
    def _(self, operation: op.AddDimm) -> op.Operation:
        self.open = self.open or self.paused
        return msgspec.structs.replace(operation, settle=not self.paused)

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
        refused = operation.veto or operation.pnp or operation.opt_out or operation.expect != "loaded"
        if refused or operation.driver in self.registered:
            raise IllegalOperation
        self.registered[operation.driver] = set(AT_LOAD)
        return operation

    @_step.register
    def _(self, operation: op.UnloadDriver) -> op.Operation:
        if self.registered.pop(operation.driver, None) is None:
            raise IllegalOperation
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
