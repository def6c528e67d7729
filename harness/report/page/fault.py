# SPDX-License-Identifier: MIT
"""What is at fault in a finding: the callback, the call, the component or what is missing, in a few words.

A finding's records also show what it is compared with: the registering call, an earlier call for the same processor. That
is not at fault. :data:`LATER` and :data:`EARLIER` say of which record the fault is, :data:`MISSING_CALLS` what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.contract.verdict import Finding, Verdict
from harness.history import driver as d
from harness.history import record as r
from harness.history.absent import Absent
from harness.report.escape import printable
from harness.report.page.telling import ROUTINES
from harness.report.sentence import CALLS, EJECTIONS, ost_answer

CHANGE = "processor change callback"

LATER = frozenset(
    {
        "ADDEX-OTHERS-SILENT",
        "ADDEX-VETO-STOPS",
        "ADDEX-WITHIN-REGISTER",
        "ASYNC-CLASS-ROUTE",
        "ASYNC-EXISTING-DUP",
        "ASYNC-NOFLAG-FUTURE-ONLY",
        "ASYNC-UNREG-EX-QUIET",
        "MEM-CPU-SILENT",
        "MEM-NO-REBALANCE",
        "MEM-NO-SYNC",
        "NOFLAG-SILENT",
        "NULL-NO-CALLBACKS",
        "NUM-UNIQUE",
        "OB-THREAD-AFTER-COMPLETE",
        "OB-VETO-SELF-CLEAN",
        "REBAL-ORDER",
        "SYNC-CONTEXT-IDENTITY",
        "VETO-NO-COMPLETE",
    }
)
"""Rules whose last record is at fault; those before it are what it is compared with."""

EARLIER = frozenset(
    {
        "ADDEX-STARTS-THEN-COMPLETES",
        "HOST-CAUSE",
        "SYNC-BARRIER",
        "SYNC-FIRST",
        "SYNC-START-BEFORE-COMPLETE",
        "SYNC-START-BEFORE-FAILURE",
    }
)
"""Rules whose first record came too early."""

COMPLETE_OR_FAILURE = "Complete or Failure"

MISSING_CALLS = {
    "ADDEX-ONE-COMPLETE-EACH": "Complete during the registration",
    "ADDEX-ONE-START-EACH": "Start during the registration",
    "OB-ASYNC-UNREG-BEFORE-UNLOAD": "IoUnregisterPlugPlayNotificationEx before Unload",
    "OB-DEREG-BEFORE-UNLOAD": "KeDeregisterProcessorChangeCallback before the unload",
    "SYNC-ALL-REGISTERED": "calls of a registered callback",
    "SYNC-EXACTLY-TWO": COMPLETE_OR_FAILURE,
    "SYNC-START-CLOSED": COMPLETE_OR_FAILURE,
    "VETO-FAILURE-DELIVERED": "Failure",
    "ADDEX-VETO-FAILURES": "Failure during the registration",
}
"""What is missing where a rule is broken by what did not come."""

_OWN: dict[type, str] = {
    d.Hello: "which has just been loaded",
    d.Overrun: "whose ring overwrote records",
    d.Work: "worker",
    d.Alloc: "allocation",
    d.Free: "free",
    d.Bind: "binding of a thread or DPC",
    d.Grow: "buffer",
}
"""What a driver did by itself, outside callbacks and calls."""


def at_fault(finding: Finding, shown: Sequence[r.Record], missing: Sequence[r.Record] = ()) -> str:
    """Return what the finding blames, from ``shown``, its records.

    ``missing`` are records beside which others are missing: there the capture is at fault.
    """
    rule = finding.rule
    routine = ROUTINES.get(rule, "")
    if routine and shown:
        return f"{routine}, called in {_part(shown[-1])}"
    if rule == "CAP-EPOCH":
        return "the guest, which reset itself or was reset"
    lacking = _lacking(finding, shown)
    if lacking:
        return f"{'perhaps ' if finding.verdict is Verdict.UNKNOWN else ''}{lacking}"
    told = list(dict.fromkeys(filter(None, map(_part, _blamed(finding, shown)))))
    told += dict.fromkeys(
        f"what was captured of driver {printable(m.driver, 60)}"
        for m in missing
        if isinstance(m, d.DriverRecord)
    )
    if told:
        return "; ".join(told[:3])
    return printable(finding.attempt, 60) if finding.attempt else "the run as a whole"


def _blamed(finding: Finding, shown: Sequence[r.Record]) -> Sequence[r.Record]:
    if finding.rule in LATER:
        return shown[-1:]
    if finding.rule in EARLIER:
        return shown[:1]
    wrong: list[d.SyncEnter] = []
    calls = [one for one in shown if isinstance(one, d.SyncEnter)]
    if finding.rule in ("SYNC-AGREE", "SYNC-TERMINAL-EXCLUSIVE"):
        due = _due(finding)
        wrong = [one for one in calls if due and d.STATE_NAMES.get(one.state) != due]
    elif finding.rule == "SYNC-SAME-IDENTITY":
        place = next(filter(None, map(_index_place, calls)), None)
        wrong = [one for one in calls if place and (one.group, one.number) != place]
    return wrong or shown


def _due(finding: Finding) -> str:
    """Return which of Complete and Failure was due, as far as the reason says it, "" if it does not."""
    found = re.search(r"\b(Complete|Failure)(?:,? which)? was due\b", finding.reason)
    return found[1] if found else ""


def _index_place(call: d.SyncEnter) -> tuple[int, int] | None:
    """Return the group and number that Windows had for the index at Complete, None if the record does not say it."""
    place = call.idx_status, call.idx_group, call.idx_number
    if (
        call.state != d.COMPLETE
        or any(isinstance(one, Absent) for one in place)
        or not d.nt_success(place[0])
    ):
        return None
    return place[1:]


def _lacking(finding: Finding, shown: Sequence[r.Record]) -> str:
    """Return what is missing, or one too many, where a rule counts calls; "" if its records are at fault."""
    rule = finding.rule
    calls = [one for one in shown if isinstance(one, d.SyncEnter)]
    for state in (
        (d.START, d.COMPLETE, d.FAILURE) if rule in ("SYNC-EXACTLY-TWO", "ADDEX-ONE-START-EACH") else ()
    ):
        same = [one for one in calls if one.state == state]
        if len(same) > 1:
            return f"{_part(same[-1])}: it came {len(same)} times"
    ended = calls and calls[-1].state != d.START
    if ended and rule in ("ADDEX-ONE-COMPLETE-EACH", "SYNC-EXACTLY-TWO"):
        # An end that should not have come.
        return _part(calls[-1])
    if rule == "ADDEX-VETO-FAILURES" and calls:
        return "the Failure callbacks during the registration"
    name = MISSING_CALLS.get(rule, "")
    if not name:
        return ""
    if name == COMPLETE_OR_FAILURE:
        name = _due(finding) or name
    of = f" for processor {calls[0].nt}" if calls else ""
    return f"the missing {name}{of}"


def _part(record: r.Record) -> str:
    if isinstance(record, d.SyncEnter | d.SyncExit):
        if isinstance(record.state, Absent) or isinstance(record.nt, Absent):
            return CHANGE
        state = d.STATE_NAMES.get(record.state, f"state {record.state}")
        return f"{CHANGE}, {state} for processor {record.nt}"
    if isinstance(record, d.AsyncEnter):
        what = {"cpu": "processor", "memory": "memory"}.get(record.cls) or printable(
            d.class_name(record.cls), 40
        )
        return f"Plug and Play notification callback, {what} {printable(record.event, 40)}"
    if isinstance(record, d.AsyncExit):
        return "Plug and Play notification callback"
    if isinstance(record, d.CallEnter | d.CallExit):
        return CALLS[record.call]
    if isinstance(record, d.PnpEnter | d.PnpExit):
        return f"{printable(record.minor, 40)} of {printable(record.device, 60)}"
    return _of_host(record)


def _of_host(record: r.Record) -> str:
    if isinstance(record, r.Ost):
        return f"_OST of {printable(record.device or record.slot, 60)}"
    if isinstance(record, r.Count):
        return "the guest's own count"
    if isinstance(record, r.Agreement):
        return _disagreeing(record)
    if isinstance(record, r.Add | r.Removal):
        name = record.attempt if isinstance(record, r.Add) else record.request
        return f"attempt {printable(name, 60)}"
    if isinstance(record, r.Stage | r.RunFailure):
        return f"stage {printable(record.name if isinstance(record, r.Stage) else record.stage, 60)}"
    if isinstance(record, r.OperationProgress | r.Expectation):
        return f"operation {record.index} of the plan"
    if isinstance(record, r.Channel):
        return f"capture channel {printable(record.name, 60)}"
    if isinstance(record, d.DriverRecord):
        return f"driver {printable(record.driver, 60)}, {_OWN.get(type(record), '')}".rstrip(", ")
    return ""


def _disagreeing(record: r.Agreement) -> str:
    """Return who, of QEMU, the firmware and the guest, did not do what was expected of a request to give a device back."""
    name = printable(record.attempt, 60)
    if record.agreed or record.expected != "gone" or record.unshown:
        return f"the agreement on {name}"
    answers = [answer for answer in record.ost if answer[0] in EJECTIONS and answer[1]]
    if answers:
        return f"the guest, which answered {name} through _OST with {ost_answer(*answers[-1])}"
    if not record.ost:
        return (
            f"the guest, or the firmware and QEMU between it and the host: no answer to {name} was recorded"
        )
    return f"the agreement on {name}"
