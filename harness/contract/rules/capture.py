# SPDX-License-Identifier: MIT
"""R.1, capture integrity: whether the history may be believed. These rules are gates: they hold or are unknown, never violated.

The model decides what a failed gate affects: only what overlaps the loss becomes unknown.
"""

# ruff: noqa: ARG001 - every predicate takes its subject and the model, whether it needs both or not

from __future__ import annotations

from harness.contract.rules import subject_kind as kind
from harness.contract.rules.rule import HOLDS, Broken, RuleOutcome, Section, Unclear, noted
from harness.contract.state.entities import SAMPLE, Arrival, Attempt, Callback, CallSpan, Epoch
from harness.contract.state.merge import Gap, Repeat, Stale
from harness.contract.state.model import Model
from harness.contract.verdict import Level
from harness.history.driver import (
    DriverRecord,
    PnpExit,
)
from harness.history.record import Boot

SECTION = Section("R.1", "Capture integrity")
rule = SECTION.rule

ETW = "DDI:wdm/nf-wdm-etwwrite.md"


@rule(
    "CAP-NO-LOSS", Level.GATE, kind.GAP | kind.REPEAT | kind.EPOCH, clauses="F2", source=ETW,
    says="every record of every driver arrived exactly once", needs="driver record",
    holds="S2 C2 V", violates="S2 lose C2",
)  # fmt: skip
def no_loss(subject: Gap | Repeat | Epoch, model: Model) -> RuleOutcome:
    """Events can be lost although the call that wrote them succeeded. Only the driver's numbers show it."""
    if isinstance(subject, Gap):
        return Unclear(model.evidence.losses[-1].why, (subject,))
    if isinstance(subject, Repeat):
        how = "came too late to be put in its place" if subject.late else "came twice"
        return Unclear(
            f"record #{subject.seq} of driver {subject.driver} {how} on {subject.channel}", (subject,)
        )
    if not subject.last:
        return None
    told = {contradiction.why for contradiction in model.evidence.contradictions}
    others = [
        loss
        for loss in model.evidence.losses
        if not isinstance(loss.shown, Gap | Repeat) and loss.why not in told
    ]
    if others:
        return Unclear(others[0].why, (others[0].shown,) if others[0].shown else ())
    return HOLDS if model.driver_records else None


@rule(
    "CAP-CONSISTENT", Level.GATE, kind.EPOCH, clauses="-", source="docs/contract.md R.8",
    says="the evidence does not contradict itself", needs="driver record",
    holds="S2 C2 V", violates="S2 C2 V Q0",
)  # fmt: skip
def consistent(end: Epoch, model: Model) -> RuleOutcome:
    """Compare accounts with what is present, and copies of a record. One header, one nonce in a boot, a silence that lasted."""
    if not end.last:
        return None
    for contradiction in model.evidence.contradictions:
        return Unclear(contradiction.why, contradiction.shown)
    return HOLDS


@rule(
    "CAP-BRACKETED", Level.GATE, kind.SYNC_EXIT | kind.ASYNC_EXIT | kind.CALL_EXIT | kind.PNP_EXIT | kind.EPOCH, clauses="F2", source=ETW,
    says="each enter record has exactly one exit record of the same thread, later in sequence",
    needs="driver record",
    unless="nothing was entered", holds="S2 C2 V", violates="S2 <C2",
)  # fmt: skip
def bracketed(subject: Callback | Arrival | CallSpan | PnpExit | Epoch | None, model: Model) -> RuleOutcome:
    """A callback whose return was never seen may still be running, so nothing that follows it can be judged."""
    if isinstance(subject, Epoch):
        left = [item for stream in model.streams.values() for item in stream.opens.values()]
        if not left:
            return None
        item = left[0]
        record = item.enter if isinstance(item, Callback | Arrival | CallSpan) else item
        ended = "the guest booted again" if subject.ended_by == "boot" else "the history ended"
        return Unclear(f"what was entered in record {record.n} had not returned when {ended}", (record,))
    if subject is None:
        last = model.stream.last
        return Unclear("an exit record has no enter record", () if last is None else (last,))
    if isinstance(subject, PnpExit):
        return HOLDS
    leave = subject.exit
    if leave is not None and leave.thread != subject.enter.thread:
        return Unclear("enter and exit records name different threads", (subject.enter, leave))
    return HOLDS


@rule(
    "CAP-ORDER", Level.GATE, kind.SAMPLE, clauses="F4", source="W32:ETW/about-event-tracing.md",
    says="sorting by the performance counter never contradicts a driver's sequence numbers", needs="driver record",
    holds="S2 C2 V", violates="S2 C2{qpc=1}", rising=("qpc",),
)  # fmt: skip
def clock_order(record: DriverRecord, model: Model) -> RuleOutcome:
    """A counter that contradicts the numbers proves nothing. Orders between drivers then stay unknown."""
    last = model.stream.last
    if last is None or record.qpc >= last.qpc:
        return HOLDS
    model.stream.order_lost = True
    if record.n < last.n:
        model.evidence.misnumber(last, record, model.epoch_at)
    return Unclear(f"the counter went back from {last.qpc} to {record.qpc}", (last, record))


@rule(
    "CAP-EPOCH", Level.GATE, kind.BOOT | kind.STALE | kind.CUT_SHORT, clauses="D5, D7",
    source="WD:debugger/bug-check-0x3e--multiprocessor-configuration-not-supported.md",
    says="no attempt and no record spans a boot of the guest", needs="boot record",
    holds="S2 C2 V", violates="+cpu S2 reset",
)  # fmt: skip
def epoch(subject: Boot | Stale | Attempt, model: Model) -> RuleOutcome:
    """After a reset or a bug check inside an attempt, the rules on that attempt cannot be judged."""
    if isinstance(subject, Attempt):
        if not subject.cut:
            return None
        shown = [call.enter for call in subject.events[:4]]
        return Unclear(f"guest reset or bug check during the add of {subject.name}", shown, subject.name)
    if isinstance(subject, Stale):
        return Unclear(
            f"record #{subject.seq} of driver {subject.driver} cannot be judged: {subject.why}", (subject,)
        )
    return HOLDS


@rule(
    "CAP-HOTCPU-BUFFERS", Level.OBSERVE, kind.ATTEMPT, clauses="F7",
    source="W32:ETW/configuring-and-starting-an-autologger-session.md",
    says="are records lost while a processor is added?", needs="hot-add of a processor", holds="S2 C2 V",
)  # fmt: skip
def buffers(attempt: Attempt, model: Model) -> RuleOutcome:
    """How a running trace session gets buffers for a hot-added processor is not documented."""
    lost = model.evidence.missing(*attempt.stretch)
    return noted("records were lost" if lost else "nothing was lost")


@rule(
    "OB-ETW-BRACKET", Level.ERROR_DRIVER, kind.CALL_ENTER | kind.SYNC_ENTER.given("model.stream.etw") | kind.ASYNC_ENTER, clauses="F3",
    source="DDI:wdm/nf-wdm-etwregister.md",
    says="the driver registers with ETW before its first registration and unregisters after its last removal",
    needs="ETW registration", unless="no driver with the profile sample made one",
    holds="sample etw load unload", violates="sample load etw",
)  # fmt: skip
def etw_bracket(subject: CallSpan | Callback | Arrival, model: Model) -> RuleOutcome:
    """Outside EtwRegister and EtwUnregister nothing is traced, so callbacks there would be missed."""
    stream = model.stream
    if stream.promises != SAMPLE:
        return None
    if not isinstance(subject, CallSpan):
        if stream.etw != "unregistered":
            return HOLDS if stream.etw else None
        return Broken(
            "a callback came after EtwUnregister", (subject.enter,), absent=(stream.driver, 0, model.at)
        )
    call = subject.enter.call
    if call in ("etw_reg", "etw_unreg"):
        alive = [known for known in stream.registrations.values() if known.handle and not known.left]
        if call == "etw_reg" and not stream.etw:
            # Before it nothing is traced, not even a registration that was refused.
            alive = [known for known in stream.registrations.values() if known.span is not None]
        if not alive:
            return HOLDS
        when = (
            "after a registration had been made" if call == "etw_reg" else "while a registration was in force"
        )
        shown = [known.span.enter for known in alive[:1] if known.span is not None]
        return Broken(
            f"{call} came {when}", (*shown, subject.enter), absent=(stream.driver, stream.began_at, model.at)
        )
    if call in ("reg_sync", "reg_async") and stream.etw == "unregistered":
        return Broken(
            "a registration was made after EtwUnregister",
            (subject.enter,),
            absent=(stream.driver, 0, model.at),
        )
    return None
