# SPDX-License-Identifier: MIT
"""R.6, the asynchronous notifications: device interface arrivals of processors and memory."""

# ruff: noqa: ARG001 - every predicate takes its subject and the model, whether it needs both or not

from __future__ import annotations

import bisect

from harness.contract.rules import subject_kind as kind
from harness.contract.rules.registration import goes_without_unload, left_at_unload
from harness.contract.rules.rule import (
    HOLDS,
    Broken,
    Exempt,
    Observed,
    RuleOutcome,
    Section,
    Unclear,
    first_broken,
    some,
)
from harness.contract.rules.sync import MOST_WAITING, QUIET_BETWEEN, UNEXPLAINED, other_explanation
from harness.contract.state.entities import AddWindow, Arrival, CallSpan, Epoch, Registration
from harness.contract.state.model import Model
from harness.contract.verdict import Level
from harness.history.driver import PnpEnter, class_name, interface_name
from harness.history.nt_status import status_name

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

GUIDS = {"cpu": "GUID_DEVICE_PROCESSOR", "memory": "GUID_DEVICE_MEMORY"}
"""Microsoft's names for the classes that records abbreviate."""

BLOCKED_MS = 100
"""Policy: a notification callback that takes longer is reported."""


def _class(cls: str) -> str:
    return {"cpu": "processor", "memory": "memory"}.get(cls) or class_name(cls)[:64]


@rule(
    "ASYNC-IRQL-PASSIVE", Level.ERROR, kind.ASYNC_ENTER, clauses="B3", source=GUIDELINES,
    says="a Plug and Play notification callback runs at PASSIVE_LEVEL", needs=CALLBACK,
    holds="S2 C2 V", violates="S2 C2 V{irql=1}",
)  # fmt: skip
def irql_passive(arrival: Arrival, model: Model) -> RuleOutcome:
    """The callback is paged code."""
    if arrival.enter.irql == 0:
        return HOLDS
    said = (
        f"the Plug and Play notification callback for the {arrival.enter.event[:64]} of a {_class(arrival.enter.cls)} "
        f"interface ran at IRQL {arrival.enter.irql}"
    )
    return Broken(said, (arrival.enter,))


@rule(
    "ASYNC-STRUCT", Level.ERROR, kind.ASYNC_ENTER, clauses="B2", source=STRUCT,
    says="the structure has version 1, a known event and a symbolic link", needs=CALLBACK,
    holds="S2 C2 V", violates="S2 C2 V{version=2}",
)  # fmt: skip
def structure(arrival: Arrival, model: Model) -> RuleOutcome:
    """DEVICE_INTERFACE_CHANGE_NOTIFICATION."""
    enter = arrival.enter
    if enter.version != 1:
        said = f"the Version of DEVICE_INTERFACE_CHANGE_NOTIFICATION is {enter.version}, and 1 was due"
        return Broken(said, (enter,))
    if enter.event not in ("arrival", "removal"):
        return Broken(f"the event is {enter.event[:64]}", (enter,))
    return HOLDS if enter.link else Broken("the symbolic link is empty", (enter,))


@rule(
    "ASYNC-CLASS-ROUTE", Level.ERROR, kind.ASYNC_ENTER, clauses="B1, B2", source=f"{REGISTERING}; {STRUCT}",
    says="a callback gets notifications of the class it registered for only", needs=CALLBACK,
    unless="the history does not hold the registering call",
    holds="S2 C2 V", violates="S2 C2 V{cls=memory}",
)  # fmt: skip
def class_route(arrival: Arrival, model: Model) -> RuleOutcome:
    """GUID_DEVICE_PROCESSOR or GUID_DEVICE_MEMORY."""
    span = arrival.registration.span
    if span is None or arrival.registration.sync:
        return None
    if arrival.enter.cls == span.enter.cls:
        return HOLDS
    said = (
        f"{arrival.registration} is for {_class(span.enter.cls)} interfaces and got InterfaceClassGuid "
        f"{GUIDS.get(arrival.enter.cls) or class_name(arrival.enter.cls)[:64]}"
    )
    return Broken(said, (span.enter, arrival.enter))


@rule(
    "ASYNC-AFTER-SCHEDULABLE", Level.ERROR, kind.ASYNC_ENTER | kind.ADD_WINDOW, clauses="B4, B9", source=INTRODUCTION,
    says="a processor's arrival comes when threads are already scheduled on it, so it is counted", needs=ARRIVAL,
    unless=UNEXPLAINED, holds="S2 C2 V", violates="S2 C2 V{active=2}",
)  # fmt: skip
def after_schedulable(subject: Arrival | AddWindow, model: Model) -> RuleOutcome:
    """Judge an arrival that an add explains; by count where several adds are in flight.

    An arrival that sees too few processors is judged when the window is over, as in SYNC-FIRST.
    """
    if isinstance(subject, AddWindow):
        return first_broken(_uncounted(arrival, subject, model) for arrival in subject.uncounted)
    window = subject.window
    if window is None:
        return None
    if subject.enter.active >= window.base + min(subject.index, window.adds):
        return HOLDS
    if len(window.uncounted) < MOST_WAITING:
        window.uncounted.append(subject)
    return None


def _uncounted(arrival: Arrival, window: AddWindow, model: Model) -> RuleOutcome:
    if not window.succeeded or window.failures:
        return Exempt("the arrival came with an add that failed, which is no more than a sign of presence")
    said = (
        f"a new processor interface arrived when {arrival.enter.active} processors were active; "
        f"{window.base} were active before the add"
    )
    quiet = (model.quiesced,) if model.quiesced is not None and model.quiesced.n < arrival.enter.n else ()
    doubt = other_explanation(arrival, window) or (QUIET_BETWEEN if arrival.quiet else "")
    if doubt:
        return Unclear(f"{said}, but {doubt}", (*quiet, arrival.enter))
    return Broken(said, (*quiet, arrival.enter), absent=(arrival.registration.driver, 0, arrival.at))


@rule(
    "ASYNC-AFTER-COMPLETE", Level.OBSERVE, kind.ASYNC_ENTER, clauses="B6, U17", source="undocumented: docs/contract.md B6",
    says="does a processor's arrival come before or after its Complete?", needs=ARRIVAL,
    unless="no host command explains an arrival, or its driver has no synchronous registration",
    holds="S2 V C2",
)  # fmt: skip
def after_complete(arrival: Arrival, model: Model) -> RuleOutcome:
    """Compare the i-th new arrival with the i-th Complete of the same driver. No page orders them."""
    stream, registration = arrival.registration.stream, arrival.registration
    if arrival.window is None or not any(known.sync for known in stream.registrations.values()):
        return None
    place = registration.completes_at_base + len(registration.new_links)
    if stream.completes < place:
        return Observed("before")
    recent = stream.complete_calls[place - stream.completes - 1 :]
    return Observed("overlapping" if recent and recent[0].exit is None else "after")


def unanswered(registration: Registration) -> tuple[int, int]:
    """Return how many arrivals a registration should get for the adds, and how many of them are missing.

    An arrival does not say which add it is about. A processor may have several interfaces and an interface may arrive
    late. So from each add on, at least as many links must have arrived first as processors were added.
    """
    owed, worst, told = 0, 0, len(registration.told)
    for at, count in reversed(registration.owed):
        owed += count
        worst = max(worst, owed - (told - bisect.bisect_left(registration.told, at)))
    return owed, worst


@rule(
    "ASYNC-EVENTUALLY", Level.POLICY, kind.CALL_ENTER | kind.EPOCH, clauses="B4, B5", source=INTRODUCTION,
    says="each completed hot-add is followed by the arrival of one more processor", needs="completed hot-add",
    unless="no registration for processor arrivals was in force",
    holds="S2 C2 V", violates="S2 C2", awaited=True,
)  # fmt: skip
def eventually(subject: CallSpan | Epoch, model: Model) -> RuleOutcome:
    """No latency is documented, so a missing arrival is unknown, never a violation, even if the driver withdrew since."""
    return arrived(subject, model, cls="cpu", what="processor")


def arrived(subject: CallSpan | Epoch, model: Model, *, cls: str, what: str) -> RuleOutcome:
    """Judge whether the expected arrivals came to a registration that is being removed, or to all when a boot is over."""
    if isinstance(subject, CallSpan):
        registration = subject.registration
        if registration is None or registration.leave is not subject:
            return None
        judged, until = [registration], "it was unregistered"
    else:
        judged = [known for known in model.registrations.each(earlier=True) if known.leave is None]
        until = "the guest booted again" if subject.ended_by == "boot" else "the history ended"
    outcome: RuleOutcome = None
    for registration in judged:
        if registration.sync or registration.cls != cls or not registration.owed:
            continue
        owed, missing = unanswered(registration)
        if missing <= 0:
            outcome = outcome or HOLDS
            continue
        return Unclear(
            f"{some(owed, what)} {'was' if owed == 1 else 'were'} added while {registration} was in force, and "
            f"no arrival came for {missing} until {until}"
        )
    return outcome


@rule(
    "ASYNC-NOT-ON-FAILURE", Level.WARN, kind.ADD_WINDOW, clauses="B4, X4", source=INTRODUCTION,
    says="no processor arrives for an add that failed", needs=ARRIVAL, unless=UNEXPLAINED,
    holds="S2 C2 V Q", violates="S2! F2 V{active=2} Q",
)  # fmt: skip
def not_on_failure(window: AddWindow, model: Model) -> RuleOutcome:
    """A warning: an interface signals presence, which is not the same as running."""
    if not window.links:
        return None
    if window.succeeded:
        return HOLDS
    if not window.failures:
        return None
    registration = next(iter(window.links))
    last = model.stream.last
    return Broken(
        f"a processor arrived at {registration}, and the add had failed", (last,) if last is not None else ()
    )


@rule(
    "ASYNC-EXISTING-DUP", Level.ERROR, kind.ASYNC_ENTER, clauses="B10", source=REGISTER,
    says="an existing interface is reported at most twice", needs="registration that includes existing interfaces",
    unless="no existing interface was reported",
    holds="{ V0 V1 V0 }", violates="{ V0 V0 V0 }",
)  # fmt: skip
def existing_twice(arrival: Arrival, model: Model) -> RuleOutcome:
    """With PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES, until its next removal."""
    if not arrival.registration.include_existing or not arrival.existing or arrival.enter.event != "arrival":
        return None
    if arrival.registration.leave is not None:
        # After the older routine calls may still come (ASYNC-UNREG-LEGACY-LATE).
        return None
    if arrival.times <= 2:
        return HOLDS
    return Broken(
        f"an arrival of the existing interface {interface_name(arrival.enter.link)} was reported {arrival.times} times, and at most 2 are "
        "allowed",
        (*arrival.registration.made, arrival.enter),
        absent=(arrival.registration.driver, 0, model.at),
    )  # fmt: skip


@rule(
    "ASYNC-NEW-DUP", Level.OBSERVE, kind.ASYNC_ENTER, clauses="B10", source=REGISTER,
    says="is a new interface reported more than once?", needs=CALLBACK,
    unless="every arrival was of an interface that was known at a quiet point, or came before one", holds="S2 C2 V2 V2",
)  # fmt: skip
def new_twice(arrival: Arrival, model: Model) -> RuleOutcome:
    """The documents describe existing interfaces only."""
    if arrival.existing or arrival.registration.base < 0 or arrival.enter.event != "arrival":
        return None
    return Observed("first time" if arrival.times == 1 else "again")


@rule(
    "ASYNC-NOFLAG-FUTURE-ONLY", Level.WARN, kind.ASYNC_ENTER, clauses="B11", source=REGISTERING,
    says="without the flag, interfaces that existed before the registration are not reported",
    needs="registration without existing interfaces",
    unless="no arrival was reported", holds="S2 C2 async0 S3 C3 V3", violates="S2 C2 V2 async0 V2",
)  # fmt: skip
def future_only(arrival: Arrival, model: Model) -> RuleOutcome:
    """A warning: an interface enabled during the registration is a race."""
    span = arrival.registration.span
    if span is None or arrival.registration.include_existing or arrival.enter.event != "arrival":
        return None
    known = model.arrivals.all_links.get(arrival.enter.link, span.at)
    if known >= span.at:
        return HOLDS
    return Broken("an interface known before the registration was reported", (span.enter, arrival.enter))


@rule(
    "ASYNC-EXISTING-PRE-RETURN", Level.OBSERVE, kind.ASYNC_ENTER, clauses="B12, U32", source=UNREGISTER_EX,
    says="are existing interfaces reported before the registration returns?",
    needs="registration that includes existing interfaces",
    unless="no existing interface was reported", holds="{ V0 V1 }",
)  # fmt: skip
def existing_before_return(arrival: Arrival, model: Model) -> RuleOutcome:
    """The page says "immediately", and calls before the return are certainly possible."""
    if not arrival.registration.include_existing or not arrival.existing:
        return None
    return Observed("before" if arrival.registration.open else "after")


@rule(
    "ASYNC-REMOVAL-UNEXPECTED", Level.WARN, kind.ASYNC_ENTER, clauses="B13",
    source="WD:kernel/pnp-notification-overview.md; WD:kernel/introduction-to-dynamic-hardware-partitioning.md",
    says="processors and memory are never removed, so no removal is expected", needs=CALLBACK,
    holds="S2 C2 V", violates="S2 C2 V V2{event=removal}",
)  # fmt: skip
def removal_unexpected(arrival: Arrival, model: Model) -> RuleOutcome:
    """Removal is not forbidden: a device can be disabled, a driver updated."""
    if arrival.enter.cls not in ("cpu", "memory"):
        return None
    if arrival.enter.event != "removal":
        return HOLDS
    return Broken(f"a {arrival.enter.cls} interface was removed", (arrival.enter,))


@rule(
    "ASYNC-UNREG-EX-QUIET", Level.ERROR, kind.ASYNC_ENTER | kind.CALL_EXIT, clauses="B14", source=UNREGISTER_EX,
    says="after IoUnregisterPlugPlayNotificationEx returned, the callback is not called", needs="unregistration",
    holds="S2 C2 V unreg", violates="S2 C2 unreg V",
)  # fmt: skip
def unregistered_quiet(subject: Arrival | CallSpan | None, model: Model) -> RuleOutcome:
    """The routine prevents new calls. The page does not say that it waits for one in progress."""
    if not isinstance(subject, Arrival):
        return HOLDS if subject is not None and subject.enter.call == "unreg_ex" else None
    registration = subject.registration
    leave = registration.leave
    if not registration.left or leave is None or leave.exit is None or leave.enter.call != "unreg_ex":
        return None
    return Broken(f"{registration} was called after it had been unregistered", (leave.exit, subject.enter))


@rule(
    "ASYNC-UNREG-LEGACY-LATE", Level.OBSERVE, kind.ASYNC_ENTER, clauses="B14", source=UNREGISTER,
    says="is the callback called after IoUnregisterPlugPlayNotification returned?", needs="legacy unregistration",
    unless="no callback came during one or after it",
    holds="S2 C2 unreg_old V",
)  # fmt: skip
def unregistered_late(arrival: Arrival, model: Model) -> RuleOutcome:
    """The older routine allows it."""
    leave = arrival.registration.leave
    if leave is None or leave.enter.call != "unreg_old":
        return None
    return Observed("after it returned" if arrival.registration.left else "while it ran")


@rule(
    "ASYNC-IFACE-COUNT", Level.OBSERVE, kind.EPOCH, clauses="B9, U21", source="undocumented: docs/contract.md B9",
    says="how many interfaces exist and arrive, compared with processors?", needs="processor registration",
    unless="none was in force at a quiet point",
    holds="S2 C2 V",
)  # fmt: skip
def interface_count(end: Epoch, model: Model) -> RuleOutcome:
    """One interface per logical processor or per device: no page says."""
    for registration in model.registrations.each():
        if not registration.sync and registration.base >= 0 and registration.cls == "cpu":
            existing = f"{len(registration.known_links)} existing for {registration.base} active, "
            owed, _ = unanswered(registration)
            return Observed(existing + f"{len(registration.new_links)} new for {owed} added")
    return None


@rule(
    "OB-ASYNC-RETURN-SUCCESS", Level.ERROR_DRIVER, kind.ASYNC_EXIT, clauses="B8", source=f"{PROCESSING}; {GUIDELINES}",
    says="a notification callback returns STATUS_SUCCESS", needs=CALLBACK,
    holds="S2 C2 V", violates="S2 C2 V{ret=0xC0000001}",
)  # fmt: skip
def returns_success(arrival: Arrival | None, model: Model) -> RuleOutcome:
    """The status is always STATUS_SUCCESS, for every event."""
    if arrival is None or arrival.exit is None:
        return None
    if arrival.exit.ret == 0:
        return HOLDS
    return Broken(f"the callback returned {status_name(arrival.exit.ret)}", (arrival.enter, arrival.exit))


@rule(
    "OB-ASYNC-NONBLOCK", Level.POLICY, kind.ASYNC_EXIT, clauses="B7", source=f"{GUIDELINES}; {REGISTER}",
    says=f"a notification callback returns within {BLOCKED_MS} ms (policy)", needs=CALLBACK,
    holds="S2 C2 V", violates="S2 C2 V{x.qpc=900000000}",
)  # fmt: skip
def does_not_block(arrival: Arrival | None, model: Model) -> RuleOutcome:
    """The callback must not block. The limit is policy, and a slow host is not the driver's fault."""
    hz = model.stream.hz
    if arrival is None or arrival.exit is None or hz <= 0:
        return None
    if model.migrated(arrival.at, model.at):
        return Unclear(
            "the guest was migrated while the callback ran, and its counter need not have run meanwhile",
            (arrival.enter, arrival.exit),
        )
    took = (arrival.exit.qpc - arrival.enter.qpc) * 1000 // hz
    if took <= BLOCKED_MS:
        return HOLDS
    return Broken(f"the callback took {took} ms", (arrival.enter, arrival.exit))


@rule(
    "OB-ASYNC-UNREG-BEFORE-UNLOAD", Level.ERROR_DRIVER, kind.CALL_ENTER | kind.CALL_EXIT, clauses="B15, X7",
    source=f"{REGISTER}; {UNREGISTER_EX}",
    says="a driver unregisters all notifications before its Unload can run", needs="unload of a driver",
    unless="no notification was registered then",
    holds="S2 C2 unload", violates="S2 C2 unload!",
)  # fmt: skip
def unregister_before_unload(span: CallSpan | None, model: Model) -> RuleOutcome:
    """The registration references the driver object, so Unload would never be called otherwise."""
    if span is None:
        return None
    if span.exit is None and span.enter.call == "unload":
        return left_at_unload(span, span.enter, model, sync=False, when="Unload was entered")
    if span.exit is not None and goes_without_unload(span):
        return left_at_unload(span, span.exit, model, sync=False, when="DriverEntry failed")
    return None


@rule(
    "OB-KMDF-REG-ONCE", Level.ERROR_DRIVER, kind.CALL_ENTER, clauses="B16",
    source=f"{REGISTER}; DDI:wdfdevice/nc-wdfdevice-evt_wdf_device_self_managed_io_init.md",
    says="a Plug and Play driver registers once per class in a device's life", needs="Plug and Play driver",
    unless="it made no asynchronous registration",
    holds="pnp async1", violates="pnp async1 async1",
)  # fmt: skip
def registers_once(span: CallSpan, model: Model) -> RuleOutcome:
    """A rebalance stops and starts the device; it must not register again. A driver of several devices registers for each."""
    stream, cls = span.stream, span.enter.cls
    if span.enter.call != "reg_async" or stream.mode != "pnp":
        return None
    others = [
        other
        for other in stream.registrations.values()
        if not other.sync and other.cls == cls and other.handle and not other.left
        and other is not span.registration and other.span is not None
    ]  # fmt: skip
    device = span.registration.device if span.registration is not None else ""
    mine = [other for other in others if device and other.device == device]
    stopped = [
        entry
        for _, entry in model.requests.devices.get((stream.driver, device), ())
        if isinstance(entry, PnpEnter) and entry.minor in ("STOP", "SelfManagedIoSuspend")
    ]
    if not mine and stopped:
        said = f"a registration for class {cls[:64]} was made when {device[:64]} was started again"
        return Broken(said, (stopped[-1], span.enter), absent=(stream.driver, 0, model.at))
    if not mine and len(others) < max(1, len(stream.devices)):
        return HOLDS
    said = f"registration number {len(others) + 1} for class {cls[:64]} was made, and {some(max(1, len(stream.devices)), 'device')} had been seen"
    return Broken(said, (*(mine or others)[0].made, span.enter), absent=(stream.driver, 0, model.at))
