# SPDX-License-Identifier: MIT
"""The kinds of subject that a rule can be called with, and the type of each kind's subjects.

A kind is a kind of record, as the model completes it, or an entity of the model that no single record ends.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from harness.contract.state.entities import (
    AddWindow,
    Arrival,
    Attempt,
    Callback,
    CallSpan,
    Epoch,
    Growth,
    HostAdd,
    Sample,
)
from harness.contract.state.merge import Gap, Repeat, Stale
from harness.history import driver as d
from harness.history import record as r

S_co = TypeVar("S_co", covariant=True)
T = TypeVar("T")


class SubjectKind(Generic[S_co]):
    """One kind of subject, or several: ``kind.ATTEMPT | kind.EPOCH`` gives an attempt or an epoch.

    ``of`` are the classes of the records or entities after which a subject of type ``S_co`` is given.
    ``conditions`` select the subjects of each class, as an expression of ``subject`` and ``model``; "" for all. They avoid
    calls for which a rule would only return None.
    """

    __slots__ = ("conditions", "of")

    def __init__(self, of: type[Any] | tuple[type[Any], ...], *conditions: str) -> None:
        self.of = of if isinstance(of, tuple) else (of,)
        self.conditions = conditions or ("",) * len(self.of)

    def __or__(self, other: SubjectKind[T]) -> SubjectKind[S_co | T]:
        return SubjectKind(self.of + other.of, *self.conditions, *other.conditions)

    def given(self, condition: str) -> SubjectKind[S_co]:
        """Return the kind of those subjects for which ``condition`` is true. For the others the rule would return None."""
        return SubjectKind(
            self.of, *(f"{one} and {condition}" if one else condition for one in self.conditions)
        )


SYNC_ENTER: SubjectKind[Callback] = SubjectKind(d.SyncEnter)
START: SubjectKind[Callback] = SubjectKind(d.SyncEnter, f"subject.enter.state == {d.START}")
COMPLETE: SubjectKind[Callback] = SubjectKind(d.SyncEnter, f"subject.enter.state == {d.COMPLETE}")
FAILURE: SubjectKind[Callback] = SubjectKind(d.SyncEnter, f"subject.enter.state == {d.FAILURE}")
SYNC_EXIT: SubjectKind[Callback | None] = SubjectKind(d.SyncExit)
"""None if the enter record is missing; the same holds for the other exits."""
ASYNC_ENTER: SubjectKind[Arrival] = SubjectKind(d.AsyncEnter)
ASYNC_EXIT: SubjectKind[Arrival | None] = SubjectKind(d.AsyncExit)
CALL_ENTER: SubjectKind[CallSpan] = SubjectKind(d.CallEnter)
CALL_EXIT: SubjectKind[CallSpan | None] = SubjectKind(d.CallExit)
ALLOC: SubjectKind[d.Alloc] = SubjectKind(d.Alloc)
FREE: SubjectKind[d.Free] = SubjectKind(d.Free)
BIND: SubjectKind[d.Bind] = SubjectKind(d.Bind)
PNP_ENTER: SubjectKind[d.PnpEnter] = SubjectKind(d.PnpEnter)
PNP_EXIT: SubjectKind[d.PnpExit] = SubjectKind(d.PnpExit)
MARK: SubjectKind[d.Mark] = SubjectKind(d.Mark)
SAMPLE: SubjectKind[d.DriverRecord] = SubjectKind(Sample)
"""Every driver record, before it becomes its stream's last."""
SETTLED: SubjectKind[d.DriverRecord] = SubjectKind(
    Sample, "not model.commands.cpu_in_flight and not model.attempts.unsettled"
)
"""The samples taken while no add of a processor is under way."""

BOOT: SubjectKind[r.Boot] = SubjectKind(r.Boot)
OPERATION: SubjectKind[r.OperationProgress] = SubjectKind(r.OperationProgress)
ADD: SubjectKind[HostAdd] = SubjectKind(r.Add)
COUNT: SubjectKind[r.Count] = SubjectKind(r.Count)
AGREEMENT: SubjectKind[r.Agreement] = SubjectKind(r.Agreement)
EXPECTATION: SubjectKind[r.Expectation] = SubjectKind(r.Expectation)
GUEST_EVENT: SubjectKind[r.GuestEvent] = SubjectKind(r.GuestEvent)
CHANNEL: SubjectKind[r.Channel] = SubjectKind(r.Channel)
RUN_FAILURE: SubjectKind[r.RunFailure] = SubjectKind(r.RunFailure)
END: SubjectKind[r.End] = SubjectKind(r.End)

GAP: SubjectKind[Gap] = SubjectKind(Gap)
REPEAT: SubjectKind[Repeat] = SubjectKind(Repeat)
STALE: SubjectKind[Stale] = SubjectKind(Stale)

ATTEMPT: SubjectKind[Attempt] = SubjectKind(Attempt)
"""An attempt that is over."""
COMPLETED: SubjectKind[Attempt] = SubjectKind(Attempt, "subject.completes")
REFUSED: SubjectKind[Attempt] = SubjectKind(Attempt, "subject.refused")
VETOED: SubjectKind[Attempt] = SubjectKind(Attempt, "subject.vetoed")
REPEATED: SubjectKind[Attempt] = SubjectKind(Attempt, "subject.k > 1")
CUT_SHORT: SubjectKind[Attempt] = SubjectKind(Attempt, "subject.cut")
HOST_ADD: SubjectKind[HostAdd] = SubjectKind(HostAdd)
"""A host command when the next one begins."""
ADD_WINDOW: SubjectKind[AddWindow] = SubjectKind(AddWindow)
GROWTH: SubjectKind[Growth] = SubjectKind(Growth)
EPOCH: SubjectKind[Epoch] = SubjectKind(Epoch)
"""The end of a boot, and of the history."""
