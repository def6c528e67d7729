# SPDX-License-Identifier: MIT
"""R.6, the asynchronous notifications: device interface arrivals of processors and memory."""

# ruff: noqa: ARG001 - every predicate takes its subject and the model, whether it needs both or not

from __future__ import annotations

from harness.contract.rules.registration import left_at_unload
from harness.contract.rules.rule import HOLDS, Broken, Observed, RuleOutcome, Section, Unclear, some
from harness.contract.state.entities import Arrival, CallSpan, Epoch, Registration
from harness.contract.state.model import Model
from harness.contract.verdict import Level
from harness.history.driver import AsyncEnter, AsyncExit, CallEnter, CallExit
from harness.history.record import Quiesced

SECTION = Section("R.6", "Asynchronous")
rule = SECTION.rule

INTRODUCTION = "WD:kernel/introduction-to-driver-notification.md"
GUIDELINES = "WD:kernel/guidelines-for-writing-pnp-notification-callback-routines.md"
STRUCT = "DDI:wdm/ns-wdm-_device_interface_change_notification.md"
REGISTER = "DDI:wdm/nf-wdm-ioregisterplugplaynotification.md"
REGISTERING = "WD:kernel/registering-for-asynchronous-driver-notification.md"
UNREGISTER_EX = "DDI:wdm/nf-wdm-iounregisterplugplaynotificationex.md"
UNREGISTER = "DDI:wdm/nf-wdm-iounregisterplugplaynotification.md"
PROCESSING = "WD:kernel/processing-an-asynchronous-driver-notification.md"
CALLBACK = "asynchronous callback"
ARRIVAL = "processor arrival"

BLOCKED_MS = 100
"""Policy: a notification callback that takes longer is reported."""


@rule(
    "ASYNC-IRQL-PASSIVE", Level.ERROR, AsyncEnter, clauses="B3", source=GUIDELINES,
    says="the callback runs at PASSIVE_LEVEL", needs=CALLBACK,
    holds="S2 C2 V", violates="S2 C2 V{irql=1}",
)  # fmt: skip
def irql_passive(arrival: Arrival, model: Model) -> RuleOutcome:
    """It is paged code."""
    if arrival.enter.irql == 0:
        return HOLDS
    return Broken(f"the callback ran at IRQL {arrival.enter.irql}", (arrival.enter,))


@rule(
    "ASYNC-STRUCT", Level.ERROR, AsyncEnter, clauses="B2", source=STRUCT,
    says="the structure has version 1, a known event and a symbolic link", needs=CALLBACK,
    holds="S2 C2 V", violates="S2 C2 V{version=2}",
)  # fmt: skip
def structure(arrival: Arrival, model: Model) -> RuleOutcome:
    """DEVICE_INTERFACE_CHANGE_NOTIFICATION."""
    enter = arrival.enter
    if enter.version != 1:
        return Broken(f"the version is {enter.version}", (enter,))
    if enter.event not in ("arrival", "removal"):
        return Broken(f"the event is {enter.event[:64]}", (enter,))
    return HOLDS if enter.link else Broken("the symbolic link is empty", (enter,))


@rule(
    "ASYNC-CLASS-ROUTE", Level.ERROR, AsyncEnter, clauses="B1, B2", source=f"{REGISTERING}; {STRUCT}",
    says="a callback gets notifications of the class it registered for only", needs=CALLBACK,
    holds="S2 C2 V", violates="S2 C2 V{cls=memory}",
)  # fmt: skip
def class_route(arrival: Arrival, model: Model) -> RuleOutcome:
    """GUID_DEVICE_PROCESSOR or GUID_DEVICE_MEMORY."""
    span = arrival.registration.span
    if span is None:
        return None
    if arrival.enter.cls == span.enter.cls:
        return HOLDS
    said = f"{arrival.registration} is for class {span.enter.cls[:64]} and got {arrival.enter.cls[:64]}"
    return Broken(said, (span.enter, arrival.enter))


@rule(
    "ASYNC-AFTER-SCHEDULABLE", Level.ERROR, AsyncEnter, clauses="B4, B9", source=INTRODUCTION,
    says="a processor's arrival comes when threads are already scheduled on it, so it is counted", needs=ARRIVAL,
    holds="S2 C2 V", violates="S2 C2 V{active=2}",
)  # fmt: skip
def after_schedulable(arrival: Arrival, model: Model) -> RuleOutcome:
    """By count: the i-th new link after the baseline sees at least i processors more."""
    if not arrival.index:
        return None
    base = arrival.registration.base
    if arrival.enter.active >= base + arrival.index:
        return HOLDS
    quiet = (model.quiesced,) if model.quiesced is not None else ()
    return Broken(
        f"new processor link number {arrival.index} arrived when {arrival.enter.active} processors were active; "
        f"the baseline was {base}", (*quiet, arrival.enter),
    )  # fmt: skip


@rule(
    "ASYNC-AFTER-COMPLETE", Level.OBSERVE, AsyncEnter, clauses="B6, U17", source="undocumented: docs/contract.md B6",
    says="does a processor's arrival come before or after its Complete?", needs=ARRIVAL,
    holds="S2 V C2",
)  # fmt: skip
def after_complete(arrival: Arrival, model: Model) -> RuleOutcome:
    """The i-th new arrival against the i-th Complete of the same driver. No page orders them."""
    stream, registration = arrival.registration.stream, arrival.registration
    if not arrival.index or not any(known.sync for known in stream.registrations.values()):
        return None
    place = registration.completes_at_base + arrival.index
    if stream.completes < place:
        return Observed("before")
    recent = stream.complete_calls[place - stream.completes - 1 :]
    return Observed("overlapping" if recent and recent[0].exit is None else "after")


def _awaited(registration: Registration, model: Model) -> int:
    """Processors completed since the baseline of this registration."""
    return model.attempts.completed_count - registration.all_completes_at_base


def _processor_registrations(model: Model) -> list[Registration]:
    return [
        registration
        for stream in model.streams.values()
        for registration in stream.registrations.values()
        if not registration.sync and registration.base >= 0 and registration.cls == "cpu"
    ]


@rule(
    "ASYNC-EVENTUALLY", Level.POLICY, Epoch, clauses="B4, B5", source=INTRODUCTION,
    says="each completed hot-add is followed by the arrival of one more processor", needs="completed hot-add",
    holds="S2 C2 V", violates="S2 C2", awaited=True,
)  # fmt: skip
def eventually(end: Epoch, model: Model) -> RuleOutcome:
    """No latency is documented, so a missing arrival is unknown, never a violation."""
    judged: RuleOutcome = None
    for registration in _processor_registrations(model):
        awaited, came = _awaited(registration, model), len(registration.new_links)
        if awaited <= 0 or registration.leave is not None:
            continue
        if came >= awaited:
            judged = judged or HOLDS
            continue
        said = f"Complete was told of {some(awaited, 'processor')}, and {some(came, 'arrival')} came to {registration}"
        return Unclear(
            f"{said} until the {'guest booted again' if end.ended_by == 'boot' else 'history ended'}"
        )
    return judged


@rule(
    "ASYNC-NOT-ON-FAILURE", Level.WARN, Quiesced, clauses="B4, X4", source=INTRODUCTION,
    says="no more processors arrive than were completed", needs=ARRIVAL,
    holds="S2 C2 V Q", violates="S2! F2 V{active=3} Q",
)  # fmt: skip
def not_on_failure(quiesced: Quiesced, model: Model) -> RuleOutcome:
    """At a quiesced point. A warning: an interface signals presence, which is not the same as running."""
    judged: RuleOutcome = None
    for registration in _processor_registrations(model):
        came, completed = len(registration.new_links), _awaited(registration, model)
        if came > completed and not model.lost("", registration.base_at, model.at):
            return Broken(
                f"{some(came, 'processor')} arrived at {registration}, and Complete was told of {completed}",
                (quiesced,),
            )
        if came:
            judged = HOLDS
    return judged


@rule(
    "ASYNC-EXISTING-DUP", Level.ERROR, AsyncEnter, clauses="B10", source=REGISTER,
    says="an existing interface is reported at most twice", needs="registration that includes existing interfaces",
    holds="{ V0 V1 V0 }", violates="{ V0 V0 V0 }",
)  # fmt: skip
def existing_twice(arrival: Arrival, model: Model) -> RuleOutcome:
    """With PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES, until its next removal."""
    if not arrival.registration.include_existing or not arrival.existing or arrival.enter.event != "arrival":
        return None
    if arrival.times <= 2:
        return HOLDS
    span = arrival.registration.span
    shown = (*((span.enter,) if span is not None else ()), arrival.enter)
    return Broken(f"an existing interface was reported {arrival.times} times", shown)


@rule(
    "ASYNC-NEW-DUP", Level.OBSERVE, AsyncEnter, clauses="B10", source=REGISTER,
    says="is a new interface reported more than once?", needs=CALLBACK, holds="S2 C2 V2 V2",
)  # fmt: skip
def new_twice(arrival: Arrival, model: Model) -> RuleOutcome:
    """The documents speak of existing interfaces only."""
    if arrival.existing or arrival.registration.base < 0 or arrival.enter.event != "arrival":
        return None
    return Observed("first time" if arrival.times == 1 else "again")


@rule(
    "ASYNC-NOFLAG-FUTURE-ONLY", Level.WARN, AsyncEnter, clauses="B11", source=REGISTERING,
    says="without the flag, interfaces that existed before the registration are not reported",
    needs="registration without existing interfaces", holds="S2 C2 async0 S3 C3 V3", violates="S2 C2 V2 async0 V2",
)  # fmt: skip
def future_only(arrival: Arrival, model: Model) -> RuleOutcome:
    """A warning: an interface enabled during the registration is a race."""
    span = arrival.registration.span
    if span is None or arrival.registration.include_existing or arrival.enter.event != "arrival":
        return None
    known = model.all_links.get(arrival.enter.link, span.at)
    if known >= span.at:
        return HOLDS
    return Broken("an interface known before the registration was reported", (span.enter, arrival.enter))


@rule(
    "ASYNC-EXISTING-PRE-RETURN", Level.OBSERVE, AsyncEnter, clauses="B12, U32", source=UNREGISTER_EX,
    says="are existing interfaces reported before the registration returns?",
    needs="registration that includes existing interfaces", holds="{ V0 V1 }",
)  # fmt: skip
def existing_before_return(arrival: Arrival, model: Model) -> RuleOutcome:
    """ "Immediately" is said, and calls before the return are certainly possible."""
    if not arrival.registration.include_existing or not arrival.existing:
        return None
    return Observed("before" if arrival.registration.open else "after")


@rule(
    "ASYNC-REMOVAL-UNEXPECTED", Level.WARN, AsyncEnter, clauses="B13",
    source="WD:kernel/pnp-notification-overview.md; WD:kernel/introduction-to-dynamic-hardware-partitioning.md",
    says="processors and memory are never removed, so no removal is expected", needs=CALLBACK,
    holds="S2 C2 V", violates="S2 C2 V V2{event=removal}",
)  # fmt: skip
def removal_unexpected(arrival: Arrival, model: Model) -> RuleOutcome:
    """Not forbidden: a device can be disabled, a driver updated."""
    if arrival.enter.cls not in ("cpu", "memory"):
        return None
    if arrival.enter.event != "removal":
        return HOLDS
    return Broken(f"a {arrival.enter.cls} interface was removed", (arrival.enter,))


@rule(
    "ASYNC-UNREG-EX-QUIET", Level.ERROR, AsyncEnter, CallExit, clauses="B14", source=UNREGISTER_EX,
    says="after IoUnregisterPlugPlayNotificationEx returned, the callback is not called", needs="unregistration",
    holds="S2 C2 V unreg", violates="S2 C2 unreg V",
)  # fmt: skip
def unregistered_quiet(subject: Arrival | CallSpan | None, model: Model) -> RuleOutcome:
    """The routine waits for callbacks in progress and prevents new ones."""
    if not isinstance(subject, Arrival):
        return HOLDS if subject is not None and subject.enter.call == "unreg_ex" else None
    registration = subject.registration
    leave = registration.leave
    if not registration.left or leave is None or leave.exit is None or leave.enter.call != "unreg_ex":
        return None
    return Broken(f"{registration} was called after it had been unregistered", (leave.exit, subject.enter))


@rule(
    "ASYNC-UNREG-LEGACY-LATE", Level.OBSERVE, AsyncEnter, clauses="B14", source=UNREGISTER,
    says="is the callback called after IoUnregisterPlugPlayNotification returned?", needs="legacy unregistration",
    holds="S2 C2 unreg_old V",
)  # fmt: skip
def unregistered_late(arrival: Arrival, model: Model) -> RuleOutcome:
    """Allowed for the older routine."""
    leave = arrival.registration.leave
    if leave is None or leave.enter.call != "unreg_old":
        return None
    return Observed("after it returned" if arrival.registration.left else "while it ran")


@rule(
    "ASYNC-IFACE-COUNT", Level.OBSERVE, Epoch, clauses="B9, U21", source="undocumented: docs/contract.md B9",
    says="how many interfaces exist and arrive, compared with processors?", needs="processor registration",
    holds="S2 C2 V",
)  # fmt: skip
def interface_count(end: Epoch, model: Model) -> RuleOutcome:
    """One interface per logical processor or per device: no page says."""
    for registration in _processor_registrations(model):
        existing = f"{len(registration.known_links)} existing for {registration.base} active, "
        return Observed(
            existing + f"{len(registration.new_links)} new for {_awaited(registration, model)} added"
        )
    return None


@rule(
    "OB-ASYNC-RETURN-SUCCESS", Level.ERROR_DRIVER, AsyncExit, clauses="B8", source=f"{PROCESSING}; {GUIDELINES}",
    says="a notification callback returns STATUS_SUCCESS", needs=CALLBACK,
    holds="S2 C2 V", violates="S2 C2 V{ret=0xC0000001}",
)  # fmt: skip
def returns_success(arrival: Arrival | None, model: Model) -> RuleOutcome:
    """Always, and whatever the event was."""
    if arrival is None or arrival.exit is None:
        return None
    if arrival.exit.ret == 0:
        return HOLDS
    return Broken(f"the callback returned {arrival.exit.ret:#x}", (arrival.enter, arrival.exit))


@rule(
    "OB-ASYNC-NONBLOCK", Level.POLICY, AsyncExit, clauses="B7", source=f"{GUIDELINES}; {REGISTER}",
    says=f"a notification callback returns within {BLOCKED_MS} ms (policy)", needs=CALLBACK,
    holds="S2 C2 V", violates="S2 C2 V{x.qpc=900000000}",
)  # fmt: skip
def does_not_block(arrival: Arrival | None, model: Model) -> RuleOutcome:
    """It must not block; how long is too long is policy, and a slow host is no fault of the driver."""
    hz = model.stream.hz
    if arrival is None or arrival.exit is None or hz <= 0:
        return None
    took = (arrival.exit.qpc - arrival.enter.qpc) * 1000 // hz
    if took <= BLOCKED_MS:
        return HOLDS
    return Broken(f"the callback took {took} ms", (arrival.enter, arrival.exit))


@rule(
    "OB-ASYNC-UNREG-BEFORE-UNLOAD", Level.ERROR_DRIVER, CallEnter, clauses="B15, X7",
    source=f"{REGISTER}; {UNREGISTER_EX}",
    says="a driver unregisters all notifications before its Unload can run", needs="unload of a driver",
    holds="S2 C2 unload", violates="S2 C2 unload!",
)  # fmt: skip
def unregister_before_unload(span: CallSpan, model: Model) -> RuleOutcome:
    """The registration references the driver object, so Unload would never be called otherwise."""
    return left_at_unload(span, span.enter, model, sync=False, when="Unload was entered")


@rule(
    "OB-KMDF-REG-ONCE", Level.ERROR_DRIVER, CallEnter, clauses="B16",
    source=f"{REGISTER}; DDI:wdfdevice/nc-wdfdevice-evt_wdf_device_self_managed_io_init.md",
    says="a Plug and Play driver registers once per class in a device's life", needs="Plug and Play driver",
    holds="pnp async1", violates="pnp async1 async1",
)  # fmt: skip
def registers_once(span: CallSpan, model: Model) -> RuleOutcome:
    """A rebalance stops and starts the device; it must not register again."""
    if span.enter.call != "reg_async" or span.stream.mode != "pnp":
        return None
    for other in span.stream.registrations.values():
        same = not other.sync and other.cls == span.enter.cls and other.handle and not other.left
        if same and other is not span.registration and other.span is not None:
            said = f"a second registration for class {span.enter.cls[:64]} was made"
            return Broken(said, (other.span.enter, span.enter))
    return HOLDS
