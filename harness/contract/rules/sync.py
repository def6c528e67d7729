# SPDX-License-Identifier: MIT
"""R.2, the synchronous callback of a hot-added processor: Start, then Complete or Failure."""

# ruff: noqa: ARG001 - every predicate takes its subject and the model, whether it needs both or not

from __future__ import annotations

from collections import Counter
from itertools import product

from harness.contract.order import contradiction, edge
from harness.contract.rules import subject_kind as kind
from harness.contract.rules.rule import (
    CLEARED,
    HOLDS,
    Broken,
    Exempt,
    RuleOutcome,
    Section,
    Unclear,
    first_broken,
    noted,
    some,
    status_of,
)
from harness.contract.state.entities import (
    AddWindow,
    Arrival,
    Attempt,
    Callback,
    CallSpan,
    Epoch,
    Growth,
    Registration,
    RegistrationView,
)
from harness.contract.state.model import Model
from harness.contract.verdict import Level
from harness.history.absent import Absent
from harness.history.driver import CALL_NAMES, COMPLETE, FAILURE, START, STATE_NAMES, nt_success

SECTION = Section("R.2", "Synchronous, hot add")
rule = SECTION.rule

REGISTER = "DDI:wdm/nf-wdm-keregisterprocessorchangecallback.md"
STRUCT = "DDI:wdm/ns-wdm-_ke_processor_change_notify_context.md"
PROCESSING = "WD:kernel/processing-a-synchronous-driver-notification.md"
INTRODUCTION = "WD:kernel/introduction-to-driver-notification.md"
MOST_WAITING = 64
"""Arrivals without a Start that wait for one, per driver."""

UNEXPLAINED = (
    "no arrival was of a link that is new since a quiet point and was first seen between a command to add a processor and "
    "the next command"
)
"""Why arrivals prove nothing about an added processor."""

HOT_ADD = "hot-add of a processor"
CALLBACK = "synchronous callback"


def _state(call: Callback) -> str:
    return STATE_NAMES.get(call.enter.state, f"state {call.enter.state}")


def _by_veto(attempt: Attempt, *, besides: Registration | None = None) -> tuple[str, str] | None:
    """Return what a veto of a registration ``besides`` this one makes due, and why; None without a veto."""
    veto = next((call for call in attempt.events if call.refused and call.registration is not besides), None)
    return None if veto is None else ("Failure", f"{veto.registration} had vetoed the processor")


def _by_count(attempt: Attempt) -> tuple[str, str] | None:
    """Return what the count of active processors makes due, and why; None if it is unknown before or after."""
    before, after = attempt.active_before, attempt.active_after
    if not before or not after:
        return None
    if after > before:
        return "Complete", f"the processor became active ({before} before, {after} after)"
    return "Failure", f"the processor did not become active ({after} before and after)"


def _outcome(attempt: Attempt) -> str:
    """Return which of Complete and Failure was due, and why, "" if neither a veto nor the active count shows it."""
    due = _by_veto(attempt) or _by_count(attempt)
    return f"{due[0]} was due, because {due[1]}" if due else ""


def _with(said: str, due: str) -> str:
    return f"{said}; {due}" if due else said


@rule(
    "SYNC-STATE-VALID", Level.ERROR, kind.SYNC_ENTER, clauses="A1", source=REGISTER,
    says="the state is Start, Complete or Failure", needs=CALLBACK,
    holds="S2 C2 V", violates="S2 C2{state=3}",
)  # fmt: skip
def state_valid(call: Callback, model: Model) -> RuleOutcome:
    """KE_PROCESSOR_CHANGE_NOTIFY_STATE has three values."""
    if call.enter.state in STATE_NAMES:
        return HOLDS
    return Broken(
        f"the callback was called for processor {call.enter.nt} with State {call.enter.state}, which does not exist",
        (call.enter,),
    )


@rule(
    "SYNC-CONTEXT-IDENTITY", Level.ERROR, kind.SYNC_ENTER, clauses="A2", source=REGISTER,
    says="the callback gets the context that was registered", needs=CALLBACK,
    unless="the history does not hold the registering call",
    holds="S2 C2 V", violates="S2 C2{ctx=99}",
)  # fmt: skip
def context_identity(call: Callback, model: Model) -> RuleOutcome:
    """The pointer is opaque to Windows and must come back unchanged."""
    span = call.registration.span
    if span is None:
        return None
    if call.enter.ctx == span.enter.ctx:
        return HOLDS
    return Broken(
        f"{_state(call)} for processor {call.enter.nt} got CallbackContext {call.enter.ctx:#x}, and "
        f"{call.registration} was made with {span.enter.ctx:#x}",
        (span.enter, call.enter),
    )


@rule(
    "SYNC-IRQL-PASSIVE", Level.ERROR, kind.SYNC_ENTER, clauses="A3", source=REGISTER,
    says="the callback runs at PASSIVE_LEVEL", needs=CALLBACK,
    holds="S2 C2 V", violates="S2{irql=2} C2",
)  # fmt: skip
def irql_passive(call: Callback, model: Model) -> RuleOutcome:
    """Judge both processors that exist at registration and those added later."""
    if call.enter.irql == 0:
        return HOLDS
    span = call.registration.span
    if call.attempt is None and span is not None and 0 < call.enter.irql <= span.enter.irql:
        return Exempt("the driver registered at that IRQL, which REG-IRQL-PASSIVE judges")
    said = f"{_state(call)} for processor {call.enter.nt} ran at IRQL {call.enter.irql}"
    return Broken(said, (call.enter,))


@rule(
    "REG-IRQL-PASSIVE", Level.ERROR_DRIVER, kind.CALL_ENTER, clauses="A4",
    source="DDI:wdm/nf-wdm-kederegisterprocessorchangecallback.md",
    says="registering and deregistering happen at PASSIVE_LEVEL", needs="registering call",
    holds="S2 C2 V", violates="S2 C2 dereg{irql=1}",
)  # fmt: skip
def registers_passive(span: CallSpan, model: Model) -> RuleOutcome:
    """All four routines demand it of their caller."""
    if span.registration is None:
        return None
    if span.enter.irql == 0:
        return HOLDS
    return Broken(f"{CALL_NAMES[span.enter.call]} was called at IRQL {span.enter.irql}", (span.enter,))


def _start_first(attempt: Attempt, model: Model, state: int) -> RuleOutcome:
    """Judge whether every terminal of the given state has a Start of the same registration before it."""
    judged: RuleOutcome = None
    for registration, view in attempt.views.items():
        for terminal in view.state(state):
            if view.starts and view.starts[0].at < terminal.at:
                judged = judged or HOLDS
                continue
            if registration.done_at > attempt.since:
                continue
            name = STATE_NAMES[state]
            if attempt.crowded:
                judged = Unclear(
                    f"{name} came without a Start, but too much came", (terminal.enter,), attempt.name
                )
                continue
            later = [start.enter for start in view.starts[:1]]
            chain = contradiction(later[0], terminal.enter) if later else []
            what = "came before its Start" if later else "came and no Start had come before it"
            cause = ("early", attempt) if later else ("start", registration, attempt)
            return Broken(
                f"{name} of {attempt.name} {what}", (terminal.enter, *later), chain, attempt.name,
                absent=("", attempt.since, terminal.at), cause=cause,
            )  # fmt: skip
    return judged


@rule(
    "SYNC-START-BEFORE-COMPLETE", Level.ERROR, kind.COMPLETED, clauses="A7", source=f"{PROCESSING}; {STRUCT}",
    says="Start must come before Complete, because Windows announces a processor before it adds it", needs="completed hot-add",
    unless="no registration that was in force before one got Complete",
    holds="S2 C2 V", violates="C2",
)  # fmt: skip
def start_before_complete(attempt: Attempt, model: Model) -> RuleOutcome:
    """Not applicable to a registration made while the attempt was under way (LATE-REG)."""
    return _start_first(attempt, model, COMPLETE)


@rule(
    "SYNC-START-BEFORE-FAILURE", Level.ERROR, kind.REFUSED, clauses="A7, A15", source=f"{PROCESSING}; {STRUCT}",
    says="Start must come before Failure, because only an announced processor can fail to be added", needs="failed hot-add",
    unless="no registration that was in force before one got Failure",
    holds="S2! F2", violates="F2",
)  # fmt: skip
def start_before_failure(attempt: Attempt, model: Model) -> RuleOutcome:
    """Judged as for Complete."""
    return _start_first(attempt, model, FAILURE)


def _alive_throughout(registration: Registration, attempt: Attempt) -> bool:
    """Return whether no removal of the registration began before the attempt was over."""
    leave = registration.leave
    return registration.handle and (leave is None or leave.at > attempt.over)


def _due(registration: Registration, attempt: Attempt) -> str:
    """Return which of Complete and Failure was due, and why, as far as the history shows it."""
    due = _by_veto(attempt, besides=registration)
    told = {call.enter.state for call in attempt.terminals if call.registration is not registration}
    if due is None and len(told) == 1:
        return f"{STATE_NAMES.get(min(told), 'an end')}, which another callback got"
    due = due or _by_count(attempt)
    return f"{due[0]}, which was due because {due[1]}" if due else "Complete or Failure"


def _missing_terminal(
    registration: Registration, view: RegistrationView, attempt: Attempt, model: Model
) -> RuleOutcome:
    """Judge a Start without Complete or Failure. Silence is evidence only after a quiesced point."""
    start = view.starts[-1]
    if not registration.handle:
        return None
    reason = model.touched(attempt)
    if registration.uncertain:
        reason = "no record shows when the driver withdraws"
    elif not _alive_throughout(registration, attempt):
        reason = "the driver withdrew before the guest was quiet, and no page says what is then delivered"
    elif not reason and not attempt.quiet:
        reason = "the guest was not seen to be alive and quiet after it"
    if reason:
        return Unclear(
            f"Start of {attempt.name} has no Complete and no Failure, but {reason}",
            (start.enter,),
            attempt.name,
        )
    quiet = (attempt.proof,) if attempt.proof is not None else ()
    return Broken(
        f"{registration} got Start for {attempt.name} and never {_due(registration, attempt)}; the guest still answered later",
        (start.enter, *quiet), (), attempt.name, absent=attempt.stretch, cause=("end", registration, attempt),
    )  # fmt: skip


@rule(
    "SYNC-START-CLOSED", Level.ERROR, kind.ATTEMPT, clauses="A7", source=f"{PROCESSING}; {STRUCT}",
    says="every Start is followed by Complete or Failure", needs=HOT_ADD,
    unless="no Start of one came, or its own driver refused it",
    holds="S2 C2 V", violates="S2",
)  # fmt: skip
def start_closed(attempt: Attempt, model: Model) -> RuleOutcome:
    """Silence counts only after a quiesced point: no record for the policy time, then proof that the guest is alive."""
    judged: RuleOutcome = None
    for registration, view in attempt.views.items():
        if not view.starts or view.vetoed:
            continue
        if view.terminals:
            judged = judged or HOLDS
            continue
        outcome = _missing_terminal(registration, view, attempt, model)
        if isinstance(outcome, Broken):
            return outcome
        judged = outcome or judged
    return judged


@rule(
    "SYNC-TERMINAL-EXCLUSIVE", Level.ERROR, kind.ATTEMPT, clauses="A7", source=STRUCT,
    says="a processor is either completed or failed, and after that no further call is made for it", needs=HOT_ADD,
    unless="none has come to an end",
    holds="S2 C2 V", violates="S2 C2 F2",
)  # fmt: skip
def terminal_exclusive(attempt: Attempt, model: Model) -> RuleOutcome:
    """In one attempt, Complete can never be followed by Failure, nor Failure by Complete."""
    judged: RuleOutcome = None
    for registration, view in attempt.views.items():
        if not view.terminals:
            continue
        if len(view.terminals) == 1:
            judged = judged or HOLDS
            continue
        first, second = view.terminals[:2]
        names = [_state(call) for call in (first, second)]
        told = f"{names[0]} twice" if names[0] == names[1] else " and then ".join(names)
        return Broken(
            _with(f"{registration} got {told} for {attempt.name}", _outcome(attempt)),
            (first.enter, second.enter), (), attempt.name,
            absent=("", attempt.since, second.at), cause=("extra", registration, attempt),
        )  # fmt: skip
    return judged


def _counted(view: RegistrationView) -> str:
    """Return what one registration got: ``2 Starts and 1 Complete``."""
    counts = Counter(_state(call) for call in (*view.starts, *view.terminals))
    told = [
        some(count, name) if name in STATE_NAMES.values() else f"{some(count, 'call')} with {name}"
        for name, count in counts.items()
    ]
    return " and ".join(filter(None, (", ".join(told[:-1]), told[-1])))


@rule(
    "SYNC-EXACTLY-TWO", Level.ERROR, kind.ATTEMPT, clauses="A7, A8, X3", source=f"{PROCESSING}; {STRUCT}",
    says="each callback is called exactly two times for an added processor: Start, then Complete or Failure",
    needs=HOT_ADD,
    unless="no Start of one came", holds="S2 C2 V", violates="S2 S2 C2",
)  # fmt: skip
def exactly_two(attempt: Attempt, model: Model) -> RuleOutcome:
    """A registration that vetoed may or may not get its own Failure (not documented for hot add)."""
    judged: RuleOutcome = None
    for registration, view in attempt.views.items():
        if not view.starts:
            continue
        extra = view.starts[1:2] or view.terminals[1:2]
        if extra:
            return Broken(
                f"{registration} got {_counted(view)} for {attempt.name}; one Start and then one Complete or Failure were due",
                tuple(call.enter for call in (view.starts + view.terminals)[:4]), (), attempt.name,
                absent=("", attempt.since, extra[0].at), cause=("extra", registration, attempt),
            )  # fmt: skip
        if not view.terminals and not view.vetoed:
            outcome = _missing_terminal(registration, view, attempt, model)
            if isinstance(outcome, Broken):
                return outcome
            judged = outcome or judged
        elif judged is None:
            judged = HOLDS
    return judged


@rule(
    "SYNC-ALL-REGISTERED", Level.ERROR, kind.ATTEMPT | kind.GROWTH, clauses="A8", source=STRUCT,
    says="each registered callback is called for each added processor", needs=HOT_ADD,
    unless="every one was refused, after which further callbacks may be left out, or no registration covered it",
    holds="a:S2 b:S2 b:C2 a:C2 a:V b:V", violates="with b a:S2 a:C2",
)  # fmt: skip
def all_registered(subject: Attempt | Growth, model: Model) -> RuleOutcome:
    """Judge the registrations that were certainly in force before the attempt and throughout it.

    A refused attempt is exempt: by a veto, an error that a Start found, or a client that logs nothing (U3). If the
    count grew between two quiet points by more than was announced, a processor was added without any notification.
    """
    if isinstance(subject, Growth):
        return _grown(subject, model)
    attempt = subject
    if attempt.refused:
        return None
    judged: RuleOutcome = None
    for registration in model.registrations.each():
        if not registration.sync or registration.open or not _alive_throughout(registration, attempt):
            continue
        if registration.done_at > attempt.first or registration.uncertain:
            continue
        view = attempt.views.get(registration)
        if view is not None and view.starts and view.terminals:
            judged = judged or HOLDS
            continue
        reason = model.touched(attempt)
        if not reason and registration.done_at > attempt.since:
            reason = "it may have been registered while the attempt was already under way"
        if not reason and not attempt.quiet:
            reason = "the guest was not seen to be alive and quiet after it"
        what = "Start" if view is None or not view.starts else "Complete or Failure"
        ended = view is not None and bool(view.terminals)
        said = f"{registration} got no {what} for {attempt.name}"
        if what == "Start" and not ended:
            said = f"{registration} was never called for {attempt.name}; Start and then Complete or Failure were due"
        shown = tuple(call.enter for call in attempt.events[:2])
        if reason:
            judged = Unclear(f"{said}, but {reason}", shown, attempt.name)
            continue
        begin = min(attempt.since, registration.done_at)
        return Broken(
            said, (*registration.made, *shown), (), attempt.name,
            absent=("", begin, attempt.over), cause=("end" if what != "Start" else "start", registration, attempt),
        )  # fmt: skip
    return judged


def _grown(growth: Growth, model: Model) -> RuleOutcome:
    for registration in model.registrations.each(earlier=True):
        leave = registration.leave
        seen = leave is None or leave.at >= model.counted_at
        made = registration.handle and not registration.open and 0 < registration.done_at < growth.since
        if registration.sync and made and seen and not registration.uncertain:
            told = growth.told - growth.refused
            said = (
                f"{some(growth.grown, 'processor')} became active while {registration} was in force, and "
                f"{told} {'was' if told == 1 else 'were'} announced"
            )
            last = model.processors.counted
            shown = (*((last,) if last is not None else ()), growth.proof)
            if growth.grown <= growth.told:
                return Unclear(f"{said}, but one that was refused may have been added all the same", shown)
            return Broken(said, shown, absent=("", growth.since, model.at))
    return None


@rule(
    "SYNC-AGREE", Level.ERROR, kind.ATTEMPT, clauses="A12", source=REGISTER,
    says="all callbacks get the same outcome, because it is the outcome of the operating system", needs=HOT_ADD,
    unless="none has come to an end",
    holds="a:S2 b:S2 b:C2 a:C2 a:V b:V", violates="a:S2 b:S2 a:C2 b:F2",
)  # fmt: skip
def agree(attempt: Attempt, model: Model) -> RuleOutcome:
    """The state describes what Windows did, not what a driver did."""
    terminals = attempt.terminals
    if not terminals:
        return None
    told: dict[int, list[Callback]] = {}
    for terminal in terminals:
        told.setdefault(terminal.enter.state, []).append(terminal)
    if len(told) == 1:
        return HOLDS
    if attempt.overwritten:
        return Exempt(CLEARED)
    for first, other in product(*list(told.values())[:2]):
        if other.registration is not first.registration:
            shown = (first.enter, other.enter)
            return Broken(
                _with(
                    f"for {attempt.name}, {first.registration} got {_state(first)} and {other.registration} got {_state(other)}",
                    _outcome(attempt),
                ),
                shown, (), attempt.name, absent=attempt.stretch,
            )  # fmt: skip
    return HOLDS


@rule(
    "SYNC-BARRIER", Level.ERROR, kind.COMPLETED, clauses="A11", source=f"{INTRODUCTION}; {REGISTER}",
    says="every Start returns before any Complete begins, because Start comes before threads are scheduled "
    "on the processor and Complete after", needs=HOT_ADD,
    unless="none has both a Start and a Complete",
    holds="a:S2 b:S2 b:C2 a:C2 a:V b:V", violates="a:S2 a:C2 b:S2 b:C2",
)  # fmt: skip
def barrier(attempt: Attempt, model: Model) -> RuleOutcome:
    """Compare across drivers by the shared counter. Failure of a vetoed attempt is exempt: what later drivers see is open."""
    starts, completes = attempt.starts, attempt.completes
    if not starts or not completes:
        return None
    judged: RuleOutcome = HOLDS
    clock = not any(call.registration.stream.order_lost for call in attempt.events)
    clock &= not model.migrated(attempt.first, model.at)
    for complete in completes:
        for start in starts:
            last = start.last
            if edge(last, complete.enter, clock=clock) is not None and start.exit is not None:
                continue
            chain = contradiction(last, complete.enter, (start.enter,), clock=clock)
            if chain:
                begun = edge(complete.enter, start.enter, clock=clock) is None
                return Broken(
                    f"{complete.registration} got Complete for {attempt.name} before Start "
                    f"{'had returned' if begun else 'had begun'} in {start.registration}",
                    (complete.enter, start.enter, last) if last is not start.enter else (complete.enter, last),
                    chain, attempt.name, cause=("early", attempt),
                )  # fmt: skip
            judged = Unclear(
                f"it is not known whether Start of {start.registration} had returned when Complete of "
                f"{complete.registration} began", (last, complete.enter), attempt.name,
            )  # fmt: skip
    return judged


def _index_says(attempt: Attempt) -> str:
    """Return which group and number Windows had for the processor's index at Complete, "" if no record says it."""
    for call in attempt.completes:
        enter = call.enter
        if any(isinstance(one, Absent) for one in (enter.idx_status, enter.idx_group, enter.idx_number)):
            continue
        if nt_success(enter.idx_status):
            return (
                f"; KeGetProcessorNumberFromIndex({enter.nt}) then returned group {enter.idx_group} "
                f"number {enter.idx_number}"
            )
    return ""


@rule(
    "SYNC-SAME-IDENTITY", Level.ERROR, kind.ATTEMPT, clauses="A34", source=STRUCT,
    says="all calls about one processor name the same group and number", needs=HOT_ADD,
    unless="each was reported in one call only",
    holds="S2 C2 V", violates="S2 C2{number=5}",
)  # fmt: skip
def same_identity(attempt: Attempt, model: Model) -> RuleOutcome:
    """NtNumber is the system-wide index, ProcNumber the group and number; an attempt has one of each."""
    first = attempt.events[0].enter
    for call in attempt.events[1:]:
        if (call.enter.group, call.enter.number) != (first.group, first.number):
            return Broken(
                f"{attempt.name} is group {first.group} number {first.number} at {_state(attempt.events[0])} and "
                f"group {call.enter.group} number {call.enter.number} at {_state(call)}{_index_says(attempt)}",
                (first, call.enter), (), attempt.name, absent=("", attempt.since, call.at),
            )  # fmt: skip
    return HOLDS if len(attempt.events) > 1 else None


@rule(
    "NO-RUN-BEFORE-START-DONE", Level.ERROR, kind.ATTEMPT | kind.EPOCH, clauses="A9, A15, X1", source=f"{PROCESSING}; {INTRODUCTION}",
    says="no thread runs on a processor before every Start for it has returned, nor on one that was not added",
    needs=HOT_ADD, unless="no Start of one was seen to return before its processor was active",
    holds="S2 C2 V", violates="S2{cpu=2} C2",
)  # fmt: skip
def no_run_before_start(subject: Attempt | Epoch, model: Model) -> RuleOutcome:
    """Microsoft's pages disagree on whether the processor is started at Start, but not on threads. DPCs are a warning."""
    if isinstance(subject, Epoch):
        return _ran_uncounted(model)
    attempt = subject
    starts = [
        call for call in attempt.starts if call.exit is not None and _before(call.registration, attempt)
    ]
    known = model.processors.known(attempt.n)
    if not starts or (known is not None and known[1] is not attempt) or attempt.n < attempt.active_before:
        return None
    clock = not any(stream.order_lost for stream in model.streams.values())
    clock &= not model.migrated(attempt.first, model.at)
    for record, level in zip(attempt.ran_on, (None, Level.WARN), strict=True):
        if record is None:
            continue
        if not attempt.completes and attempt.refused:
            return Broken(
                f"code ran on {attempt.name}, which was not added", (starts[0].enter, record), (), attempt.name, level,
                absent=("", 0, attempt.over),
            )  # fmt: skip
        for start in starts if attempt.completes else ():
            last = start.exit
            if last is None or record is last:
                continue
            chain = contradiction(last, record, (start.enter,), clock=clock)
            if chain:
                # Complete runs on the new processor: if it came too early, so did the code.
                told = any(record is call.enter or record is call.exit for call in attempt.completes)
                itself = record is start.enter
                return Broken(
                    f"Start of {start.registration} for {attempt.name} ran on that processor itself"
                    if itself
                    else f"code ran on {attempt.name} before Start of {start.registration} had returned",
                    (record, last), chain, attempt.name, level, absent=("", attempt.since, start.exit_at),
                    cause=("early", attempt) if told else None,
                )  # fmt: skip
    return HOLDS


def _before(registration: Registration, attempt: Attempt) -> bool:
    """Return whether a registration was in force when an attempt began: to one made later it is reported what is active by then."""
    if not registration.uncertain:
        return True
    return any(call.at < attempt.first for call in registration.existing)


def _ran_uncounted(model: Model) -> RuleOutcome:
    """A processor on which a thread ran was not added if no driver ever counted it or was notified of it."""
    counted = model.processors.counted
    if counted is None:
        return None
    for number, (record, _) in model.processors.ran.items():
        if number >= counted.active and number not in model.attempts.newest and not model.attempts.unsettled:
            return Broken(
                f"code ran on processor {number}, and never more than {counted.active} processors were active",
                (counted, record), absent=("", 0, model.at),
            )  # fmt: skip
    return None


@rule(
    "RUN-BEFORE-COMPLETE", Level.OBSERVE, kind.COMPLETED, clauses="A13", source=INTRODUCTION,
    says="does driver code run on the processor before Complete is delivered?", needs="completed hot-add",
    unless="no Start of one came before its Complete",
    holds="S2 work{cpu=2,nt=2} C2",
)  # fmt: skip
def run_before_complete(attempt: Attempt, model: Model) -> RuleOutcome:
    """This is legal: a driver must be ready when its Start returns, not when Complete arrives."""
    completes = attempt.completes
    if not completes or not attempt.starts:
        return None
    first = attempt.ran_on[0] or attempt.ran_on[1]
    ran = first is not None and edge(first, completes[0].enter) is not None
    return noted("yes" if ran else "no")


@rule(
    "COMPLETE-COUNTED", Level.ERROR, kind.COMPLETE, clauses="A10, A35",
    source=f"{REGISTER}; DDI:wdm/nf-wdm-kequeryactiveprocessorcountex.md",
    says="at Complete the processor is active: its affinity bit is set and its index is below the active count",
    needs="Complete", holds="S2 C2 V", violates="S2 C2{active=2}",
)  # fmt: skip
def complete_counted(call: Callback, model: Model) -> RuleOutcome:
    """Complete says the processor is started and schedulable, so the system must count it by then."""
    enter = call.enter
    if enter.state != COMPLETE:
        return None
    attempt = call.attempt.name if call.attempt is not None else ""
    if enter.nt >= enter.active:
        return Broken(
            f"at Complete of processor {enter.nt} only {enter.active} processors were active, so it was not active yet",
            (enter,),
            (),
            attempt,
        )
    if not 0 <= enter.number < 64 or not enter.mask >> enter.number & 1:
        return Broken(
            f"at Complete of processor {enter.nt} bit {enter.number} of the group's mask {enter.mask:#x} was clear",
            (enter,), (), attempt,
        )  # fmt: skip
    return HOLDS


@rule(
    "START-NOT-COUNTED", Level.WARN, kind.START, clauses="A9, X1", source=f"{PROCESSING}; {INTRODUCTION}",
    says="at Start the processor is not counted yet", needs="Start of a hot-add",
    unless="each overlapped with another, or no count was known before it",
    holds="S2 C2 V", violates="S2{active=3} C2",
)  # fmt: skip
def start_not_counted(call: Callback, model: Model) -> RuleOutcome:
    """A warning: the pages disagree on whether the processor is already started."""
    enter, attempt = call.enter, call.attempt
    if enter.state != START or attempt is None or attempt.overlapped or not attempt.active_before:
        return None
    if enter.active > attempt.active_before:
        return Broken(
            f"at Start {enter.active} processors were active, {attempt.active_before} before",
            (enter,),
            (),
            attempt.name,
        )
    if 0 <= enter.number < 64 and enter.mask >> enter.number & 1:
        return Broken(
            f"at Start bit {enter.number} of the mask {enter.mask:#x} was set", (enter,), (), attempt.name
        )
    return HOLDS


@rule(
    "COUNT-STEP", Level.WARN, kind.COMPLETED, clauses="A10, U10", source=REGISTER,
    says="one completed hot-add raises the active count by one", needs="completed hot-add",
    unless="each overlapped with another, or no count was known before it",
    holds="S2 C2 V", violates="S2 C2{active=4}",
)  # fmt: skip
def count_step(attempt: Attempt, model: Model) -> RuleOutcome:
    """Judge only attempts that do not overlap with another."""
    completes = attempt.completes
    if not completes or attempt.overlapped or not attempt.active_before or model.touched(attempt):
        return None
    enter = completes[0].enter
    if enter.active == attempt.active_before + 1:
        return HOLDS
    return Broken(
        f"the active count was {attempt.active_before} before {attempt.name} and {enter.active} at its Complete",
        (attempt.events[0].enter, enter), (), attempt.name,
    )  # fmt: skip


@rule(
    "SYNC-FIRST", Level.ERROR, kind.ASYNC_ENTER | kind.ADD_WINDOW, clauses="A14, B9", source=INTRODUCTION,
    says="the synchronous notification is the first one about an added processor", needs="processor arrival",
    unless=UNEXPLAINED, holds="S2 C2 V", violates="V S2 C2",
)  # fmt: skip
def sync_first(subject: Arrival | AddWindow, model: Model) -> RuleOutcome:
    """Judge an arrival that an add explains: its link is new since the baseline and first seen between the add and the next.

    Where several adds are in flight it is judged by count, since an arrival does not say which processor it is about. An
    arrival before the Start is judged when the window is over. If the add failed, it is only a sign of presence (X4). If
    a processor was added before, it may be a late interface of that one.
    """
    if isinstance(subject, AddWindow):
        return first_broken(_unannounced(arrival, subject, model) for arrival in subject.unannounced)
    window, stream = subject.window, subject.registration.stream
    if window is None or not any(
        known.sync and known.alive and 0 < known.done_at < window.at
        for known in stream.registrations.values()
    ):
        return None
    seen = stream.starts - window.starts.get(stream, 0)
    if seen >= min(subject.index, window.adds) or (seen and window.adds == 1):
        return HOLDS
    if len(window.unannounced) < MOST_WAITING:
        window.unannounced.append(subject)
    return None


QUIET_BETWEEN = "the guest was quiet in between, so it may be of an attempt that had failed before"
"""Why an arrival proves nothing about what came after a quiet point."""


def _told_in_time(registration: Registration) -> bool:
    """Return whether a registration gets the callbacks of a processor. It is not known how long a mapped driver's lasts."""
    return (
        registration.sync and registration.alive and registration.done_at > 0 and not registration.uncertain
    )


def _unannounced(arrival: Arrival, window: AddWindow, model: Model) -> RuleOutcome:
    stream, start = arrival.registration.stream, arrival.start
    waits = any(_told_in_time(known) for known in stream.registrations.values())
    if not window.succeeded or window.failures or (start is None and not waits):
        return Exempt(
            "the arrival came with an add that failed, or whose calls its driver could no longer get"
        )
    said = f"a new processor interface arrived before driver {stream.driver} had got Start for the added processor"
    shown = (arrival.enter, start.enter) if start is not None else (arrival.enter,)
    doubt = other_explanation(arrival, window)
    if not doubt and start is not None and arrival.quiet:
        doubt = QUIET_BETWEEN
    if not doubt and start is None and (model.quiesced is None or model.quiesced.n < arrival.enter.n):
        doubt = "the guest was not seen to be alive and quiet after it"
    if doubt:
        return Unclear(f"{said}, but {doubt}", shown)
    if start is None:
        return Broken(f"{said}, and none came", shown, absent=("", 0, model.at))
    return Broken(said, shown, contradiction(start.enter, arrival.enter), absent=(stream.driver, 0, start.at))


def other_explanation(arrival: Arrival, window: AddWindow) -> str:
    """Return another explanation of an arrival than this window's add, "" if there is none."""
    if window.earlier:
        return "it may be a late interface of a processor that was added before"
    if window.failed or window.failures:
        return "it may be an interface of a processor that was not added"
    if arrival.index > 1 and window.adds > 1:
        return "a processor may have several interfaces, and several were being added"
    return ""


@rule(
    "SERIAL-ADDS", Level.OBSERVE, kind.ATTEMPT, clauses="U10", source="undocumented: docs/contract.md A32",
    says="do attempts of different processors overlap?", needs=HOT_ADD, holds="S2 S3 C2 C3",
)  # fmt: skip
def serial_adds(attempt: Attempt, model: Model) -> RuleOutcome:
    """Whether simultaneous adds are serialised is not documented."""
    return noted("overlapping" if attempt.overlapped else "one at a time")


def _round(calls: list[Callback], registered: list[Registration]) -> str:
    order = [registered.index(call.registration) for call in calls if call.registration in registered]
    if len(order) < 2:
        return "one callback"
    if order == sorted(order):
        return "in order of registration"
    return "in reverse order" if order == sorted(order, reverse=True) else "in another order"


@rule(
    "CALL-ORDER", Level.OBSERVE, kind.ATTEMPT, clauses="U9", source="undocumented: docs/contract.md A32",
    says="in which order are the registered callbacks called?", needs=HOT_ADD,
    unless="none was reported to more than one registration",
    holds="a:S2 b:S2 b:C2 a:C2 a:V b:V",
)  # fmt: skip
def call_order(attempt: Attempt, model: Model) -> RuleOutcome:
    """Relative to the order of registration, for the Start round and for the terminal round."""
    if len(attempt.views) < 2:
        return None
    registered = sorted(attempt.views, key=lambda known: known.done_at)
    return noted(f"Start {_round(attempt.starts, registered)}, end {_round(attempt.terminals, registered)}")


@rule(
    "SYNC-CPU-THREAD", Level.OBSERVE, kind.ATTEMPT, clauses="U13", source="undocumented: docs/contract.md A32",
    says="on which processor does the end of an attempt run, and on the thread of its Start?", needs=HOT_ADD,
    unless="no registration saw both the Start and the end of one",
    holds="S2 C2 V",
)  # fmt: skip
def cpu_and_thread(attempt: Attempt, model: Model) -> RuleOutcome:
    """The processor of a PASSIVE_LEVEL callback is a sample and may be stale at once."""
    for view in attempt.views.values():
        if view.starts and view.terminals:
            start, end = view.starts[0].enter, view.terminals[0].enter
            where = (
                "the new processor"
                if end.cpu == attempt.n
                else "processor 0"
                if end.cpu == 0
                else "another processor"
            )
            same = "the same thread" if start.thread == end.thread else "different threads"
            return noted(f"on {where}, {same}", part=STATE_NAMES.get(end.state, "other"))
    return None


@rule(
    "LATE-REG", Level.OBSERVE, kind.ATTEMPT.given("model.registrations.latest_at > subject.first"), clauses="A31", source="undocumented: docs/contract.md A31",
    says="what does a callback get that was registered while an attempt was under way?", needs=HOT_ADD,
    unless="no registration was made during one",
    holds="a:<S2 with b a:S2> a:C2 b:C2",
)  # fmt: skip
def late_registration(attempt: Attempt, model: Model) -> RuleOutcome:
    """It is not documented whether the newcomer gets a terminal without a Start.

    The place in the stream does not suffice: a driver's last record may be received long after it was made.
    """
    for registration in model.registrations.each():
        span = registration.span
        if (
            registration.sync
            and attempt.first < registration.done_at < attempt.last
            and not registration.implied
            and span is not None
            and span.exit is not None
            and any(edge(span.exit, call.last) for call in attempt.events)
        ):
            view = attempt.views.get(registration)
            if view is None:
                return noted("nothing of the attempt")
            return noted("Start and terminal" if view.starts else "a terminal without a Start")
    return None


@rule(
    "STATUS-NONFAIL", Level.OBSERVE, kind.SYNC_ENTER, clauses="X5", source=STRUCT,
    says="which value has Status in Start and Complete?", needs=CALLBACK, holds="S2 C2 V",
)  # fmt: skip
def status_otherwise(call: Callback, model: Model) -> RuleOutcome:
    """Status is documented for Failure only."""
    if call.enter.state == FAILURE:
        return None
    return status_of(call.enter.status, call.enter.state)
