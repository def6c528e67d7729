# SPDX-License-Identifier: MIT
"""What is at fault in a finding: the callback, the call or the stage that its records lead to, in a few words."""

from __future__ import annotations

from collections.abc import Sequence

from harness.contract.verdict import Finding
from harness.history import driver as d
from harness.history import record as r
from harness.history.absent import Absent
from harness.report.escape import printable
from harness.report.page.telling import ROUTINES
from harness.report.sentence import CALLS

CHANGE = "processor change callback"


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
    """Return the callbacks, calls or stages that ``shown``, the finding's records, come from, in their order, each once.

    ``missing`` are records beside which others are missing: there the capture is at fault.
    """
    routine = ROUTINES.get(finding.rule, "")
    if routine and shown:
        return f"{routine}, called in {_part(shown[-1])}"
    told = list(dict.fromkeys(filter(None, map(_part, shown))))
    told += dict.fromkeys(
        f"what was captured of driver {printable(m.driver, 60)}"
        for m in missing
        if isinstance(m, d.DriverRecord)
    )
    if told:
        return "; ".join(told[:3])
    return printable(finding.attempt, 60) if finding.attempt else "the run as a whole"


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
    if isinstance(record, r.Count | r.Agreement):
        return (
            "the guest's own count"
            if isinstance(record, r.Count)
            else f"the agreement on {printable(record.attempt, 60)}"
        )
    if isinstance(record, r.Add | r.Removal):
        name = record.attempt if isinstance(record, r.Add) else record.request
        return f"attempt {printable(name, 60)}"
    if isinstance(record, r.Stage | r.RunFailure):
        return f"stage {printable(record.name if isinstance(record, r.Stage) else record.stage, 60)}"
    if isinstance(record, r.OperationProgress | r.Expectation):
        return f"operation {record.index}"
    if isinstance(record, r.Channel):
        return f"capture channel {printable(record.name, 60)}"
    if isinstance(record, d.DriverRecord):
        return f"driver {printable(record.driver, 60)}, {_OWN.get(type(record), '')}".rstrip(", ")
    return ""
