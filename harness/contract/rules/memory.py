# SPDX-License-Identifier: MIT
"""R.7, memory, and the resource rebalance that follows a processor add."""

# ruff: noqa: ARG001 - every predicate takes its subject and the model, whether it needs both or not

from __future__ import annotations

from harness.contract.rules import subject_kind as kind
from harness.contract.rules.asynchronous import arrived
from harness.contract.rules.rule import HOLDS, Broken, Observed, RuleOutcome, Section
from harness.contract.state.entities import AddWindow, Arrival, Attempt, Callback, CallSpan, Epoch, HostAdd
from harness.contract.state.model import Model
from harness.contract.verdict import Level
from harness.history.driver import START, PnpEnter, PnpExit, interface_name, nt_success
from harness.history.nt_status import status_name

SECTION = Section("R.7", "Memory and rebalance")
rule = SECTION.rule

INTRODUCTION = "WD:kernel/introduction-to-driver-notification.md"
CLASS = "WD:install/guid-device-memory.md"
REBALANCE = "WD:kernel/stopping-a-device-to-rebalance-resources.md"
KMDF = "WD:wdf/the-pnp-manager-redistributes-system-resources.md"
OPT_OUT = "WD:install/devpkey-device-dhp-rebalance-policy.md"
DIMM = "host command to add a DIMM"
MIXED = "a processor add was in flight with each, or may still be announced or tried again"
PNP = "Plug and Play request record"

GONE = ("REMOVE", "SURPRISE_REMOVAL")
"""Requests after which a device may be started again."""

KMDF_ORDER = (
    "SelfManagedIoSuspend",
    "D0Exit",
    "ReleaseHardware",
    "PrepareHardware",
    "D0Entry",
    "SelfManagedIoRestart",
)
"""KMDF callbacks of one rebalance, in their documented order."""


def _dimm_window(model: Model) -> HostAdd | None:
    """Return the DIMM command whose window is open, if no processor add can be confused with it."""
    window = model.commands.window
    if window is None or not window.clean or window.begin.what != "dimm" or model.commands.cpu_in_flight:
        return None
    return window


@rule(
    "MEM-NO-SYNC", Level.ERROR, kind.START.given("not model.commands.cpu_in_flight") | kind.HOST_ADD, clauses="A6", source=INTRODUCTION,
    says="adding memory causes no synchronous notification, because those exist for processors only", needs=DIMM, unless=MIXED,
    holds="+dimm M =dimm", violates="+dimm S2 C2 M =dimm",
)  # fmt: skip
def memory_no_sync(subject: Callback | HostAdd, model: Model) -> RuleOutcome:
    """Exempt while a processor add is in flight or still without its notification, and after one that may be tried again."""
    if isinstance(subject, HostAdd):
        return HOLDS if subject.begin.what == "dimm" and subject.clean and model.driver_records else None
    window = _dimm_window(model)
    if window is None or subject.attempt is None or subject.enter.state != START:
        return None
    said = f"Start of processor {subject.enter.nt} came while only a DIMM was being added"
    return Broken(said, (window.begin, subject.enter), (), window.begin.attempt, absent=("", 0, model.at))


@rule(
    "MEM-ARRIVAL-EVENTUALLY", Level.POLICY, kind.CALL_ENTER | kind.EPOCH, clauses="B1, B5", source=f"{CLASS}; {INTRODUCTION}",
    says="an added DIMM is followed by the arrival of memory", needs="hot-add of a DIMM with a memory registration",
    holds="+dimm M =dimm", violates="+dimm =dimm", awaited=True,
)  # fmt: skip
def memory_arrives(subject: CallSpan | Epoch, model: Model) -> RuleOutcome:
    """No latency is documented. A missing arrival is unknown, even if the driver withdrew since."""
    return arrived(subject, model, cls="memory", what="DIMM")


@rule(
    "MEM-CPU-SILENT", Level.ERROR, kind.ASYNC_ENTER | kind.HOST_ADD, clauses="B1", source=CLASS,
    says="adding memory brings no new processor and does not change the active count", needs=DIMM, unless=MIXED,
    holds="+dimm M =dimm", violates="+dimm V M =dimm",
)  # fmt: skip
def memory_cpu_silent(subject: Arrival | HostAdd, model: Model) -> RuleOutcome:
    """Judged only if no processor was added before: a late interface of an added one may arrive at any time."""
    if isinstance(subject, HostAdd):
        if subject.begin.what != "dimm" or not subject.clean or not model.driver_records:
            return None
        counted = model.processors.counted
        if counted is not None and 0 < subject.active_before < counted.active:
            said = f"{counted.active} processors were active after only a DIMM was added, {subject.active_before} before"
            return Broken(said, (subject.begin, counted), (), subject.begin.attempt, absent=("", 0, model.at))
        return HOLDS
    window = _dimm_window(model)
    if window is None or not subject.new or subject.enter.cls != "cpu":
        return None
    if model.commands.cpu_adds or model.attempts.opened:
        return None
    if subject.seen_at < window.at or not subject.registration.include_existing:
        # A device that existed and was disabled may be enabled at any time.
        return None
    said = f"a new processor interface ({interface_name(subject.enter.link)}) arrived while only a DIMM was being added"
    return Broken(said, (window.begin, subject.enter), (), window.begin.attempt, absent=("", 0, model.at))


@rule(
    "MEM-NO-REBALANCE", Level.WARN, kind.PNP_ENTER | kind.HOST_ADD, clauses="B19", source=INTRODUCTION,
    says="adding memory causes no system-wide rebalance", needs=PNP,
    unless="none came while only a DIMM was being added",
    holds="+dimm irp=START M =dimm", violates="+dimm irp=QUERY_STOP M =dimm",
)  # fmt: skip
def memory_no_rebalance(subject: PnpEnter | HostAdd, model: Model) -> RuleOutcome:
    """A warning: another cause of a rebalance cannot be excluded."""
    if isinstance(subject, HostAdd):
        dimm = subject.begin.what == "dimm" and subject.clean
        return (
            HOLDS if dimm and model.requests.devices and model.requests.query_stop_at < subject.at else None
        )
    window = _dimm_window(model)
    if window is None or window.settled_at or subject.minor not in ("QUERY_STOP", "STOP"):
        return None
    return Broken(f"{subject.minor} came while only a DIMM was being added", (window.begin, subject))


@rule(
    "MEM-TOTAL-AT-ARRIVAL", Level.OBSERVE, kind.ASYNC_ENTER, clauses="B21, U30", source="undocumented: docs/contract.md B21",
    says="is the new memory in the total when its arrival is delivered?", needs="memory arrival",
    unless="no arrival gives the total, or nothing was counted before",
    holds="+dimm M{memory=671088640} =dimm",
)  # fmt: skip
def memory_total(arrival: Arrival, model: Model) -> RuleOutcome:
    """Compare the total with the guest's last count before."""
    enter = arrival.enter
    if (
        enter.cls != "memory"
        or not enter.memory
        or model.counts.count is None
        or arrival.registration.base < 0
    ):
        return None
    return Observed("yes" if enter.memory > model.counts.count.memory else "no")


@rule(
    "REBAL-ON-CPU-ADD", Level.WARN, kind.COMPLETED, clauses="C11", source=INTRODUCTION,
    says="adding a processor starts a rebalance", needs="completed hot-add",
    unless="no device reported its requests, one opted out, or records may be missing",
    holds="irp=START S2 C2 irp=QUERY_STOP irp=STOP irp=START", violates="irp=START S2 C2",
)  # fmt: skip
def rebalance_on_add(attempt: Attempt, model: Model) -> RuleOutcome:
    """A warning: a device without resources, or one that does not take part, is not asked."""
    if (
        not attempt.completes
        or not model.requests.devices
        or model.requests.opted_out
        or model.touched(attempt)
    ):
        return None
    if model.requests.query_stop_at > attempt.first:
        return HOLDS
    return Broken(
        f"no QUERY_STOP came after {attempt.name} was added", (attempt.completes[0].enter,), (), attempt.name,
        absent=("", attempt.since, model.at),
    )  # fmt: skip


@rule(
    "REBAL-ORDER", Level.ERROR, kind.PNP_ENTER, clauses="C12, C14", source=f"{REBALANCE}; WD:kernel/irp-mn-stop-device.md",
    says="a device is stopped only after it agreed to stop, and started only after it was stopped", needs=PNP,
    unless="none was STOP or START",
    holds="irp=START irp=QUERY_STOP irp=STOP irp=START irp=REMOVE irp=START", violates="irp=START irp=STOP",
)  # fmt: skip
def rebalance_order(enter: PnpEnter, model: Model) -> RuleOutcome:
    """CANCEL_STOP instead of STOP is allowed. The first START, also after a removal, needs nothing before it."""
    if enter.minor not in ("STOP", "START"):
        return None
    before = [
        entry
        for _, entry in model.requests.devices.get((enter.driver, enter.device), ())
        if entry is not enter
    ]
    states = [
        entry for entry in before if entry.minor in ("QUERY_STOP", "STOP", "START", "CANCEL_STOP", *GONE)
    ]
    last = states[-1] if states else None
    said = ""
    if enter.minor == "STOP":
        if last is None or last.minor != "QUERY_STOP":
            said = "STOP came without QUERY_STOP before it"
        elif isinstance(last, PnpExit) and not nt_success(last.ret):
            said = f"STOP came although QUERY_STOP had failed with {status_name(last.ret)}"
    elif last is not None and last.minor not in ("STOP", *GONE):
        said = f"START came after {last.minor}"
    if not said:
        return HOLDS
    shown = (*((last,) if last is not None else ()), enter)
    return Broken(said, shown, absent=(enter.driver, model.epoch_at, model.at))


@rule(
    "REBAL-KMDF-ORDER", Level.ERROR, kind.PNP_ENTER, clauses="C16", source=KMDF,
    says="in a rebalance KMDF calls SelfManagedIoSuspend, D0Exit, ReleaseHardware, PrepareHardware, D0Entry and "
    "SelfManagedIoRestart, in this order", needs=PNP,
    unless="none came after a SelfManagedIoSuspend of its device",
    holds="irp=SelfManagedIoSuspend irp=D0Exit irp=ReleaseHardware irp=PrepareHardware irp=D0Entry irp=SelfManagedIoRestart",
    violates="irp=SelfManagedIoSuspend irp=ReleaseHardware irp=D0Exit",
)  # fmt: skip
def kmdf_order(enter: PnpEnter, model: Model) -> RuleOutcome:
    """Judged from a suspend on. Before the first suspend the device is being started, which has another order.

    Each device object is judged alone. A failed PrepareHardware is followed by ReleaseHardware, and so is a failed D0Entry,
    but never by D0Exit.
    """
    if enter.minor not in KMDF_ORDER:
        return None
    last, failed, suspended = None, False, False
    for _, entry in model.requests.devices.get((enter.driver, enter.device), ()):
        if entry is enter or entry.minor not in KMDF_ORDER:
            continue
        suspended |= entry.minor == KMDF_ORDER[0]
        if isinstance(entry, PnpEnter):
            last, failed = entry, False
        elif last is not None and entry.enter == last.seq:
            failed = not nt_success(entry.ret)
    begins = enter.minor == KMDF_ORDER[0]
    if last is None or KMDF_ORDER.index(last.minor) == len(KMDF_ORDER) - 1 or not (suspended or begins):
        return None
    if begins and last.minor == "D0Entry":
        # The device was started: from here on it may be suspended.
        return HOLDS
    if failed and last.minor in ("PrepareHardware", "D0Entry"):
        if enter.minor == "ReleaseHardware":
            return HOLDS
    elif KMDF_ORDER.index(enter.minor) > KMDF_ORDER.index(last.minor) or (
        last.minor == "ReleaseHardware" and enter.minor == "PrepareHardware"
    ):
        return HOLDS
    said = f"{enter.minor} came after {'a failed ' if failed else ''}{last.minor}"
    return Broken(said, (last, enter), absent=(enter.driver, model.epoch_at, model.at))


@rule(
    "REBAL-OPTOUT", Level.ERROR, kind.PNP_ENTER | kind.ADD_WINDOW, clauses="C13",
    source=f"{OPT_OUT}; WD:install/devpkey-deviceclass-dhprebalanceoptout.md",
    says="a device that opted out is not asked to stop when a processor is added",
    needs="device that opted out (a rebalance-opt-out event of the guest)",
    unless="no request came to it while a processor was being added",
    holds="optout +cpu S2 C2 V irp=CANCEL_STOP", violates="optout +cpu S2 irp=QUERY_STOP C2",
)  # fmt: skip
def rebalance_opt_out(subject: PnpEnter | AddWindow, model: Model) -> RuleOutcome:
    """Judge requests in the window of a processor add to each device that opted out, and at its end those not asked."""
    if isinstance(subject, AddWindow):
        devices = [device for _, device in model.requests.devices if model.requests.opts_out(device)]
        return (
            HOLDS if subject.succeeded and devices and model.requests.refused_stop_at < subject.at else None
        )
    if not model.commands.cpu_in_flight or subject.minor != "QUERY_STOP":
        return None
    said = model.requests.opts_out(subject.device)
    if not said:
        return None
    return Broken(
        f"the device opted out ({said[:64]}) and got QUERY_STOP all the same",
        (subject,),
        absent=("", 0, model.at),
    )


@rule(
    "REBAL-NO-RESOURCES", Level.OBSERVE, kind.PNP_ENTER, clauses="C15",
    source="DDI:wdtfpnpaction/nf-wdtfpnpaction-iwdtfpnpaction2-edttrystopdevice.md",
    says="is a device that was asked to stop really stopped?", needs=PNP,
    unless="none was STOP or CANCEL_STOP",
    holds="irp=QUERY_STOP irp=CANCEL_STOP",
)  # fmt: skip
def rebalance_without_resources(enter: PnpEnter, model: Model) -> RuleOutcome:
    """A device without hardware resources may get CANCEL_STOP instead of STOP."""
    return Observed(enter.minor) if enter.minor in ("STOP", "CANCEL_STOP") else None


@rule(
    "OB-NO-QUERYSTOP-VETO", Level.ERROR_DRIVER, kind.PNP_EXIT, clauses="C9", source=INTRODUCTION,
    says="a driver does not refuse QUERY_STOP", needs=PNP,
    unless="none was QUERY_STOP",
    holds="irp=QUERY_STOP irp=STOP", violates="irp=QUERY_STOP!",
)  # fmt: skip
def query_stop_accepted(leave: PnpExit, model: Model) -> RuleOutcome:
    """A refusal takes the device out of the rebalance."""
    if leave.minor != "QUERY_STOP":
        return None
    said = f"driver {leave.driver} refused QUERY_STOP with {status_name(leave.ret)}"
    return HOLDS if nt_success(leave.ret) else Broken(said, (leave,))


@rule(
    "REBAL-VS-NOTIFY", Level.OBSERVE, kind.PNP_ENTER, clauses="C17, U18", source="undocumented: docs/contract.md C17",
    says="when does the rebalance come, relative to Start and Complete?", needs=PNP,
    unless="none was QUERY_STOP after a host command to add a processor",
    holds="+cpu S2 irp=QUERY_STOP C2",
)  # fmt: skip
def rebalance_when(enter: PnpEnter, model: Model) -> RuleOutcome:
    """The order is not documented, nor whether several adds share one rebalance."""
    if enter.minor != "QUERY_STOP" or model.commands.first_cpu_add is None:
        return None
    if not model.attempts.newest:
        return Observed("before Start")
    return Observed("between Start and its end" if not model.attempts.all_closed else "after the end")
