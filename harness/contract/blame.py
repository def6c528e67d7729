# SPDX-License-Identifier: MIT
"""Who is to blame for a run without a clean verdict: the one place that decides a run's failure class.

A violated rule comes first, because it is proved: a rule of the contract, or one of the driver's obligations. Otherwise
the first of the run's faults decides. A guest that fell silent after its console reported a crash did not hang: it crashed.
A run that ended normally and yet proves too little has no failure class.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harness.contract.verdict import Level, Verdict
from harness.errors import FailureClass
from harness.history.bug_check import panic_words
from harness.history.record import Console, Qmp, Record, RunFailure

CRASHED = FailureClass.BUG_CHECK


def tells_of_crash(record: Record) -> bool:
    """Return whether the guest itself reported here that it crashed: on its console, or to QEMU."""
    if isinstance(record, Console):
        return record.severity == "crash"
    return isinstance(record, Qmp) and record.direction == "in" and bool(panic_words(record.message))


def failure_class(
    verdict: Verdict, broken: Collection[Level], faults: Sequence[RunFailure], *, crashed: bool
) -> FailureClass | None:
    """Return the failure class, or None if there is none.

    ``broken`` are the levels of the rules that make the run violated. ``faults`` are the run's faults in their order.
    ``crashed`` says whether the guest reported a crash. A class that this version does not know is unknown.
    """
    if verdict is Verdict.VIOLATED:
        if Level.ERROR in broken:
            return FailureClass.CONTRACT
        if Level.ERROR_DRIVER in broken:
            return FailureClass.DRIVER
    if faults:
        first = faults[0].failure_class
        known = FailureClass(first) if first in set(FailureClass) else FailureClass.UNKNOWN
        return CRASHED if known is FailureClass.GUEST_HANG and crashed else known
    return None if verdict is Verdict.HOLDS else FailureClass.UNKNOWN
