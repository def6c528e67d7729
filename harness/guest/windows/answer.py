# SPDX-License-Identifier: MIT
"""The answers of the harness's scripts and tools in Windows, decoded strictly: a guest may send anything."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from harness.errors import GuestRefused

T = TypeVar("T")

LONGEST = 1 << 20
"""Bytes of an answer that are read."""

ReplyText = Annotated[str, msgspec.Meta(max_length=4000)]
Said = str
"""A program's output, which the scripts cut at 1,000 characters. A longer text is still valid: :data:`LONGEST` bounds it."""

Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class _Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Ready(_Answer, frozen=True, kw_only=True):
    """The Windows that answers. ``started`` is its boot time, ``now`` its clock, in 100 ns since the year 1 (.NET's ticks), UTC."""

    caption: ReplyText
    build: ReplyText
    started: Number
    now: Number


class ServiceState(_Answer, frozen=True, kw_only=True):
    """A driver's service: ``state`` of Win32_SystemDriver (``Running``, ``Stopped``, …), "" if there is none."""

    state: ReplyText
    path: ReplyText = ""


class ChangeStep(_Answer, frozen=True, kw_only=True):
    """The last step of a change and its exit code, which for ``sc.exe`` is a Windows error code. 0 is success."""

    step: ReplyText
    code: int
    said: Said = ""
    state: ReplyText = ""


class ProcessorGroup(_Answer, frozen=True, kw_only=True):
    """A processor group: the numbers of its active and of its possible processors."""

    active: Number
    maximum: Number


LicenceName = Annotated[str, msgspec.Meta(pattern="^[A-Za-z-]{1,80}$")]

DYNAMIC_PROCESSORS = 1 << 5
"""DbgDynProcessorEnabled of SharedDataFlags (ntddk.h: SHARED_GLOBAL_FLAGS_DYNAMIC_PROC_ENABLED_V)."""


class MachineView(_Answer, frozen=True, kw_only=True):
    """The machine as Windows sees it (``hpnctl machine``). ``memory`` is ullTotalPhys in bytes.

    ``utc`` is the guest's time in 100 ns since 1601 (W32: minwinbase/ns-minwinbase-filetime.md). ``flags`` is
    SharedDataFlags of KUSER_SHARED_DATA (DDI: ntddk/ns-ntddk-kuser_shared_data.md), None from an older tool. ``licence`` has
    the licence's values by their names, None for one that it does not have (W32:
    slpublic/nf-slpublic-slgetwindowsinformationdword.md; the names are in no page of Microsoft's).
    ``hypervisor`` is CPUID 1, ECX bit 31; ``signature`` the twelve bytes of leaf 0x40000000 in hexadecimal;
    ``privileges`` EBX and ``features`` EDX of leaf 0x40000003 (Hypervisor Top Level Functional Specification,
    2.4.4); ``srat`` the firmware's table in hexadecimal, "" if there is none.
    """

    processors: Number
    maximum: Number
    memory: Number
    utc: Number | None = None
    flags: Number | None = None
    licence: Annotated[dict[LicenceName, Number | None], msgspec.Meta(max_length=16)] = {}
    groups: Annotated[list[ProcessorGroup], msgspec.Meta(max_length=64)]
    hypervisor: Number
    leaves: Number = 0
    signature: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{0,24}$")] = ""
    privileges: Number | None = None
    features: Number | None = None
    srat: Annotated[str, msgspec.Meta(max_length=65536, pattern="^(?:[0-9a-f]{2})*$")] = ""

    @property
    def takes_processors(self) -> bool | None:
        """Whether Windows decided at its start to accept processors while it runs. None if it was not asked."""
        return None if self.flags is None else bool(self.flags & DYNAMIC_PROCESSORS)


class TraceAccount(_Answer, frozen=True, kw_only=True):
    """A trace session's own account (EVENT_TRACE_PROPERTIES): what it lost, and what it wrote."""

    events_lost: Number
    buffers_lost: Number
    buffers_written: Number
    buffers: Number


class TraceTail(_Answer, frozen=True, kw_only=True):
    """A session's log from an offset on: ``data`` in gzip and Base64, and the ``size`` of the file.

    ``now`` is the performance counter before the session wrote its buffers. ``code`` and ``said`` are the write's.
    """

    code: int
    now: Number
    size: Number
    data: Annotated[str, msgspec.Meta(max_length=LONGEST)]
    said: ReplyText = ""


class AddressLease(_Answer, frozen=True, kw_only=True):
    """An adapter's address; ``expires`` is when its lease ends, in .NET's ticks of UTC, 0 without one."""

    address: Annotated[str, msgspec.Meta(max_length=64)]
    dhcp: bool
    expires: Number


class ClockAndLease(_Answer, frozen=True, kw_only=True):
    """The clock in .NET's ticks of UTC: as it was ``found``, whether it was ``set``, and ``now``. ``code`` is ipconfig's."""

    found: Number
    now: Number
    set: bool
    code: int
    said: ReplyText
    leases: Annotated[list[AddressLease], msgspec.Meta(max_length=16)]


OPTED_OUT = 1
"""The policy of a device that takes no part in a rebalance (WD: install/devpkey-device-dhp-rebalance-policy.md)."""


class ServiceDevice(_Answer, frozen=True, kw_only=True):
    """A device of a service: ``problem`` is ConfigManagerErrorCode of Win32_PnPEntity, 0 if it works.

    ``policy`` is DEVPKEY_Device_DHP_Rebalance_Policy, 0 if it is not set.
    """

    device: ReplyText
    problem: int
    policy: int = 0


class PnpInstallation(_Answer, frozen=True, kw_only=True):
    """The exit code and output of ``pnputil``, and the devices of the service afterwards."""

    code: int
    said: Said
    devices: Annotated[list[ServiceDevice], msgspec.Meta(max_length=100)]


class Exported(_Answer, frozen=True, kw_only=True):
    """The exit code and output of ``wevtutil``, the number of minidumps, and the bytes of MEMORY.DMP, 0 without one.

    ``setup`` says why there is no installation log, "" if there is one.
    """

    code: int
    said: Said
    setup: Said = ""
    minidumps: Number
    dump: Number


class _Failed(_Answer, frozen=True, kw_only=True):
    failed: str


def decode(text: str, kind: type[T], *, what: str) -> T:
    """Return the answer in ``text``. Raises GuestRefused if it is not an answer, or if it gives the reason why there is none."""
    said = text.strip()
    if len(said) > LONGEST:
        raise GuestRefused(f"{what}: an answer of {len(said)} characters, more than {LONGEST}")
    try:
        return msgspec.json.decode(said, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        failed = _failed(said)
        if failed:
            raise GuestRefused(f"{what}: {failed[:400]}") from error
        raise GuestRefused(f"{what}: the guest's answer makes no sense: {error}: {said[:200]!r}") from error


def _failed(said: str) -> str:
    try:
        return msgspec.json.decode(said, type=_Failed).failed
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""
