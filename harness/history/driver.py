# SPDX-License-Identifier: MIT
"""The driver's records: what ``hpnotify`` reports, the same fields on every channel.

The debug-port line is the reference form. One record is one line of at most 512 bytes::

    HPN1 seq=12 qpc=482911 boot=00c0ffee00c0ffee driver=hpnotify ev=sync.enter cpu=0 irql=0 … crc=1a2b3c4d

``key=value`` pairs separated by one space, in the order of the fields below; integers in decimal, except those
listed in :data:`HEX`, which are ``0x…``; strings percent-encoded outside ``!``..``~`` and for ``%`` and ``=``;
``crc`` is the CRC-32 (IEEE, as zlib) of every byte before ``" crc="``, eight hex digits. The keys are the field
names below, so that C, history and docs use the same names. ``tests/`` compares this module with the driver's own
table (``guest_drivers/hpnotify/src/records.h``).

The sequence number, ``qpc`` and all sink writes are taken under one spin lock in the driver, so that file order
equals sequence order. ``cpu`` of a PASSIVE_LEVEL record is a sample and may be stale at once
(DDI: ntddk/nf-ntddk-kegetcurrentprocessornumber.md).
"""

from __future__ import annotations

from typing import Literal

from harness.history.record import Record

START, COMPLETE, FAILURE = 0, 1, 2
"""KE_PROCESSOR_CHANGE_NOTIFY_STATE: KeProcessorAddStartNotify, KeProcessorAddCompleteNotify, KeProcessorAddFailureNotify."""

STATE_NAMES = {START: "Start", COMPLETE: "Complete", FAILURE: "Failure"}

ADD_EXISTING = 1
"""KE_PROCESSOR_CHANGE_ADD_EXISTING, flag of KeRegisterProcessorChangeCallback."""

INCLUDE_EXISTING = 1
"""PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES, flag of IoRegisterPlugPlayNotification."""

HEX = frozenset(
    {"thread", "status", "op", "ctx", "mask", "idx_status", "result", "ret", "object", "flags", "boot"}
)
"""Fields written in hexadecimal on the wire (``boot`` without 0x)."""


CALL_NAMES = {
    "driver_entry": "DriverEntry",
    "unload": "Unload",
    "reg_sync": "KeRegisterProcessorChangeCallback",
    "dereg_sync": "KeDeregisterProcessorChangeCallback",
    "reg_async": "IoRegisterPlugPlayNotification",
    "unreg_ex": "IoUnregisterPlugPlayNotificationEx",
    "unreg_old": "IoUnregisterPlugPlayNotification",
    "etw_reg": "EtwRegister",
    "etw_unreg": "EtwUnregister",
}
"""The routine that each value of :data:`CallName` stands for."""

CLASS_NAMES = {
    "97fadb10-4e33-40ae-359c-8bef029dbdd0": "GUID_DEVICE_PROCESSOR",
    "3fd0f03d-92e0-45fb-b75c-5ed8ffb01021": "GUID_DEVICE_MEMORY",
}
"""Device interface classes by GUID (poclass.h)."""


def interface_name(link: str) -> str:
    """Return a symbolic link without the parts that are the same for all of a class: ``ACPI#ACPI0007#2``."""
    return link.removeprefix("\\??\\").partition("#{")[0][:100]


def class_name(cls: str) -> str:
    """Return the name of the device interface class ``cls``, or ``cls`` itself if it is not a known GUID."""
    return CLASS_NAMES.get(cls.strip("{}").lower(), cls)


def nt_success(status: int) -> bool:
    """Return NT_SUCCESS(status): True for success and informational values (0 to 0x7FFFFFFF)."""
    return status < 0x80000000


class DriverRecord(Record, frozen=True, kw_only=True):
    """The fields of every driver record, sampled at one place under the driver's lock (irql and thread: before it).

    ``channel``  where this copy came from: ``debugcon``, ``etw``, ``dbgprint``, ``dbgprint-etw``, ``ring``;
    ``driver``   the driver instance (service name); ``seq`` is unique per boot nonce and driver;
    ``cpu``      system-wide index, KeGetCurrentProcessorNumberEx; ``thread`` an opaque id;
    ``active``   KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS); ``active_g0`` KeQueryActiveProcessorCount();
    ``active_g0_ex`` …CountEx(0); ``maximum`` KeQueryMaximumProcessorCountEx(ALL); ``groups`` KeQueryActiveGroupCount.
    """

    channel: str
    seq: int
    qpc: int
    boot: str
    driver: str
    cpu: int
    irql: int
    thread: int
    active: int
    active_g0: int
    active_g0_ex: int
    maximum: int
    groups: int


class Hello(DriverRecord, frozen=True, kw_only=True, tag="hello"):
    """First record of a loaded driver: its version, QPC rate in Hz, ring capacity in records, mode."""

    version: str
    hz: int
    ring: int
    mode: Literal["nonpnp", "pnp"] = "nonpnp"


class SyncEnter(DriverRecord, frozen=True, kw_only=True, tag="sync.enter"):
    """The processor change callback was entered. Fields are those of KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT.

    ``reg`` registration id (1-based per boot and driver); ``op`` is ``*OperationStatus``; ``ctx`` the callback context;
    ``max_in_group`` KeQueryMaximumProcessorCountEx(group); ``mask`` KeQueryGroupAffinity(group);
    ``idx_*`` the result of KeGetProcessorNumberFromIndex(nt); ``back_idx`` KeGetProcessorIndexFromNumber, -1 if invalid.
    """

    reg: int
    state: int
    nt: int
    group: int
    number: int
    status: int
    op: int
    ctx: int
    max_in_group: int
    mask: int
    idx_status: int
    idx_group: int
    idx_number: int
    back_idx: int


class SyncExit(DriverRecord, frozen=True, kw_only=True, tag="sync.exit"):
    """The callback is about to return. ``enter`` is the seq of its enter record; the context is read again."""

    enter: int
    reg: int
    state: int
    nt: int
    group: int
    number: int
    status: int
    op: int


class AsyncEnter(DriverRecord, frozen=True, kw_only=True, tag="async.enter"):
    """The Plug and Play notification callback was entered: DEVICE_INTERFACE_CHANGE_NOTIFICATION.

    ``event``: ``arrival``, ``removal`` or the GUID; ``cls``: ``cpu`` (GUID_DEVICE_PROCESSOR), ``memory``
    (GUID_DEVICE_MEMORY) or the GUID; ``link`` the symbolic link name; ``memory`` total physical bytes, 0 if unknown.
    """

    reg: int
    event: str
    cls: str
    version: int
    link: str
    memory: int = 0


class AsyncExit(DriverRecord, frozen=True, kw_only=True, tag="async.exit"):
    """The Plug and Play notification callback is about to return ``ret``."""

    enter: int
    reg: int
    ret: int


CallName = Literal[
    "driver_entry",
    "unload",
    "reg_sync",
    "dereg_sync",
    "reg_async",
    "unreg_ex",
    "unreg_old",
    "etw_reg",
    "etw_unreg",
]


class CallEnter(DriverRecord, frozen=True, kw_only=True, tag="call.enter"):
    """The driver is about to make a call (or its DriverEntry or Unload was entered). ``reg`` 0: no registration."""

    call: CallName
    reg: int = 0
    flags: int = 0
    cls: str = ""
    ctx: int = 0


class CallExit(DriverRecord, frozen=True, kw_only=True, tag="call.exit"):
    """The call returned. ``result`` is its NTSTATUS, 0 where it has none; ``handle`` is 1 if ``reg_sync`` gave a handle."""

    enter: int
    call: CallName
    result: int
    reg: int = 0
    handle: int = 0


class Alloc(DriverRecord, frozen=True, kw_only=True, tag="alloc"):
    """The driver allocated (``object``, ``size`` bytes) for processor ``nt`` on behalf of registration ``reg``."""

    reg: int
    nt: int
    object: int
    size: int


class Free(DriverRecord, frozen=True, kw_only=True, tag="free"):
    """The driver freed what :class:`Alloc` reported."""

    reg: int
    nt: int
    object: int


class Bind(DriverRecord, frozen=True, kw_only=True, tag="bind"):
    """The driver bound a thread or a DPC to processor ``nt``."""

    what: Literal["thread", "dpc"]
    nt: int
    group: int
    number: int


class Work(DriverRecord, frozen=True, kw_only=True, tag="work"):
    """A per-processor worker ran on processor ``nt`` (``cpu`` is where it really ran); ``done`` items so far."""

    nt: int
    done: int


class Grow(DriverRecord, frozen=True, kw_only=True, tag="grow"):
    """The driver's buffer grew because memory arrived, from ``before`` to ``after`` bytes."""

    before: int
    after: int


class PnpEnter(DriverRecord, frozen=True, kw_only=True, tag="pnp.enter"):
    """A PnP request or KMDF callback of the PnP variant: ``minor`` = QUERY_STOP, STOP, START, CANCEL_STOP, D0Exit…"""

    device: str
    minor: str


class PnpExit(DriverRecord, frozen=True, kw_only=True, tag="pnp.exit"):
    """The PnP request or KMDF callback is about to return ``ret``."""

    enter: int
    device: str
    minor: str
    ret: int


class Mark(DriverRecord, frozen=True, kw_only=True, tag="mark"):
    """The driver was asked to echo ``nonce`` on every channel."""

    nonce: str


class Overrun(DriverRecord, frozen=True, kw_only=True, tag="overrun"):
    """The driver's ring overwrote ``count`` records before they were read."""

    count: int


AnyDriverRecord = (
    Hello | SyncEnter | SyncExit | AsyncEnter | AsyncExit | CallEnter | CallExit | Alloc | Free
    | Bind | Work | Grow | PnpEnter | PnpExit | Mark | Overrun
)  # fmt: skip
