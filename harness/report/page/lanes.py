# SPDX-License-Identifier: MIT
"""The lanes of a run's picture: who did or saw what a record says, one lane for each processor."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from harness.history import driver as d
from harness.history import record as r
from harness.history.absent import Absent
from harness.report.escape import printable

MOST_PROCESSORS = 512
"""Processors that get a lane of their own; a forged history may name any number of them."""

LONGEST_SOURCE = 40

STAGES, HOST, QMP, FIRMWARE = "stages", "host", "qmp", "firmware"
DRIVER, PROCESSOR, PNP, USER, CAPTURE = "driver", "cpu", "pnp", "user", "capture"

TITLES = {
    STAGES: "Stages",
    HOST: "Host operations",
    QMP: "QMP",
    FIRMWARE: "Firmware (_OST)",
    DRIVER: "Driver calls",
    PNP: "Plug and Play",
    USER: "Guest, user mode",
    CAPTURE: "Capture",
}
BEFORE = (STAGES, HOST, QMP, FIRMWARE, DRIVER)
AFTER = (PNP, USER, CAPTURE)


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """One lane: its key (``host``, ``cpu:2``) and its title."""

    key: str
    title: str


def processor(record: r.Record) -> int:
    """Return the processor on which a driver record was logged, -1 if it is not one, or does not say."""
    if not isinstance(record, d.DriverRecord) or isinstance(record.cpu, Absent):
        return -1
    return record.cpu if 0 <= record.cpu < 1 << 31 else -1


def subject(record: r.Record) -> int:
    """Return the processor (NtNumber) that a driver record is about, -1 if it is about none."""
    number = getattr(record, "nt", -1)
    return (
        number if isinstance(number, int) and not isinstance(number, Absent) and 0 <= number < 1 << 31 else -1
    )


def key(record: r.Record) -> str:
    """Return the key of the lane that ``record`` belongs to."""
    if isinstance(record, d.SyncEnter | d.SyncExit | d.Work):
        at = processor(record)
        return f"{PROCESSOR}:{at}" if at >= 0 else DRIVER
    if isinstance(record, d.AsyncEnter | d.AsyncExit | d.PnpEnter | d.PnpExit):
        return PNP
    if isinstance(record, d.Overrun | r.Channel | r.Mapped | r.Profile | r.Clock | r.Offset | r.Header):
        return CAPTURE
    if isinstance(record, d.DriverRecord):
        return DRIVER
    if isinstance(record, r.Stage | r.Boot | r.Migration | r.RunFailure | r.End):
        return STAGES
    if isinstance(record, r.GuestEvent | r.Console | r.Count):
        return USER
    return FIRMWARE if isinstance(record, r.Ost) else QMP if isinstance(record, r.Qmp) else HOST


def source(record: r.Record) -> str:
    """Return who reported a record: a capture channel, ``QMP``, or ``harness``."""
    if isinstance(record, d.DriverRecord):
        return printable(record.channel, LONGEST_SOURCE)
    if isinstance(record, r.Qmp | r.Ost):
        return "QMP"
    return (
        "guest agent"
        if isinstance(record, r.GuestEvent | r.Count)
        else "console"
        if isinstance(record, r.Console)
        else "harness"
    )


def lanes(keys: Iterable[str]) -> list[Lane]:
    """Return the lanes that ``keys`` name, from the top to the bottom of the picture."""
    found = set(keys)
    numbers = sorted(int(one.partition(":")[2]) for one in found if one.startswith(f"{PROCESSOR}:"))
    places = [(each, TITLES[each]) for each in BEFORE]
    places += [(f"{PROCESSOR}:{number}", f"Processor {number}") for number in numbers[:MOST_PROCESSORS]]
    places += [(each, TITLES[each]) for each in AFTER]
    return [Lane(key=each, title=title) for each, title in places if each in found]
