# SPDX-License-Identifier: MIT
"""The clock of a Windows guest, compared with its machine's time."""

from __future__ import annotations

import time
from pathlib import Path

from harness.guest.windows.answer import Ready
from harness.guest.windows.preflight import GuestCheck
from harness.machine.machine import Machine, QmpEvent
from harness.template.manifest import utc

CHECK = "clock"
"""The name of the check in the preflight."""

TOLERANCE = 300.0
"""Seconds. A clock that takes its time for another zone's is off by a quarter of an hour at least (tz database). Windows
itself allows five minutes between two machines (Microsoft Learn: "Maximum tolerance for computer clock
synchronization")."""

EPOCH = 621_355_968_000_000_000
"""1970-01-01 in .NET's ticks, 100 ns since the year 1 (Microsoft Learn: DateTime.UnixEpoch)."""

TICKS = 10_000_000


def guest_time(ready: Ready) -> float:
    """Return the guest's UTC, in seconds since the epoch."""
    return (ready.now - EPOCH) / TICKS


def ran_seconds(machine: Machine, now: int) -> float:
    """Return for how many seconds the machine ran until ``now``, in ns of the host's clock (QEMU: RESUME, STOP)."""
    turns = sorted([*machine.events("RESUME"), *machine.events("STOP")], key=_serial)
    ran, since = 0, 0
    for turn in turns:
        if turn.name == "RESUME":
            since = since or turn.host_ns
        elif since:
            ran, since = ran + turn.host_ns - since, 0
    return (ran + (now - since if since else 0)) / 1e9


def _serial(event: QmpEvent) -> int:
    return event.serial


def check_clock(machine: Machine, ready: Ready) -> GuestCheck:
    """Return whether the guest's UTC, just reported, is the machine's.

    The machine's is the time at which its clock began plus the time for which it ran, or the host's (QEMU: qemu-options, ``-rtc``).
    """
    clock = machine.spec.clock
    if clock is not None and clock.start:
        expected = clock.start + ran_seconds(machine, time.monotonic_ns())
        whose = f"the clock that began at {utc(clock.start)}"
    else:
        expected, whose = time.time(), "the host's"
    told = guest_time(ready)
    late = told - expected
    held = abs(late) <= TOLERANCE
    there = f"{abs(late):.0f} s {'ahead of' if late > 0 else 'behind'} {whose}"
    return GuestCheck(
        name=CHECK,
        state="ok" if held else "doubtful",
        found=f"its UTC is {utc(told)}, {there}"
        + (
            ""
            if held
            else f", more than {TOLERANCE:.0f} s: dates of certificates and days of an evaluation do not fit"
        ),
        source="QEMU: qemu-options, -rtc; W32: cimwin32prov/win32-operatingsystem.md",
    )


def not_yet_valid(certificate: Path | None, start: int) -> str:
    """Return a warning if a test ``certificate`` in DER is not valid yet when the guest's clock begins, "" if it is.

    ``start`` is in seconds since the epoch, 0 for the host's time. Windows installs a package only while its signer's
    certificate is valid (WinVerifyTrust, CERT_E_EXPIRED). A file that is not a certificate is left to the code that uses it.
    """
    if certificate is None or not start:
        return ""
    from cryptography import x509

    try:
        begins = x509.load_der_x509_certificate(certificate.read_bytes()).not_valid_before_utc.timestamp()
    except (OSError, ValueError):
        return ""
    if begins <= start:
        return ""
    return (
        f"the certificate {certificate.name} is valid from {utc(begins)} on, later than the guest's clock: "
        "a package that it signs may be refused. --real-time gives the guest the host's time"
    )
