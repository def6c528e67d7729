# SPDX-License-Identifier: MIT
"""R.3, the failed and the vetoed hot add."""

# ruff: noqa: ARG001 - every predicate takes its subject and the model, whether it needs both or not

from __future__ import annotations

from harness.contract.order import edge
from harness.contract.rules import subject_kind as kind
from harness.contract.rules.rule import (
    CLEARED,
    HOLDS,
    Broken,
    Exempt,
    Observed,
    RuleOutcome,
    Section,
    Unclear,
    noted,
    some,
    status_of,
)
from harness.contract.state.entities import CONTEXT, SAMPLE, Attempt, Callback
from harness.contract.state.model import Model
from harness.contract.verdict import Level
from harness.history import driver as d
from harness.history.driver import COMPLETE, FAILURE, START, nt_success
from harness.history.nt_status import status_name

SECTION = Section("R.3", "Synchronous, failure and veto")
rule = SECTION.rule

REGISTER = "DDI:wdm/nf-wdm-keregisterprocessorchangecallback.md"
STRUCT = "DDI:wdm/ns-wdm-_ke_processor_change_notify_context.md"
PROCESSING = "WD:kernel/processing-a-synchronous-driver-notification.md"
ARRIVES = "WD:kernel/processing-an-asynchronous-driver-notification.md"
CALLBACK_OBJECT = "DDI:wdm/nf-wdm-exregistercallback.md"

FIELDS = {
    "state": "State",
    "nt": "NtNumber",
    "group": "ProcNumber.Group",
    "number": "ProcNumber.Number",
    "status": "Status",
}
"""The fields of KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT that records hold, by the records' names."""


@rule(
    "FAIL-STATUS-ERROR", Level.ERROR, kind.FAILURE, clauses="A16", source=STRUCT,
    says="the status of a Failure is an error, because it is the reason", needs="Failure",
    holds="S2! F2", violates="S2! F2{status=0}",
)  # fmt: skip
def failure_status(call: Callback, model: Model) -> RuleOutcome:
    """Judge a hot add. For Failures of a registration with ADD_EXISTING it is only a warning (U6)."""
    enter = call.enter
    if enter.state != FAILURE:
        return None
    if not nt_success(enter.status):
        return HOLDS
    name, level = (call.attempt.name, None) if call.attempt is not None else ("", Level.WARN)
    said = f"Failure of processor {enter.nt} has Status {status_name(enter.status)}, which is not an error{_veto(call)}"
    return Broken(said, (enter,), (), name, level)


def _veto(call: Callback) -> str:
    """Return the error with which the processor was vetoed, "" if it was not."""
    events = call.attempt.events if call.attempt is not None else call.registration.existing
    veto = next((one.exit for one in events if one.refused and one.exit is not None), None)
    return f"; the processor had been vetoed with {status_name(veto.op)}" if veto is not None else ""


@rule(
    "FAIL-NOT-COUNTED", Level.ERROR, kind.REFUSED, clauses="A15", source=f"{PROCESSING}; {STRUCT}",
    says="at Failure the processor is not active", needs="failed hot-add",
    unless="the processor of each was active before",
    holds="S2! F2", violates="S2! F2{mask=7}",
)  # fmt: skip
def failure_not_counted(attempt: Attempt, model: Model) -> RuleOutcome:
    """Its affinity bit is clear, and without another add in flight the active count has not grown."""
    told = [call for call in attempt.terminals if call.enter.state == FAILURE]
    known = model.processors.known(attempt.n)
    if not told or (known is not None and known[1] is not attempt and known[2] < told[0].at):
        return None
    failures = [call.enter for call in told]
    for enter in failures:
        if 0 <= enter.number < 64 and enter.mask >> enter.number & 1:
            said = (
                f"{attempt.name} was active at its Failure: bit {enter.number} of its group's affinity mask {enter.mask:#x} "
                "was set"
            )
            return Broken(said, (enter,), (), attempt.name)
    grown = [enter for enter in failures if enter.active > attempt.active_before]
    if grown and attempt.active_before and not attempt.overlapped:
        enter = grown[0]
        said = f"the active count was {attempt.active_before} before {attempt.name} and {enter.active} at its Failure"
        return Broken(
            said, (attempt.events[0].enter, enter), (), attempt.name, Level.WARN, absent=attempt.stretch
        )
    return HOLDS


@rule(
    "VETO-NO-COMPLETE", Level.ERROR, kind.VETOED, clauses="A17, A12", source=f"{REGISTER}; {CALLBACK_OBJECT}",
    says="a vetoed processor is not completed for any callback", needs="vetoed hot-add",
    holds="a:S2 b:S2! a:F2", violates="a:S2! b:S2 b:C2",
)  # fmt: skip
def veto_no_complete(attempt: Attempt, model: Model) -> RuleOutcome:
    """The underlying callback object's page states that an error in the operation status stops the add."""
    if not attempt.vetoed:
        return None
    completes = attempt.completes
    if not completes:
        return HOLDS
    if attempt.overwritten:
        return Exempt(CLEARED)
    veto = next(call for call in attempt.events if call.refused)
    shown = (veto.last, completes[0].enter)
    said = f"{attempt.name} was vetoed by {veto.registration}, and Complete came all the same"
    lost = model.touched(attempt)
    if lost:
        return Unclear(f"{said}, but {lost}", shown, attempt.name)
    return Broken(said, shown, (), attempt.name, absent=attempt.stretch, cause=("veto", attempt))


@rule(
    "VETO-FAILURE-DELIVERED", Level.ERROR, kind.VETOED, clauses="A7, A15", source=f"{PROCESSING}; {STRUCT}",
    says="after a veto, every other callback that got Start gets exactly one Failure", needs="vetoed hot-add",
    unless="no other callback had got Start",
    holds="a:S2 b:S2! a:F2 b:F2", violates="a:S2 b:S2!",
)  # fmt: skip
def veto_failure_delivered(attempt: Attempt, model: Model) -> RuleOutcome:
    """The driver can then free what it allocated in Start."""
    if not attempt.vetoed:
        return None
    if attempt.overwritten and attempt.completes:
        return Exempt(CLEARED)
    judged: RuleOutcome = None
    for registration, view in attempt.views.items():
        if not view.starts or view.vetoed:
            continue
        failures = view.state(FAILURE)
        start = view.starts[0]
        if len(failures) == 1 and failures[0].at > start.at:
            judged = judged or HOLDS
            continue
        leave = registration.leave
        if leave is not None and leave.at < attempt.over:
            continue
        if registration.uncertain and not failures:
            continue
        reason = model.touched(attempt)
        if not reason and not failures and not attempt.quiet:
            reason = "the guest was not seen to be alive and quiet after it"
        count = some(len(failures), "Failure") if failures else "no Failure"
        said = f"{registration} got {count} for the vetoed {attempt.name}"
        if reason:
            judged = Unclear(f"{said}, but {reason}", (start.enter,), attempt.name)
            continue
        veto = next(call for call in attempt.events if call.refused)
        shown = (start.enter, veto.last, *(call.enter for call in failures[:2]))
        cause = ("veto", attempt) if attempt.completes else ("end", registration, attempt)
        return Broken(said, shown, (), attempt.name, absent=attempt.stretch, cause=cause)
    return judged


@rule(
    "VETO-SELF-FAILURE", Level.OBSERVE, kind.VETOED, clauses="X3, U2", source="undocumented: docs/contract.md A19",
    says="does the vetoing callback get its own Failure?", needs="vetoed hot-add",
    unless="the end of none is known", holds="S2! F2",
)  # fmt: skip
def veto_self_failure(attempt: Attempt, model: Model) -> RuleOutcome:
    """The hot-add text excludes no callback, the text on existing processors does."""
    for view in attempt.views.values():
        if view.vetoed:
            if model.touched(attempt) or not attempt.quiet:
                return None
            return noted("yes" if view.state(FAILURE) else "no")
    return None


@rule(
    "VETO-LATER-STARTS", Level.OBSERVE, kind.VETOED, clauses="U3", source="undocumented: docs/contract.md A19",
    says="do callbacks later in the list still get Start after a veto?", needs="vetoed hot-add",
    unless="the refusing Start of none was seen to return",
    holds="a:S2! b:S2 b:F2",
)  # fmt: skip
def veto_later_starts(attempt: Attempt, model: Model) -> RuleOutcome:
    """Count the Starts that were entered after the vetoing Start had returned."""
    veto = next((call for call in attempt.events if call.refused and call.exit is not None), None)
    if veto is None or veto.exit is None:
        return None
    later = sum(edge(veto.exit, call.enter) is not None for call in attempt.starts)
    return noted(some(later, "later Start"))


@rule(
    "VETO-STATUS-ECHO", Level.OBSERVE, kind.VETOED, clauses="U6", source="undocumented: docs/contract.md A19",
    says="is the status of Failure the status of the veto?", needs="vetoed hot-add",
    unless="no Failure followed", holds="S2! F2",
)  # fmt: skip
def veto_status_echo(attempt: Attempt, model: Model) -> RuleOutcome:
    """Compare with the status of the first veto."""
    veto = next((call.exit for call in attempt.events if call.refused and call.exit is not None), None)
    failure = next((call.enter for call in attempt.terminals if call.enter.state == FAILURE), None)
    if veto is None or failure is None:
        return None
    if failure.status == veto.op:
        return noted("the same")
    return noted(f"vetoed with {veto.op:#x}, Failure says {failure.status:#x}")


@rule(
    "FAIL-WITHOUT-VETO", Level.OBSERVE, kind.REFUSED, clauses="A16", source=STRUCT,
    says="did a hot-add fail although no logged callback vetoed it?", needs="failed hot-add",
    unless="records of each may be missing", holds="S2 F2",
)  # fmt: skip
def fail_without_veto(attempt: Attempt, model: Model) -> RuleOutcome:
    """The cause is another, unlogged client of the notification, or is inside the operating system."""
    failure = next((call.enter for call in attempt.terminals if call.enter.state == FAILURE), None)
    if failure is None:
        return None
    if attempt.vetoed or model.touched(attempt):
        return noted("no") if attempt.vetoed else None
    said = f"{attempt.name} failed with status {failure.status:#x} and no logged callback had vetoed it"
    return Observed(f"yes, status {failure.status:#x}", said, (failure,), attempt.name)


@rule(
    "FAIL-RETRY", Level.OBSERVE, kind.REPEATED, clauses="U29", source="undocumented: docs/contract.md A19",
    says="is a failed add tried again without a new host command?", needs="failed hot-add",
    unless="no processor was announced again after its add had failed", holds="S2! F2 S2 C2",
)  # fmt: skip
def fail_retry(attempt: Attempt, model: Model) -> RuleOutcome:
    """An add is retried when an attempt opens on a processor whose last one failed, with no host command between."""
    if attempt.k == 1:
        return None
    return noted("yes" if attempt.retried else "no, a host command came first")


@rule(
    "NUM-REUSE", Level.OBSERVE, kind.COMPLETED, clauses="U15", source="undocumented: docs/contract.md A19",
    says="is the number of a failed processor used again?", needs="hot-add after a failed one",
    unless="none after a failed one was completed",
    holds="S2! F2 =cpu Q +cpu S2 C2",
)  # fmt: skip
def number_reuse(attempt: Attempt, model: Model) -> RuleOutcome:
    """Compare the number of the next completed processor with that of the failed one."""
    if not attempt.completes:
        return None
    failed, model.attempts.failed = model.attempts.failed, -1
    if failed < 0:
        return None
    return noted("yes" if failed == attempt.n else "no")


@rule(
    "OB-OPSTATUS-DISCIPLINE", Level.ERROR_DRIVER, kind.SYNC_EXIT, clauses="A17", source=REGISTER,
    says="a driver writes the operation status only in Start, and only an error", needs="synchronous callback",
    holds="S2! F2", violates="S2 C2{out=0xC0000001}",
)  # fmt: skip
def operation_status(call: Callback | None, model: Model) -> RuleOutcome:
    """Otherwise the driver must leave the status untouched."""
    if call is None or call.exit is None:
        return None
    enter, leave = call.enter, call.exit
    if enter.state == START and not nt_success(enter.op) and leave.op != enter.op:
        return Exempt("the driver overwrote the error of another, which OB-NO-OVERWRITE judges")
    if leave.op == enter.op or (enter.state == START and not nt_success(leave.op)):
        return HOLDS
    name = d.STATE_NAMES.get(enter.state, str(enter.state))
    return Broken(
        f"driver {enter.driver} changed *OperationStatus from {status_name(enter.op)} to {status_name(leave.op)} in {name} "
        f"for processor {enter.nt}",
        (enter, leave),
    )


@rule(
    "OB-NO-OVERWRITE", Level.ERROR_DRIVER, kind.SYNC_EXIT.given("subject is not None and subject.enter.op >= 0x80000000"), clauses="A18", source=CALLBACK_OBJECT,
    says="a driver does not overwrite the error of an earlier client", needs="Start with an error already set",
    holds="a:S2! b:S2{op=0xC000009A} a:F2 b:F2", violates="a:S2! b:S2{op=0xC000009A,out=0xC0000001} a:F2 b:F2",
)  # fmt: skip
def no_overwrite(call: Callback | None, model: Model) -> RuleOutcome:
    """Documented for the ProcessorAdd callback object; the variable is shared by its clients."""
    if call is None or call.exit is None or call.enter.state != START or nt_success(call.enter.op):
        return None
    if call.exit.op == call.enter.op:
        return HOLDS
    return Broken(
        f"driver {call.enter.driver} replaced {status_name(call.enter.op)} in *OperationStatus by "
        f"{status_name(call.exit.op)} in Start for processor {call.enter.nt}",
        (call.enter, call.exit),
    )


@rule(
    "OPSTATUS-IN", Level.OBSERVE, kind.SYNC_ENTER, clauses="U4, U5", source="undocumented: docs/contract.md A18",
    says="which operation status does a callback find?", needs="synchronous callback", holds="S2 C2 V",
)  # fmt: skip
def operation_status_in(call: Callback, model: Model) -> RuleOutcome:
    """STATUS_SUCCESS is expected at the first Start."""
    return status_of(call.enter.op, call.enter.state)


@rule(
    "OB-CTX-IMMUTABLE", Level.ERROR_DRIVER, kind.SYNC_EXIT, clauses="A5", source=STRUCT,
    says="a driver does not modify the notification context", needs="synchronous callback",
    holds="S2 C2 V", violates="S2 C2{x.number=9}",
)  # fmt: skip
def context_immutable(call: Callback | None, model: Model) -> RuleOutcome:
    """The fields are read again just before the callback returns."""
    if call is None or call.exit is None:
        return None
    enter, leave = call.enter, call.exit
    if not call.altered and not call.registration.stream.mapped:
        return HOLDS
    for name in CONTEXT:
        before, after = getattr(enter, name), getattr(leave, name)
        if before != after:
            was, became = (status_name(one) if name == "status" else str(one) for one in (before, after))
            state = d.STATE_NAMES.get(enter.state, f"state {enter.state}")
            said = (
                f"driver {enter.driver} changed {FIELDS[name]} in the context of {state} for processor {enter.nt}: "
                f"{was} at entry, {became} at return"
            )
            return Broken(said, (enter, leave))
    return HOLDS


@rule(
    "OB-ALLOC-FREE", Level.ERROR_DRIVER, kind.ALLOC | kind.FREE | kind.SYNC_EXIT, clauses="C1, C4, C7", source=PROCESSING,
    says="what a driver allocates for a processor in Start is freed in Failure, and nothing is freed twice",
    needs="allocation record", holds="S2{alloc=1} C2 V", violates="S2{alloc=1} F2",
)  # fmt: skip
def alloc_free(subject: d.Alloc | d.Free | Callback | None, model: Model) -> RuleOutcome:
    """Count any number of objects, also those allocated up front for the maximum: the driver's own reports must balance.

    A driver with the profile ``sample`` promises more: one object, allocated in Start, and kept until Failure or until it
    withdraws.
    """
    stream = model.stream
    sample = stream.promises == SAMPLE
    if isinstance(subject, d.Alloc):
        if not sample:
            return None
        call = stream.calling.get((subject.reg, subject.nt))
        return (
            HOLDS if call is not None and call.enter.state == START else _outside(subject, "allocated", model)
        )
    if isinstance(subject, d.Free):
        return _freed(subject, model)
    if subject is None or subject.exit is None or not stream.allocates:
        return None
    enter, leave = subject.enter, subject.exit
    start = _started(subject)
    if start is None:
        return None
    held = stream.objects.get((enter.reg, enter.nt), {}).values()
    mine = [one.record for one in held if one.call is start]
    wrong = ""
    if enter.state == FAILURE and mine:
        wrong = (
            f"driver {enter.driver} did not free {some(len(mine), 'object')} in Failure of processor {enter.nt}, allocated "
            "in its Start"
        )
    elif not sample or subject.registration.leave is not None:
        pass
    elif enter.state == COMPLETE and not mine:
        wrong = f"driver {enter.driver} had no object left at Complete of processor {enter.nt}, and its Start allocates one"
    elif enter.state == START and nt_success(leave.op) and len(mine) != 1:
        held_now = some(len(mine), "object") if mine else "no object"
        wrong = (
            f"driver {enter.driver} allocated {held_now} in Start of processor {enter.nt}, and one was due"
        )
    if not wrong:
        return HOLDS
    # Another Start of the processor may be among what is missing before this one.
    since = stream.began_at if subject.attempt is None else min(subject.attempt.since, start.at)
    return Broken(wrong, (enter, leave), absent=(stream.driver, since, model.at))


def _freed(free: d.Free, model: Model) -> RuleOutcome:
    stream = model.stream
    if model.freed is None:
        if stream.crowded or stream.headless:
            return None
        said = f"driver {free.driver} freed object {free.object:#x} of processor {free.nt}, which it did not hold"
        return Broken(said, (free,), absent=(stream.driver, model.epoch_at, model.at))
    if stream.promises != SAMPLE:
        return HOLDS
    registration = stream.registrations.get(free.reg)
    if stream.unload is not None or (registration is not None and (registration.leave or registration.open)):
        return HOLDS
    call = stream.calling.get((free.reg, free.nt))
    return (
        HOLDS if call is not None and call.enter.state in (START, FAILURE) else _outside(free, "freed", model)
    )


def _outside(record: d.Alloc | d.Free, what: str, model: Model) -> Broken:
    where = "Start" if what == "allocated" else "Start or Failure"
    said = f"driver {record.driver} {what} an object for processor {record.nt} outside {where}"
    return Broken(said, (record,), absent=(record.driver, model.epoch_at, model.at))


def _started(call: Callback) -> Callback | None:
    """Return the one Start that this call belongs to, or None if the driver was not called in the documented order."""
    if call.attempt is None:
        calls = call.registration.existing
    else:
        view = call.attempt.views.get(call.registration)
        calls = view.starts if view is not None else []
    starts = [other for other in calls if other.enter.state == START and other.enter.nt == call.enter.nt]
    return starts[0] if len(starts) == 1 and starts[0].at <= call.at else None


@rule(
    "OB-THREAD-AFTER-COMPLETE", Level.ERROR_DRIVER, kind.BIND, clauses="C3", source=f"{STRUCT}; {ARRIVES}",
    says="a driver binds threads and DPCs to a processor in its Complete or in the arrival, whichever comes first, or later",
    needs="bind record", unless="no record shows a Start of the processor to a driver that is registered",
    holds="S2 C2 V bind{nt=2}", violates="S2 bind{nt=2} C2",
)  # fmt: skip
def thread_after_complete(bind: d.Bind, model: Model) -> RuleOutcome:
    """Before both, the processor may not be schedulable. Existing processors are judged only if reported."""
    stream = model.stream
    if bind.nt in stream.completed:
        return HOLDS
    attempt = model.attempts.newest.get(bind.nt)
    if attempt is not None and stream.arrived_at > attempt.first:
        return HOLDS
    mine = [known for known in stream.registrations.values() if known.sync and known.leave is None]
    telling = any(known.open and any(call.enter.nt == bind.nt for call in known.existing) for known in mine)
    if model.processors.known(bind.nt) is not None and not telling:
        return HOLDS
    told = attempt.starts if attempt is not None else []
    started = [call.enter for call in told if call.registration.stream is stream]
    if not mine or not (started or telling):
        return None
    what = "DPC" if bind.what == "dpc" else bind.what
    said = f"driver {bind.driver} bound a {what} to processor {bind.nt} before its Complete and before any arrival"
    return Broken(said, (*started[:1], bind), absent=(stream.driver, model.epoch_at, model.at))
