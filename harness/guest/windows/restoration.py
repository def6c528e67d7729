# SPDX-License-Identifier: MIT
"""A Windows guest that continues from a ready snapshot: its clock and its leases, which do not include the time between.

Its clock continues from the time of the save: QEMU saves the counters from which Windows keeps its time. So does the
machine's real-time clock where it counts the guest's time, and a lease that had hours left still has them. Only a clock that
differs is set, by Set-Date (Microsoft Learn: Microsoft.PowerShell.Utility). That needs no time server, of which there is none.
It needs no agent either: QEMU's (guest-set-time) is on a virtio port, whose driver a rebalance would stop. Leases are always
renewed (Microsoft Learn: ipconfig /renew), since QEMU's DHCP server is a new process.
"""

from __future__ import annotations

import datetime
import re
import time

from harness.deadline import Deadline
from harness.guest.windows import answer
from harness.guest.windows.shell import PowerShellSession
from harness.history.record import GuestEvent

TICKS = 10_000_000
"""Ticks of .NET in a second."""

EPOCH = datetime.datetime(1, 1, 1, tzinfo=datetime.UTC)

TOLERANCE = 120
"""Seconds by which the clock may differ: the query takes time, and a guest without KVM is slow."""

MOMENT = "utc"
"""The event that records the guest's clock just before its state is saved."""

_MOMENT = re.compile(r"ticks=(\d{1,18})\b")


def note_moment(shell: PowerShellSession, deadline: Deadline) -> GuestEvent:
    """Ask for the guest's clock, just before its state is saved."""
    seen = shell.ask("clock-and-lease", deadline, answer.ClockAndLease, Expected=0, Tolerance=0, Renew=False)
    return GuestEvent(event=MOMENT, detail=f"ticks={seen.now} {_utc(seen.now)}")


class Restoration:
    """The moment at which the guest was saved. ``said`` is what it had reported about itself until then."""

    def __init__(self, shell: PowerShellSession, said: list[tuple[str, str]]) -> None:
        self._shell = shell
        self._began = time.monotonic()
        self._saved = 0
        for event, detail in said:
            if event == MOMENT and (found := _MOMENT.match(detail)):
                self._saved = int(found[1])

    def put_right(self, deadline: Deadline) -> list[GuestEvent]:
        """Set the clock if necessary, renew the leases, and return the events to record. Raises a script's errors."""
        passed = int((time.monotonic() - self._began) * TICKS)
        expected = self._saved + passed if self._saved else 0
        seen = self._shell.once(
            "clock-and-lease", deadline, answer.ClockAndLease,
            Expected=expected, Tolerance=TOLERANCE if expected else 0, Renew=True,
        )  # fmt: skip
        return [
            GuestEvent(event="clock", detail=self._clock(seen, expected)),
            GuestEvent(event="network", detail=_network(seen)),
        ]

    def _clock(self, seen: answer.ClockAndLease, expected: int) -> str:
        if not expected:
            return f"goes on at {_utc(seen.now)}; when it was saved is not known"
        if not seen.set:
            return f"goes on at {_utc(seen.now)}, saved at {_utc(self._saved)}"
        off = (seen.found - expected) // TICKS
        return f"was {abs(off)} s {'ahead' if off > 0 else 'behind'} and set to {_utc(seen.now)}, saved at {_utc(self._saved)}"


def _network(seen: answer.ClockAndLease) -> str:
    leases = [
        f"{one.address} until {_utc(one.expires)}" if one.dhcp else f"{one.address}, fixed"
        for one in seen.leases
    ]
    renewed = (
        "leases renewed" if not seen.code else f"ipconfig /renew: exit code {seen.code}: {seen.said[:200]}"
    )
    return f"{renewed}; {', '.join(leases) or 'no address'}"[:400]


def _utc(ticks: int) -> str:
    """Return .NET's ticks as text; a guest may say any number."""
    try:
        when = EPOCH + datetime.timedelta(microseconds=ticks // 10)
    except OverflowError:
        return f"tick {ticks}"
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
