# SPDX-License-Identifier: MIT
"""Who is to blame for a run without a clean verdict: the one place that decides a run's failure class.

A violated rule comes first, because it is proved: the contract's, or the driver's own. Otherwise it is what ended the run,
the first of its faults; a guest that fell silent after its console told of a crash did not hang, it crashed. What is left,
a run that came to its end and yet proves too little, nobody can be blamed for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harness.contract.verdict import Level, Verdict
from harness.errors import FailureClass
from harness.history.bug_check import panic_words
from harness.history.record import Console, Qmp, Record, RunFailure

CRASHED = FailureClass.BUG_CHECK


def tells_of_crash(record: Record) -> bool:
    """Return whether the guest itself said here that it crashed: on its console, or to QEMU."""
    if isinstance(record, Console):
        return record.severity == "crash"
    return isinstance(record, Qmp) and record.direction == "in" and bool(panic_words(record.message))


def failure_class(
    verdict: Verdict, broken: Collection[Level], faults: Sequence[RunFailure], *, crashed: bool
) -> FailureClass | None:
    """Return who is to blame, None if nobody need be.

    ``broken`` are the levels of the rules that make the run violated, ``faults`` the run's in their order; ``crashed`` says
    whether the guest told of a crash. A class that an older or newer harness wrote and this one does not know is unknown.
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
