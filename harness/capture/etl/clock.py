# SPDX-License-Identifier: MIT
"""The clock of a session: the length of a tick, and a pair of tick and wall clock.

ETW stamps records with QueryPerformanceCounter, the system time or the processor's cycle counter, as the
session requested (contract F4, F6: W32:ETW/wnode-header.md, ClientContext). The log header names the clock, its
rate and one pair of (tick, system time) taken at the session's start. All arithmetic here is on integers, so a
conversion loses less than one unit of its result and nothing accumulates.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec

FILETIME_HZ = 10_000_000
UNIX_EPOCH = 116_444_736_000_000_000
"""1970-01-01 as a FILETIME: 100 ns units since 1601-01-01 UTC."""

_KINDS: dict[int, Literal["qpc", "system time", "cpu cycles"]] = {1: "qpc", 2: "system time", 3: "cpu cycles"}


class LogClock(msgspec.Struct, frozen=True, kw_only=True):
    """``hz`` ticks per second, 0 when the log does not say; ``start`` ticks were ``start_filetime`` (100 ns, 1601)."""

    kind: Literal["qpc", "system time", "cpu cycles", "unknown"] = "unknown"
    hz: int = 0
    start: int = 0
    start_filetime: int = 0

    def nanoseconds(self, ticks: int) -> int | None:
        """Return the nanoseconds from the session's start to ``ticks``, rounded down; None if the rate is unknown."""
        return (ticks - self.start) * 1_000_000_000 // self.hz if self.hz else None

    def ticks(self, nanoseconds: int) -> int | None:
        """Return the tick that many nanoseconds after the session's start, the inverse of :meth:`nanoseconds`."""
        return self.start - (-nanoseconds * self.hz // 1_000_000_000) if self.hz else None

    def filetime(self, ticks: int) -> int | None:
        """Return the system time of ``ticks`` in 100 ns units since 1601, None if the rate is unknown."""
        if not self.hz:
            return None
        return self.start_filetime + (ticks - self.start) * FILETIME_HZ // self.hz


def make(code: int, *, start: int, start_filetime: int, frequency: int, mhz: int) -> LogClock:
    """Make the clock that a log header describes by ReservedFlags (``code``), PerfFreq and CpuSpeedInMHz.

    Old loggers left a code of 0 for the default, which was the performance counter.
    """
    kind = _KINDS.get(code or 1)
    if kind is None:
        return LogClock(start=start, start_filetime=start_filetime)
    if kind == "system time":
        # Ticks are FILETIMEs already. The header record's own stamp is as good a start as StartTime, and equals it.
        return LogClock(kind=kind, hz=FILETIME_HZ, start=start, start_filetime=start)
    hz = frequency if kind == "qpc" else mhz * 1_000_000
    return LogClock(kind=kind, hz=max(hz, 0), start=start, start_filetime=start_filetime)


def iso(filetime: int) -> str:
    """Return a FILETIME as ISO 8601 UTC with all seven decimals, or its number when it is beyond the calendar."""
    seconds, fraction = divmod(filetime - UNIX_EPOCH, FILETIME_HZ)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"FILETIME {filetime}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:07d}Z"
