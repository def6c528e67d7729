# SPDX-License-Identifier: MIT
"""The drivers' debug output in the log of a kernel session with EVENT_TRACE_FLAG_DBGPRINT.

With that flag the calls of DbgPrint and DbgPrintEx are converted to events (W32: etw/event-trace-properties.md). No page describes
the events; their layout is that of ETW_DEBUG_PRINT_EVENT in ntwmi.h.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.capture.etl import classic
from harness.capture.etl.tracelog import TraceLog

CHANNEL = "dbgprint-etw"

KERNEL_SESSION = "NT Kernel Logger"
KERNEL_PROVIDER = "{9e814aad-3204-11d2-9a82-006008a86939}"
"""SystemTraceControlGuid (W32: etw/nt-kernel-logger-constants.md)."""

DBGPRINT = 0x00040000
"""EVENT_TRACE_FLAG_DBGPRINT (W32: etw/event-trace-properties.md)."""

GROUP = 0x0A
"""EVENT_TRACE_GROUP_DBGPRINT of ntwmi.h."""


def prints(log: TraceLog) -> Iterator[bytes]:
    """Yield the printed texts in the order of their times, each cut at its first NUL."""
    for record in log.records():
        if classic.group_of(record) != GROUP:
            continue
        # Component and level come first, four bytes each.
        text, end, _rest = record.payload[8:].partition(b"\0")
        if end or text:
            yield text
