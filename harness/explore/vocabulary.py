# SPDX-License-Identifier: MIT
"""The vocabulary of explored plans: the kinds of operations, and which values each of their fields can have.

Generated operations come from it. What a corpus has besides, a field with another value or another kind, is refused: a corpus is a
file that anybody may have written, and operations of plans can name a program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from harness.run import operation as op
from harness.run.options import is_process
from harness.size import Size

DRIVERS = ("hpnotify", "second")
REGISTRATIONS = ("sync", "sync2", "processors", "memory")
BOOLS = (False, True)

Choices = Mapping[str, tuple[Any, ...]]
"""The values of each field that varies; the others have their defaults."""

EVERYWHERE: Mapping[type[op.Operation], Choices] = {
    op.AddCpu: {},
    op.AddDimm: {"size": tuple(Size(text) for text in ("128 MiB", "256 MiB", "384 MiB"))},
    op.VetoNext: {"driver": DRIVERS},
    op.Register: {"which": REGISTRATIONS, "existing": BOOLS, "driver": DRIVERS},
    op.Deregister: {"which": REGISTRATIONS, "driver": DRIVERS},
    op.UnloadDriver: {"driver": DRIVERS},
    op.LoadDriver: {
        "driver": DRIVERS,
        "add_existing": BOOLS,
        "pnp": BOOLS,
        "opt_out": BOOLS,
        "veto": (0, 1, 2),
    },
    op.Pause: {},
    op.Resume: {},
    op.Settle: {},
    op.DelayStart: {"milliseconds": (1, 5, 20), "driver": DRIVERS},
}
"""What guests can show in general. A driver with ``pnp`` has devices, which are rebalanced."""

WITH_QEMU: Mapping[type[op.Operation], Choices] = {
    op.DropMonitor: {},
    op.Reset: {"add_cpus": (0, 1, 2)},
    op.Migrate: {"fail": (None, "cancelled", "target-killed")},
    op.Unplug: {"device": ("cpu-1", "cpu-2", "cpu-3", "cpu-4", "dimm-1", "dimm-2", "dimm-3", "dimm-4")},
}
"""What a guest can show that is not a process."""

ON_THE_TWIN: Mapping[type[op.Operation], Choices] = {op.AnswerUnplugs: {"by": ("give", "refuse")}}
"""What the twin alone can show."""

OUTCOMES = ("expect", "settle")
"""Fields that follow from the operations before (:mod:`harness.explore.driver_state`)."""


def vocabulary(guest: str) -> dict[type[op.Operation], Choices]:
    """Return the kinds of operations that are explored on ``guest``, with the values of their fields."""
    found = dict(EVERYWHERE)
    if not is_process(guest):
        found |= WITH_QEMU
    if guest == "twin":
        found |= ON_THE_TWIN
    if guest.startswith("windows"):
        # Each would boot anew: a ready snapshot has no such device (harness.run.request).
        choices = EVERYWHERE[op.LoadDriver]
        found[op.LoadDriver] = {key: choices[key] for key in choices if key not in ("pnp", "opt_out")}
    return found


def speaks(operation: op.Operation, words: Mapping[type[op.Operation], Choices]) -> bool:
    """Tell whether an operation has a kind and values of a vocabulary; its outcome is not looked at."""
    choices = words.get(type(operation))
    if choices is None:
        return False
    for field in msgspec.structs.fields(operation):
        if field.name in OUTCOMES:
            continue
        value = getattr(operation, field.name)
        if value not in choices.get(field.name, (field.default,)):
            return False
    return True
