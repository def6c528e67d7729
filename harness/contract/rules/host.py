# SPDX-License-Identifier: MIT
"""R.8, the host's actions, and whether the run itself went as it should. None of these rules is a clause of Windows."""

# ruff: noqa: ARG001 - every predicate takes its subject and the model, whether it needs both or not

from __future__ import annotations

import re

from harness.contract.order import contradiction
from harness.contract.rules import subject_kind as kind
from harness.contract.rules.rule import HOLDS, Broken, Exempt, Observed, RuleOutcome, Section, Unclear
from harness.contract.state.entities import Callback, Epoch, HostAdd
from harness.contract.state.model import Model
from harness.contract.verdict import Level
from harness.history import record as r
from harness.history.driver import START

SECTION = Section("R.8", "Host correlation")
rule = SECTION.rule

_COUNT = re.compile(r"(\w{1,20}) = (\d{1,18})")

PREFLIGHT = (
    "look at: Hyper-V enlightenments without the CPUID bit for dynamic partitioning (the processor shows in Device "
    "Manager and never runs); the driver bound to ACPI0010; the edition and its licence; the firmware's feature "
    "control on the new processor; whether the guest evaluated _OST at all"
)
"""What to look at when a processor was plugged and no driver was notified (docs/contract.md D7)."""

PROCESS = (
    "the guest's machine is a process: there is no QEMU and no firmware with which the guest could disagree"
)
"""Why a three-way agreement cannot be judged where only the guest reports."""


LONGEST_EDITION = 100
"""Characters of an edition's name that are kept."""

REMOVAL = "unplug-"
"""The prefix of the name of a request to give a device back."""


@rule(
    "HOST-CAUSE", Level.ERROR_HARNESS, kind.START | (kind.ADD | kind.EPOCH).given("model.uncaused"), clauses="-", source="docs/contract.md R.8",
    says="no processor is announced before the host asked for the first one", needs="Start of a hot-add",
    unless="the host's side is not in the history",
    holds="+cpu S2 C2 V", violates="S2 +cpu C2",
)  # fmt: skip
def host_cause(subject: Callback | HostAdd | Epoch, model: Model) -> RuleOutcome:
    """Judged by receipt: what arrived before the command was sent cannot be its consequence. No clock is used."""
    if isinstance(subject, Callback):
        if subject.enter.state != START or subject.attempt is None:
            return None
        if not model.commands.cpu_plugged and not model.uncaused:
            model.uncaused.append(subject)
        return HOLDS if model.commands.cpu_plugged else None
    if not model.uncaused or not model.commands.known:
        return None
    if isinstance(subject, HostAdd) and model.commands.cpu_plugged == 0:
        return None
    call = model.uncaused.pop()
    name = call.attempt.name if call.attempt is not None else ""
    said = f"Start of processor {call.enter.nt} arrived before the host had asked for any processor"
    if isinstance(subject, HostAdd):
        chain = contradiction(subject.begin, call.enter)
        return Broken(said, (call.enter, subject.begin), chain, name, absent=("", 0, model.at))
    if model.commands.cpu_adds:
        return Unclear(f"{said} that QEMU did not refuse", (call.enter,), name)
    return Broken(f"{said}, and it never asked for one", (call.enter,), (), name, absent=("", 0, model.at))


@rule(
    "HOST-ADD-NOT-PROOF", Level.OBSERVE, kind.AGREEMENT, clauses="-", source="docs/contract.md R.8",
    says="did the guest count what QEMU had accepted?", needs="agreement on an attempt", holds="+cpu S2 C2 V =cpu",
)  # fmt: skip
def accepted_is_no_proof(agreement: r.Agreement, model: Model) -> RuleOutcome:
    """The reply to device_add only means that QEMU plugged the device."""
    if agreement.unshown:
        return Exempt(PROCESS)
    if agreement.expected == "found" or agreement.attempt.startswith(REMOVAL):
        return None
    if not agreement.qemu_lists:
        return Observed("not plugged")
    counted = agreement.counted_after > agreement.counted_before
    return Observed("plugged and counted" if counted else "plugged and not counted")


@rule(
    "HOST-NO-NOTIFY", Level.FINDING, kind.ADD.given("subject.settled_at"), clauses="D7", source="docs/contract.md R.8",
    says="a plugged processor is announced to the driver", needs="host command to add a processor",
    unless="no synchronous registration was in force",
    holds="+cpu S2 C2 V =cpu", violates="+cpu =cpu", awaited=True,
)  # fmt: skip
def host_no_notify(host: HostAdd, model: Model) -> RuleOutcome:
    """Nothing came after the command. The environment is suspected first, so this is unknown, never a violation."""
    add = host.begin
    if add.what != "cpu" or add.expected not in ("added", "vetoed") or not host.settled_at or host.refused:
        return None
    if host.settled_at != model.at or not host.accepted:
        return None
    listening = any(
        known.sync and known.handle and known.done_at < host.at and known.leave is None and not known.open
        for known in model.registrations.each()
    )  # fmt: skip
    if not listening:
        return None
    if model.attempts.opened > host.starts_before:
        return HOLDS
    named = list(model.environment)
    why = f"this guest's own conditions: {'; '.join(named[:5])}" if named else PREFLIGHT
    return Unclear(
        f"{add.attempt}: QEMU accepted the processor and no Start came until the attempt was settled; {why}",
        (add,), add.attempt,
    )  # fmt: skip


@rule(
    "EDITION-ADDS", Level.OBSERVE, kind.GUEST_EVENT.given("subject.event == 'edition'"), clauses="X8, U26, U27",
    source="undocumented: docs/contract.md U26", says="which editions take processors while they run?",
    needs="guest that said what its edition takes (an edition event of the guest)", holds="edition.",
)  # fmt: skip
def edition_adds(event: r.GuestEvent, model: Model) -> RuleOutcome:
    """The guest reports its decision as it starts. Other rules judge whether it then takes a processor."""
    takes, _, edition = event.detail.partition(": ")
    if takes not in (r.TAKES_PROCESSORS, r.REFUSES_PROCESSORS):
        return None
    return Observed(f"{takes}: {edition}"[:LONGEST_EDITION], shown=(event,))


@rule(
    "HOST-ONE-AT-A-TIME", Level.POLICY, kind.ADD.given("subject.at == model.at"), clauses="-", source="docs/contract.md R.8",
    says="the next processor is added only when the previous attempt is closed (policy)", needs="two hot-adds",
    holds="+cpu S2 C2 =cpu +cpu S3 C3 =cpu", violates="+cpu +cpu S2 S3 C2 C3",
)  # fmt: skip
def one_at_a_time(host: HostAdd, model: Model) -> RuleOutcome:
    """Exempt where the plan adds several at once on purpose."""
    if host.at != model.at or host.begin.what != "cpu" or model.commands.cpu_adds < 2:
        return None
    other = next((other for other in model.commands.cpu_in_flight.values() if other is not host), None)
    if other is None:
        return HOLDS
    if other.agreed is not None:
        return Unclear(
            f"the outcome of {other.begin.attempt} was agreed on, and it never settled", (other.begin,)
        )
    return Broken(
        f"{host.begin.attempt} began while {other.begin.attempt} was in flight",
        (other.begin, host.begin),
    )


@rule(
    "HOST-AGREED", Level.GATE, kind.AGREEMENT | kind.EPOCH, clauses="-", source="docs/architecture.md: three-way agreement",
    says="QEMU, the firmware and the guest agree on the outcome that was expected of each command",
    needs="host command", holds="+cpu S2 C2 V =cpu", violates="+cpu S2 C2 =cpu?",
)  # fmt: skip
def agreed(subject: r.Agreement | Epoch, model: Model) -> RuleOutcome:
    """A reply proves nothing. Without agreement, or with none recorded, the run is unknown.

    For a guest whose machine is a process this never holds. Only the guest reports there, and an unexpected count
    still makes the run unknown.
    """
    if isinstance(subject, r.Agreement):
        window, host = model.commands.cpu_window, model.commands.agreed_on
        processor = window is not None and host is not None and host.begin.what == "cpu"
        against = contradicts(
            subject,
            refused=processor and window is not None and window.failures > 0,
            alone=processor and window is not None and window.adds == 1,
        )
        if against:
            return Unclear(
                f"{subject.attempt}: the agreement contradicts itself: {against}", (subject,), subject.attempt
            )
        if subject.agreed:
            return Exempt(PROCESS) if subject.unshown else HOLDS
        said = f"{subject.attempt}: {subject.detail or 'QEMU, firmware and guest do not agree'} (expected {subject.expected})"
        return Unclear(said, (subject,), subject.attempt)
    judged: RuleOutcome = None
    for add in model.commands.found.values() if subject.last else ():
        judged = Unclear(
            f"{add.attempt}: whether the guest found it at boot was never established", (add,), add.attempt
        )
    for removal in model.commands.removals.values():
        judged = Unclear(
            f"{removal.request}: what the guest did with the request was never established",
            (removal,),
            removal.request,
        )
    for host in model.commands.adds.values():
        add = host.begin
        if host.refused:
            if add.expected == "refused":
                judged = judged or (Exempt(PROCESS) if host.unshown else HOLDS)
            else:
                judged = Unclear(
                    f"{add.attempt}: QEMU refused it ({host.detail}), and the plan expected {add.expected}",
                    (add,),
                    add.attempt,
                )
        elif host.agreed is None:
            how = "accepted" if host.accepted else "perhaps accepted" if host.unsure else "sent"
            judged = Unclear(
                f"{add.attempt}: the command was {how} and its result was never established",
                (add,),
                add.attempt,
            )
        elif host.agreed and not host.settled_at:
            judged = Unclear(
                f"{add.attempt}: its consequences were not awaited to the end", (add,), add.attempt
            )
    return judged


def contradicts(agreement: r.Agreement, *, refused: bool, alone: bool) -> str:
    """Return how an agreement contradicts its own numbers, "" if it does not.

    ``refused``: the guest refused a processor. ``alone``: no other add was in flight, so the counts belong to this one.
    """
    if not agreement.agreed:
        return ""
    if (
        "qemu" not in agreement.unshown
        and agreement.expected in ("added", "vetoed")
        and not agreement.qemu_lists
    ):
        return "it is agreed, and QEMU does not list the device"
    grown = agreement.counted_after - agreement.counted_before
    if agreement.attempt.startswith(REMOVAL):
        return _removal_contradicts(agreement, grown)
    if agreement.expected != "added":
        return (
            f"it is agreed that nothing was added, and the guest counted {grown} more"
            if alone and grown > 0
            else ""
        )
    if "ost" not in agreement.unshown and not any(status == 0 for _, status in agreement.ost):
        return "it is agreed, and no _OST reports success"
    if agreement.counted_after <= agreement.counted_before and not refused:
        return f"it is agreed, and the guest counted {agreement.counted_before} before and {agreement.counted_after} after"
    return ""


def _unfinished(host: HostAdd) -> bool:
    """Return whether the guest should have used what was added, and had not, or not on all counts, when its time was over."""
    return host.agreed is False and host.begin.expected in ("added", "vetoed")


def _removal_contradicts(agreement: r.Agreement, grown: int) -> str:
    if agreement.expected != "gone":
        return (
            "" if agreement.qemu_lists else "it is agreed that the guest kept it, and QEMU does not list it"
        )
    if agreement.qemu_lists:
        return "it is agreed that it is gone, and QEMU lists it"
    if grown >= 0:
        return (
            f"it is agreed that it is gone, and the guest counted {agreement.counted_before} before and "
            f"{agreement.counted_after} after"
        )
    return ""


@rule(
    "EXPECT", Level.ERROR_HARNESS, kind.EXPECTATION, clauses="-", source="the plan",
    says="what the plan expects is what is seen", needs="expect operation",
    holds="expect.", violates="expect!",
)  # fmt: skip
def expectation(expect: r.Expectation, model: Model) -> RuleOutcome:
    """The plan's own demand, judged when the plan was executed.

    If an add before it was not agreed on, the guest may only have been late: its host was overloaded, or its QEMU stood still.
    """
    if expect.met != (expect.demanded == expect.seen):
        said = "met" if expect.met else "not met"
        return Unclear(
            f"operation {expect.index} of the plan was {said}: it expected {expect.demanded} and saw {expect.seen}",
            (expect,),
        )
    if expect.met:
        return HOLDS
    late = next((host.begin for host in model.commands.adds.values() if _unfinished(host)), None)
    if late is not None:
        return Unclear(
            f"operation {expect.index} of the plan expected {expect.demanded} and saw {expect.seen}, "
            f"and the result of {late.attempt} was not established before",
            (late, expect),
        )
    return Broken(
        f"operation {expect.index} of the plan expected {_apart(expect.demanded, expect.seen)} and saw "
        f"{_apart(expect.seen, expect.demanded)}",
        (expect,),
        absent=("", 0, model.at) if _too_few(expect) else None,
    )


def _apart(said: str, other: str) -> str:
    """Return the counts of ``said`` that ``other`` does not have, all of them if there is none."""
    known = set(other.split(", "))
    return ", ".join(one for one in said.split(", ") if one not in known) or said


def _too_few(expect: r.Expectation) -> bool:
    """Return whether the only unmet demand is the number of the driver's records, some of which may be missing."""
    demanded, seen = (dict(_COUNT.findall(said)) for said in (expect.demanded, expect.seen))
    unmet = [name for name, count in demanded.items() if seen.get(name) != count]
    return bool(unmet) and all(
        name not in ("processors", "dimms") and int(seen.get(name, 0)) < int(demanded[name]) for name in unmet
    )


@rule(
    "RUN-COMPLETE", Level.GATE, kind.OPERATION | kind.RUN_FAILURE | kind.END | kind.EPOCH, clauses="-", source="docs/architecture.md: three answers",
    says="the run came to its end and no operation failed", needs="record of the run",
    holds="S2 C2 V", violates="S2 C2 fault",
)  # fmt: skip
def run_complete(subject: r.OperationProgress | r.RunFailure | r.End | Epoch, model: Model) -> RuleOutcome:
    """A run that was interrupted, cut or given up proves nothing about the rest of its plan."""
    if isinstance(subject, r.OperationProgress):
        if subject.phase != "fail":
            return None
        return Unclear(f"operation {subject.index} ({subject.name}) failed: {subject.detail}", (subject,))
    if isinstance(subject, r.RunFailure):
        return Unclear(f"{subject.failure_class} at stage {subject.stage}: {subject.message}", (subject,))
    if isinstance(subject, r.End):
        if subject.outcome == "completed":
            idle = model.commands.held and not model.commands.acted
            return Unclear("no operation was executed", (subject,)) if idle else HOLDS
        said = "the run failed" if subject.outcome == "failed" else f"the run was {subject.outcome}"
        return Unclear(said, (subject,))
    if not subject.last:
        return None
    for operation in model.commands.operations.values():
        return Unclear(f"operation {operation.index} ({operation.name}) began and never ended", (operation,))
    return (
        Unclear(model.unended or "the history has no end: the run was killed, or the file was cut")
        if model.ended is None
        else None
    )
