# SPDX-License-Identifier: MIT
"""The values of a finding's records that show it, each with the name that Microsoft's pages give it."""

from __future__ import annotations

from typing import Any

from harness.history import driver as d
from harness.history import record as r
from harness.history.absent import Absent
from harness.history.nt_status import STATUS_NAMES
from harness.report.escape import printable

LONGEST = 120

NAMES = {
    "active": "KeQueryActiveProcessorCountEx(ALL)",
    "active_g0": "KeQueryActiveProcessorCount",
    "active_g0_ex": "KeQueryActiveProcessorCountEx(0)",
    "maximum": "KeQueryMaximumProcessorCountEx(ALL)",
    "max_in_group": "KeQueryMaximumProcessorCountEx(group)",
    "groups": "KeQueryActiveGroupCount",
    "irql": "KeGetCurrentIrql",
    "cpu": "runs on processor",
    "reg": "registration",
    "state": "State",
    "nt": "NtNumber",
    "group": "ProcNumber.Group",
    "number": "ProcNumber.Number",
    "status": "Status",
    "op": "*OperationStatus",
    "ctx": "CallbackContext",
    "mask": "KeQueryGroupAffinity",
    "idx_status": "KeGetProcessorNumberFromIndex",
    "version": "Version",
    "cls": "InterfaceClassGuid",
    "link": "SymbolicLinkName",
    "object": "object",
    "qpc": "KeQueryPerformanceCounter",
    "thread": "thread",
}
"""Fields of records by the routine or the structure's field that they hold."""

FIELDS: dict[str, tuple[str, ...]] = {
    "SYNC-STATE-VALID": ("state",),
    "SYNC-CONTEXT-IDENTITY": ("ctx",),
    "SYNC-IRQL-PASSIVE": ("irql",),
    "REG-IRQL-PASSIVE": ("irql",),
    "ASYNC-IRQL-PASSIVE": ("irql",),
    "SYNC-ALL-REGISTERED": ("reg",),
    "SYNC-AGREE": ("reg",),
    "SYNC-BARRIER": ("reg",),
    "SYNC-TERMINAL-EXCLUSIVE": ("reg",),
    "SYNC-EXACTLY-TWO": ("reg",),
    "SYNC-SAME-IDENTITY": ("group", "number"),
    "NO-RUN-BEFORE-START-DONE": ("cpu",),
    "COMPLETE-COUNTED": ("active", "mask"),
    "FAIL-STATUS-ERROR": ("status",),
    "FAIL-NOT-COUNTED": ("active", "mask"),
    "OB-OPSTATUS-DISCIPLINE": ("op",),
    "OB-NO-OVERWRITE": ("op",),
    "OB-CTX-IMMUTABLE": ("nt", "group", "number", "status"),
    "OB-ALLOC-FREE": ("object",),
    "OB-VETO-SELF-CLEAN": ("object",),
    "ADDEX-OTHERS-SILENT": ("reg",),
    "NULL-NO-CALLBACKS": ("reg",),
    "NUM-INDEX-AGREES": ("idx_status", "group", "number"),
    "NUM-RANGE": ("group", "number"),
    "NUM-GROUP0": ("group",),
    "NUM-UNIQUE": ("group", "number", "active"),
    "COUNT-MONOTONIC": ("active",),
    "MAX-CONSTANT": ("maximum",),
    "COUNT-LEGACY-IS-GROUP0": ("active_g0", "active_g0_ex"),
    "GROUPS-MONOTONIC": ("groups",),
    "ASYNC-STRUCT": ("version",),
    "ASYNC-CLASS-ROUTE": ("cls",),
    "ASYNC-UNREG-EX-QUIET": ("reg",),
    "ASYNC-AFTER-SCHEDULABLE": ("active",),
    "CAP-ORDER": ("qpc",),
    "CAP-BRACKETED": ("thread",),
}
"""The fields that a rule compares, in the order in which they are shown."""

ROUTINES = {
    "COUNT-MONOTONIC": "KeQueryActiveProcessorCountEx",
    "MAX-CONSTANT": "KeQueryMaximumProcessorCountEx",
    "COUNT-LEGACY-IS-GROUP0": "KeQueryActiveProcessorCount",
    "GROUPS-MONOTONIC": "KeQueryActiveGroupCount",
}
"""Rules about what a routine returns, wherever it was called from."""

_STATUSES = frozenset({"status", "op", "idx_status"})
_HEX = frozenset({"ctx", "mask", "object"})


def telling(rule: str, record: r.Record) -> list[str]:
    """Return each value of ``record`` that ``rule`` compares, as ``Name = value``. A field that is absent is left out."""
    values = ((name, getattr(record, name, None)) for name in FIELDS.get(rule, ()))
    return [
        printable(f"{NAMES[name]} = {_value(name, value)}{_owner(name, record)}", LONGEST)
        for name, value in values
        if value not in (None, "") and not isinstance(value, Absent)
    ]


def _owner(name: str, record: r.Record) -> str:
    """Return whose registration it is: drivers number theirs alone."""
    return f" of {record.driver}" if name == "reg" and isinstance(record, d.DriverRecord) else ""


def _value(name: str, value: Any) -> str:
    if name in _STATUSES:
        known = STATUS_NAMES.get(value, "")
        return f"0x{value:08X}{f' ({known})' if known else ''}"
    if name in _HEX:
        return f"{value:#x}"
    if name == "cls":
        return d.class_name(
            {"cpu": "GUID_DEVICE_PROCESSOR", "memory": "GUID_DEVICE_MEMORY"}.get(value, value)
        )
    if name == "irql":
        return f"{value}{' (PASSIVE_LEVEL)' if value == 0 else ' (DISPATCH_LEVEL)' if value == 2 else ''}"
    return str(value)
