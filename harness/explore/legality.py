# SPDX-License-Identifier: MIT
"""The legal sequences of operations: those accepted by the plan checker and by the driver's state."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cache

import msgspec

from harness.errors import BadDocument
from harness.explore.driver_state import DriverState, IllegalOperation
from harness.explore.vocabulary import OUTCOMES, speaks, vocabulary
from harness.run.operation import Operation, Resume, Settle, Unplug
from harness.run.options import RunOptions
from harness.run.plan import MachineWishes, Plan, checked
from harness.run.rehearsal import change_after_removal, rehearse
from harness.run.removed_processor import dies_of_change

MACHINE = MachineWishes(max_processors=6)
"""The machine of every explored plan, so that all begin from one ready snapshot."""

LONGEST = 16
"""The most operations of an explored plan: generated ones and those that its end needs."""

OperationSequence = tuple[Operation, ...]


class Legality:
    """Legal sequences of operations for the guest of ``options``. ``qemu`` is the version of its QEMU, "" if it is not known."""

    def __init__(self, options: RunOptions, *, machine: MachineWishes = MACHINE, qemu: str = "") -> None:
        self._options = options
        self._machine = machine
        self._words = vocabulary(options.guest)
        self._dies_of_change = not qemu or dies_of_change(qemu, "tcg")

    def speaks(self, operations: Sequence[Operation]) -> bool:
        """Tell whether generated plans of this guest can have ``operations``."""
        return len(operations) <= LONGEST and all(speaks(one, self._words) for one in operations)

    def plan(self, operations: Sequence[Operation], *, name: str = "explored") -> Plan:
        """Return the plan that executes ``operations``."""
        return Plan(name=name, machine=self._machine, do=list(operations))

    def settled(self, operations: Sequence[Operation]) -> OperationSequence | None:
        """Return ``operations`` with their expected outcomes, None if they are not a legal beginning of a plan."""
        state = DriverState(self._options.guest)
        try:
            taken = tuple(state.take(operation) for operation in operations)
        except IllegalOperation:
            return None
        return taken if not taken or self._passes(taken) else None

    def repaired(self, operations: Sequence[Operation]) -> OperationSequence | None:
        """Return ``operations`` as a whole plan, without those that the driver would refuse after others were
        removed."""
        state, taken = DriverState(self._options.guest), []
        for operation in operations:
            with contextlib.suppress(IllegalOperation):
                taken.append(state.take(operation))
        return self.completed(taken)

    def completed(self, operations: Sequence[Operation]) -> OperationSequence | None:
        """Return ``operations`` as a whole plan. A guest that is paused at its end is resumed. Return None for an
        illegal or empty plan."""
        settled = self.settled(operations)
        if not settled:
            return None
        state = DriverState(self._options.guest)
        for operation in settled:
            state.take(operation)
        if state.vetoing:
            return None
        ending = ([Resume()] if state.paused else []) + ([Settle()] if state.open else [])
        return self.settled([*settled, *ending]) if ending else settled

    def _passes(self, operations: OperationSequence) -> bool:
        options, plan = self._options, self.plan(operations)
        try:
            checked(plan, "", plan.name)
            rehearse(
                plan,
                guest=options.guest,
                machine=options.machine,
                backend=options.backend,
                kd=options.kd,
            )
        except BadDocument:
            return False
        removes = any(isinstance(one, Unplug) for one in operations)
        return (
            not (removes and self._dies_of_change) or change_after_removal(plan, guest=options.guest) is None
        )


def simpler(operation: Operation) -> list[Operation]:
    """Return ``operation`` with its arguments simplified, one at a time: to the default, or to the least value."""
    found: list[Operation] = []
    for field in _fields(type(operation)):
        if field.name in (*OUTCOMES, "driver", "device"):
            continue
        value = getattr(operation, field.name)
        least = LEAST.get(field.name, field.default)
        if least is not msgspec.NODEFAULT and value != least and field.name != "which":
            found.append(msgspec.structs.replace(operation, **{field.name: least}))
    return found


@cache
def _fields(kind: type[Operation]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


LEAST = {"size": "128 MiB", "milliseconds": 1}
"""The least value of an argument without a default."""
