# SPDX-License-Identifier: MIT
"""R.4, registration with and without KE_PROCESSOR_CHANGE_ADD_EXISTING, and its end."""

# ruff: noqa: ARG001 - every predicate takes its subject and the model, whether it needs both or not

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.contract.order import contradiction
from harness.contract.rules import subject_kind as kind
from harness.contract.rules.rule import HOLDS, Broken, Observed, RuleOutcome, Section, Unclear, some
from harness.contract.state.entities import Callback, CallSpan, Registration, Stretch
from harness.contract.state.model import Model
from harness.contract.verdict import Level
from harness.history import driver as d
from harness.history.driver import COMPLETE, FAILURE, START, nt_success
from harness.history.record import Record

SECTION = Section("R.4", "Registration and ADD_EXISTING")
rule = SECTION.rule

REGISTER = "DDI:wdm/nf-wdm-keregisterprocessorchangecallback.md"
DEREGISTER = "DDI:wdm/nf-wdm-kederegisterprocessorchangecallback.md"
REGISTERING = "WD:kernel/registering-for-synchronous-driver-notification.md"
EXISTING = "registration with ADD_EXISTING"
MOST_NUMBERS = 16
"""Numbers of processors that a reason names."""


def _returned(span: CallSpan | None, *, existing: bool | None = None) -> Registration | None:
    """Return the synchronous registration that this record ends, with or without ADD_EXISTING, or None."""
    if span is None or span.enter.call != "reg_sync" or span.registration is None:
        return None
    if existing is not None and span.registration.add_existing != existing:
        return None
    return span.registration


def _state(registration: Registration, state: int) -> list[Callback]:
    return [call for call in registration.existing if call.enter.state == state]


def _veto(registration: Registration) -> Callback | None:
    return next((call for call in registration.existing if call.refused), None)


def _gate(registration: Registration) -> str:
    """Return why the counting rules cannot judge this span, "" if they can."""
    if registration.span is None:
        return "the registering call is not in the history"
    if registration.races_add:
        return "a host command to add a processor was in flight"
    if any(call.exit is None for call in registration.existing):
        return "a callback was not seen to return"
    return ""


def _within(registration: Registration, model: Model) -> Stretch:
    """Return the stretch of the registering call."""
    return registration.driver, registration.span.at if registration.span is not None else 0, model.at


def _processors(numbers: Iterable[int]) -> str:
    """Return ``no processor``, ``processor 0`` or ``processors 0 and 1``."""
    *some, last = [str(number) for number in numbers][:MOST_NUMBERS] or [""]
    if not some:
        return f"processor {last}" if last else "no processor"
    return f"processors {', '.join(some)} and {last}"


def _numbers(calls: list[Callback]) -> str:
    return _processors(call.enter.nt for call in calls)


def _judge(registration: Registration, model: Model, said: str, shown: tuple[Record, ...]) -> RuleOutcome:
    gate = _gate(registration)
    if gate:
        return Unclear(f"{said}, but {gate}", shown)
    return Broken(said, shown, absent=_within(registration, model), cause=("existing", registration))


@rule(
    "ADDEX-WITHIN-REGISTER", Level.ERROR, kind.SYNC_ENTER.given("subject.enter.nt in subject.registration.existing_processors") | kind.CALL_EXIT, clauses="A20", source=REGISTER,
    says="calls for processors that exist at registration all come before the registration returns", needs=EXISTING,
    unless="each returned NULL",
    holds="[S0 S1 C0 C1]", violates="[S0 S1 C0 C1] S1 C1",
)  # fmt: skip
def within_register(subject: Callback | CallSpan | None, model: Model) -> RuleOutcome:
    """After the return, no call is made for a processor that was already active."""
    if not isinstance(subject, Callback):
        registration = _returned(subject, existing=True)
        return HOLDS if registration is not None and registration.handle else None
    registration = subject.registration
    if subject.attempt is None or subject.enter.nt not in registration.existing_processors:
        return None
    again = any(call.enter.nt == subject.enter.nt for call in registration.existing)
    return Broken(
        f"{registration} was called for processor {subject.enter.nt} after the registration had returned; the processor "
        f"{'had been reported already' if again else 'existed'} during the registration", (*registration.returned, subject.enter), (), subject.attempt.name,
        absent=(registration.driver, 0, model.at), cause=("hot", registration, subject.enter.nt),
    )  # fmt: skip


@rule(
    "ADDEX-ONE-START-EACH", Level.ERROR, kind.CALL_EXIT, clauses="A20", source=REGISTER,
    says="with ADD_EXISTING there is one Start for every active processor", needs=EXISTING,
    unless="a Start reported an error in each, or it returned NULL and reported nothing",
    holds="[S0 S1 C0 C1]", violates="cpus=2 [S0 C0]",
)  # fmt: skip
def one_start_each(span: CallSpan | None, model: Model) -> RuleOutcome:
    """No number repeats. There are as many as the active count, which must not change meanwhile."""
    registration = _returned(span, existing=True)
    if registration is None or span is None or span.exit is None or _veto(registration) is not None:
        return None
    starts = _state(registration, START)
    if not registration.handle and not starts:
        return None
    twice = [number for number, times in Counter(call.enter.nt for call in starts).items() if times > 1]
    if twice:
        repeats = tuple(call.enter for call in starts if call.enter.nt == twice[0])
        return _judge(
            registration, model, f"Start came {len(repeats)} times for processor {twice[0]}", repeats[:3]
        )
    counts = {call.enter.active for call in registration.existing} | {
        span.enter.active,
        span.exit.active,
    }
    shown = (span.enter, span.exit)
    if len(counts) > 1:
        return Unclear(f"the active count changed during the registration: {sorted(counts)}", shown)
    active = span.exit.active
    beyond = [call for call in starts if call.enter.nt >= active]
    if len(starts) == active and not beyond:
        return HOLDS if not _gate(registration) else Unclear(_gate(registration), shown)
    started = {call.enter.nt for call in starts}
    left = [number for number in range(min(active, MOST_NUMBERS)) if number not in started]
    none = f"; the one for {_processors(left)} is missing" if left else ""
    said = f"{active} processors were active and Start came for {_numbers(starts)}{none}"
    return _judge(registration, model, said, shown)


@rule(
    "ADDEX-STARTS-THEN-COMPLETES", Level.ERROR, kind.CALL_EXIT, clauses="A20", source=REGISTER,
    says="with ADD_EXISTING all Starts come before any Complete", needs=EXISTING,
    unless="none reported both Start and Complete",
    holds="[S1 S0 C0 C1]", violates="[S0 C0 S1 C1]",
)  # fmt: skip
def starts_then_completes(span: CallSpan | None, model: Model) -> RuleOutcome:
    """This is only an order within one driver: no loss excuses it."""
    registration = _returned(span, existing=True)
    if registration is None:
        return None
    starts, completes = _state(registration, START), _state(registration, COMPLETE)
    if not starts or not completes:
        return None
    last = max(starts, key=lambda call: call.last.seq)
    if last.last.seq < completes[0].enter.seq:
        return HOLDS
    done = last.last
    begun = "had begun" if completes[0].enter.seq < last.enter.seq else "had returned"
    return Broken(
        f"Complete of processor {completes[0].enter.nt} came before Start of processor {last.enter.nt} {begun}",
        (completes[0].enter, last.enter, done), contradiction(done, completes[0].enter, (last.enter,)),
    )  # fmt: skip


@rule(
    "ADDEX-ONE-COMPLETE-EACH", Level.ERROR, kind.CALL_EXIT, clauses="A20", source=REGISTER,
    says="with ADD_EXISTING and no error there is one Complete for every Start, and no Failure", needs=EXISTING,
    unless="a Start reported an error in each, or nothing was reported",
    holds="[S0 S1 C1 C0]", violates="cpus=2 [S0 S1 C0]",
)  # fmt: skip
def one_complete_each(span: CallSpan | None, model: Model) -> RuleOutcome:
    """All come before the registration returns."""
    registration = _returned(span, existing=True)
    if registration is None or span is None or span.exit is None or _veto(registration) is not None:
        return None
    starts, completes = _state(registration, START), _state(registration, COMPLETE)
    failures = _state(registration, FAILURE)
    if not starts and not completes and not failures:
        return None
    if failures:
        said = f"Failure came for processor {failures[0].enter.nt} although no Start had reported an error"
        return _judge(registration, model, said, (span.enter, failures[0].enter))
    if Counter(call.enter.nt for call in starts) == Counter(call.enter.nt for call in completes):
        gate = _gate(registration)
        return Unclear(gate, (span.enter, span.exit)) if gate else HOLDS
    ended = {call.enter.nt for call in completes}
    left = [call for call in starts if call.enter.nt not in ended]
    none = f"; the Complete for {_numbers(left)} is missing" if left else ""
    said = f"Start came for {_numbers(starts)} and Complete for {_numbers(completes)}{none}"
    return _judge(registration, model, said, (span.enter, span.exit))


@rule(
    "ADDEX-VETO-STOPS", Level.ERROR, kind.CALL_EXIT, clauses="A22", source=REGISTER,
    says="after an error in a Start of ADD_EXISTING there is no further Start and no Complete",
    needs="error in a Start of ADD_EXISTING",
    holds="[S0 S1! F0]0", violates="[S0 S1! S2 F0]0",
)  # fmt: skip
def veto_stops(span: CallSpan | None, model: Model) -> RuleOutcome:
    """The first error ends the round."""
    registration = _returned(span, existing=True)
    veto = _veto(registration) if registration is not None else None
    if registration is None or veto is None:
        return None
    for call in registration.existing:
        if call.at > veto.at and call.enter.state in (START, COMPLETE):
            return Broken(
                f"Start of processor {veto.enter.nt} reported an error, and {d.STATE_NAMES.get(call.enter.state)} of processor "
                f"{call.enter.nt} followed all the same", (veto.last, call.enter), cause=("existing", registration),
            )  # fmt: skip
    completes = _state(registration, COMPLETE)
    if completes:
        said = "a Complete came although a Start reported an error"
        return Broken(said, (completes[0].enter, veto.last))
    return HOLDS


@rule(
    "ADDEX-VETO-FAILURES", Level.ERROR, kind.CALL_EXIT, clauses="A22", source=REGISTER,
    says="after an error in a Start of ADD_EXISTING, Failure comes for every processor already started, "
    "except the one with the error", needs="error in a Start of ADD_EXISTING",
    holds="[S0 S1 S2! F1 F0]0", violates="[S0 S1!]0",
)  # fmt: skip
def veto_failures(span: CallSpan | None, model: Model) -> RuleOutcome:
    """The order is free. All come after the Start with the error returned."""
    registration = _returned(span, existing=True)
    veto = _veto(registration) if registration is not None else None
    if registration is None or veto is None:
        return None
    failures = _state(registration, FAILURE)
    expected = Counter(
        call.enter.nt for call in _state(registration, START) if call.enter.nt != veto.enter.nt
    )
    early = [call for call in failures if veto.exit_at and call.at < veto.exit_at]
    if early:
        return Broken(
            f"Failure of processor {early[0].enter.nt} came before the Start with the error had returned",
            (early[0].enter, veto.last), cause=("existing", registration),
        )  # fmt: skip
    if Counter(call.enter.nt for call in failures) == expected:
        return HOLDS if not _gate(registration) else Unclear(_gate(registration))
    said = (
        f"Start of processor {veto.enter.nt} reported an error, and then Failure came for {_numbers(failures)}; it was due "
        f"for {_processors(sorted(expected))}"
    )
    return _judge(registration, model, said, (veto.last, *(call.enter for call in failures[:3])))


@rule(
    "ADDEX-VETO-NULL", Level.WARN, kind.CALL_EXIT, clauses="A23, X2", source=REGISTERING,
    says="after an error in a Start of ADD_EXISTING the registration returns NULL",
    needs="error in a Start of ADD_EXISTING", holds="[S0!]0", violates="[S0!]",
)  # fmt: skip
def veto_null(span: CallSpan | None, model: Model) -> RuleOutcome:
    """Only Microsoft's sample implies it. The page of the routine warns against that conclusion."""
    registration = _returned(span, existing=True)
    veto = _veto(registration) if registration is not None else None
    if registration is None or veto is None or span is None or span.exit is None:
        return None
    if not registration.handle:
        return HOLDS
    return Broken(
        "a Start reported an error and the registration returned a handle",
        (veto.last, span.exit),
    )


@rule(
    "NULL-NO-CALLBACKS", Level.ERROR, kind.SYNC_ENTER.given("not subject.registration.handle") | kind.CALL_EXIT, clauses="A24, A28", source=REGISTER,
    says="a registration that returned NULL is never called", needs="registration that returned NULL",
    holds="[S0!]0", violates="[S0!]0 S2",
)  # fmt: skip
def null_no_callbacks(subject: Callback | CallSpan | None, model: Model) -> RuleOutcome:
    """NULL means: not registered."""
    if not isinstance(subject, Callback):
        registration = _returned(subject)
        return None if registration is None or registration.handle else HOLDS
    registration = subject.registration
    if registration.handle or registration.open or registration.span is None:
        return None
    said = f"KeRegisterProcessorChangeCallback had returned NULL for {registration}, and it was called all the same"
    return Broken(said, (*registration.returned, subject.enter))


@rule(
    "OB-NULL-FAILS-ENTRY", Level.ERROR_DRIVER, kind.CALL_EXIT, clauses="A24", source=REGISTER,
    says="if the registration returns NULL, DriverEntry fails with an error",
    needs="registration that returned NULL",
    unless="none was made in DriverEntry",
    holds="entry [S0!]0 entry!", violates="entry [S0!]0 entry.",
)  # fmt: skip
def null_fails_entry(span: CallSpan | None, model: Model) -> RuleOutcome:
    """The callback may store the status in its context. The page does not demand that DriverEntry returns this one."""
    if span is None or span.exit is None or span.enter.call != "driver_entry":
        return None
    for registration in span.stream.registrations.values():
        call = registration.span
        if not registration.sync or registration.handle or call is None or call.at < span.at:
            continue
        if nt_success(span.exit.result):
            said = f"KeRegisterProcessorChangeCallback returned NULL for {registration}, and DriverEntry succeeded"
            return Broken(said, (*registration.returned, span.exit))
        return HOLDS
    return None


@rule(
    "OB-VETO-SELF-CLEAN", Level.ERROR_DRIVER, kind.SYNC_EXIT.given("subject is not None and subject.veto"), clauses="A22", source=REGISTER,
    says="a Start of ADD_EXISTING that reports an error frees what it allocated itself",
    needs="error in a Start of ADD_EXISTING with allocation records",
    unless="the driver reported no allocation before",
    holds="[S0{alloc=1} S1{alloc=1,free=1}! F0{free=1}]0", violates="[S0{alloc=1} S1{alloc=1}! F0{free=1}]0",
)  # fmt: skip
def veto_self_clean(call: Callback | None, model: Model) -> RuleOutcome:
    """No Failure comes for that processor, so nothing else frees the object."""
    if (
        call is None
        or call.exit is None
        or call.attempt is not None
        or not call.veto
        or not model.stream.allocates
    ):
        return None
    objects = model.stream.objects.get((call.enter.reg, call.enter.nt), {})
    held = [one.record for one in objects.values() if one.call is call]
    if not held:
        return HOLDS
    said = f"Start of processor {call.enter.nt} reported an error and did not free {some(len(held), 'object')} that it had allocated"
    return Broken(said, (*held[:2], call.exit), absent=(model.stream.driver, call.at, model.at))


@rule(
    "NOFLAG-SILENT", Level.ERROR, kind.SYNC_ENTER.given("not subject.registration.add_existing") | kind.CALL_EXIT, clauses="A21", source=REGISTER,
    says="without ADD_EXISTING there is no call for processors that are already active",
    needs="registration without ADD_EXISTING", holds="( )", violates="( S0 C0 )",
)  # fmt: skip
def noflag_silent(subject: Callback | CallSpan | None, model: Model) -> RuleOutcome:
    """Judged only when no host command to add a processor is in flight."""
    if not isinstance(subject, Callback):
        return HOLDS if _returned(subject, existing=False) is not None else None
    registration = subject.registration
    span = registration.span
    if span is None or registration.add_existing:
        return None
    if registration.open:
        if registration.races_add or model.commands.cpu_in_flight:
            return None
        active = subject.enter.nt < span.enter.active
        if not active and (
            not model.commands.known
            or model.commands.retry_possible
            or model.attempts.opened <= model.commands.cpu_plugged
        ):
            return None
        return Broken(
            f"{registration} was called during a registration without ADD_EXISTING",
            (span.enter, subject.enter), absent=("", 0, model.at),
        )  # fmt: skip
    if span.exit is None or subject.enter.state != START or registration.races_add:
        return None
    known = model.processors.known(subject.enter.nt)
    if subject.enter.nt < span.exit.active or (known is not None and known[2] < span.at):
        said = f"processor {subject.enter.nt} was active when {registration} was made, and Start came for it"
        return Broken(said, (span.exit, subject.enter), cause=("hot", registration, subject.enter.nt))
    return HOLDS


@rule(
    "ADDEX-OTHERS-SILENT", Level.ERROR, kind.START.given("model.registrations.open") | kind.CALL_EXIT, clauses="A25", source=REGISTER,
    says="a registration with ADD_EXISTING calls only the callback being registered", needs="second synchronous registration",
    unless="no other registration was in force while one with ADD_EXISTING was made",
    holds="with b [S0 S1 C0 C1]", violates="with b [S0 b:S0 S1 C0 C1]",
)  # fmt: skip
def others_silent(subject: Callback | CallSpan | None, model: Model) -> RuleOutcome:
    """Other registrations are called only for added processors, and every add that the host requested is accounted for."""
    if not isinstance(subject, Callback):
        registration = _returned(subject, existing=True)
        if registration is None or registration.races_add:
            return None
        others = any(
            known.sync and known.alive and known is not registration for known in model.registrations.each()
        )
        return HOLDS if others else None
    if subject.attempt is None or subject.enter.state != START:
        return None
    if model.processors.known(subject.enter.nt) is None and (
        not model.commands.known
        or model.commands.cpu_in_flight
        or model.attempts.opened <= model.commands.cpu_plugged
        or model.commands.retry_possible
    ):
        return None
    for other in model.registrations.open:
        if other is not subject.registration and other.add_existing and not other.races_add:
            said = f"{subject.registration} was called while {other} was being made"
            return Broken(said, (*other.made, subject.enter), absent=("", 0, model.at))
    return None


@rule(
    "ADDEX-ORDER", Level.OBSERVE, kind.CALL_EXIT, clauses="A27, U8", source="undocumented: docs/contract.md A27",
    says="in which order are existing processors reported?", needs=EXISTING,
    unless="none reported a processor", holds="[S1 S0 C1 C0]",
)  # fmt: skip
def existing_order(span: CallSpan | None, model: Model) -> RuleOutcome:
    """Ascending order is a common assumption, and no page states it."""
    registration = _returned(span, existing=True)
    if registration is None or not registration.existing:
        return None
    words = []
    for state, name in ((START, "Start"), (COMPLETE, "Complete"), (FAILURE, "Failure")):
        numbers = [call.enter.nt for call in _state(registration, state)]
        if len(numbers) > 1:
            up, down = numbers == sorted(numbers), numbers == sorted(numbers, reverse=True)
            words.append(f"{name} {'ascending' if up else 'descending' if down else 'in another order'}")
    return Observed(", ".join(words) or "one processor")


@rule(
    "ADDEX-THREAD", Level.OBSERVE, kind.CALL_EXIT, clauses="A27, U13", source="undocumented: docs/contract.md A27",
    says="do the calls of ADD_EXISTING run on the registering thread?", needs=EXISTING,
    unless="none reported a processor",
    holds="[S0 S1 C0 C1]",
)  # fmt: skip
def existing_thread(span: CallSpan | None, model: Model) -> RuleOutcome:
    """The registering thread is the natural reading, but no page states it."""
    registration = _returned(span, existing=True)
    if registration is None or span is None or not registration.existing:
        return None
    same = all(call.enter.thread == span.enter.thread for call in registration.existing)
    return Observed("yes" if same else "no")


@rule(
    "ADDEX-RACE", Level.OBSERVE, kind.CALL_EXIT, clauses="A27, U11", source="undocumented: docs/contract.md A27",
    says="what happens when a registration meets a hot add in flight?", needs=EXISTING,
    unless="no host command to add a processor was in flight during one",
    holds="+cpu [S0 S1 C0 C1]",
)  # fmt: skip
def existing_race(span: CallSpan | None, model: Model) -> RuleOutcome:
    """Count the processors that the registration reported when a host command was in flight."""
    registration = _returned(span, existing=True)
    if registration is None or span is None or span.exit is None or not registration.races_add:
        return None
    starts = len(_state(registration, START))
    return Observed(f"{starts} reported, {span.enter.active} active before, {span.exit.active} after")


def left_at_unload(span: CallSpan, record: Record, model: Model, *, sync: bool, when: str) -> RuleOutcome:
    """Judge whether every registration of one kind was ended before ``record``, which shows that the driver's image goes."""
    judged: RuleOutcome = None
    for registration in span.stream.registrations.values():
        if registration.sync != sync or not registration.handle or registration.open:
            continue
        if registration.left:
            judged = judged or HOLDS
            continue
        said = f"{registration} was still registered when {when}"
        return Broken(
            said, (*registration.made, record), absent=(registration.driver, model.epoch_at, model.at)
        )
    return judged


def goes_without_unload(span: CallSpan) -> bool:
    """Return whether DriverEntry returned an error: the image is unloaded, and Unload is not called."""
    return span.enter.call == "driver_entry" and span.exit is not None and not nt_success(span.exit.result)


@rule(
    "OB-DEREG-BEFORE-UNLOAD", Level.ERROR_DRIVER, kind.CALL_EXIT | kind.CALL_ENTER, clauses="A24, A29", source=DEREGISTER,
    says="a driver deregisters each handle exactly once before it is unloaded", needs="unload of a driver",
    unless="no synchronous registration had a handle then",
    holds="S2 C2 unload", violates="S2 C2 unload!",
)  # fmt: skip
def deregister_before_unload(span: CallSpan | None, model: Model) -> RuleOutcome:
    """Typically done in the Unload routine, with the handle; before DriverEntry fails, since Unload is not called then."""
    if span is None:
        return None
    if span.exit is None:
        return _deregisters(span)
    if span.enter.call == "unload":
        return left_at_unload(span, span.exit, model, sync=True, when="the driver was unloaded")
    if goes_without_unload(span):
        return left_at_unload(span, span.exit, model, sync=True, when="DriverEntry failed")
    return None


def _deregisters(span: CallSpan) -> RuleOutcome:
    registration = span.registration
    if span.enter.call != "dereg_sync" or registration is None:
        return None
    if registration.leaves > 1:
        first = registration.leave
        shown = (*((first.enter,) if first is not None else ()), span.enter)
        return Broken(f"{registration} was deregistered {some(registration.leaves, 'time')}", shown)
    made = registration.span
    if made is not None and made.exit is not None and not registration.handle:
        said = (
            f"KeRegisterProcessorChangeCallback had returned NULL for {registration}, and it was deregistered"
        )
        return Broken(said, (made.exit, span.enter))
    return None


@rule(
    "DEREG-QUIET", Level.OBSERVE, kind.SYNC_ENTER.given("subject.registration.leave is not None"), clauses="A30, U12", source="undocumented: docs/contract.md A30",
    says="is a callback called during or after its deregistration?", needs="deregistration",
    unless="no callback came during one or after it",
    holds="S2 dereg C2",
)  # fmt: skip
def deregistered_quiet(call: Callback, model: Model) -> RuleOutcome:
    """The page of KeDeregisterProcessorChangeCallback promises nothing, so this is news, not a violation."""
    registration = call.registration
    if registration.leave is None:
        return None
    when = "after" if registration.left else "during"
    said = f"{registration} was called {when} its deregistration"
    return Observed(f"called {when}", said, (registration.leave.enter, call.enter))


@rule(
    "DEREG-MIDFLIGHT", Level.OBSERVE, kind.CALL_ENTER, clauses="A30, U12", source="undocumented: docs/contract.md A30",
    says="is a registration removed between its Start and its end?", needs="deregistration", holds="S2 dereg",
)  # fmt: skip
def deregistered_midflight(span: CallSpan, model: Model) -> RuleOutcome:
    """Whether the end is still delivered shows in DEREG-QUIET."""
    registration = span.registration
    if span.enter.call != "dereg_sync" or registration is None:
        return None
    midway = model.attempts.midway(registration)
    return Observed("between Start and its end" if midway else "with nothing under way")
