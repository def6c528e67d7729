# SPDX-License-Identifier: MIT
"""The parts of QEMU's QMP schema that the harness reads. Violations are QEMU's fault, never the guest's.

Types and names are those of QEMU's ``qapi/``: acpi.json, run-state.json, machine.json, qmp-spec.rst (events).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from harness.errors import InfrastructureError

T = TypeVar("T")


class QmpTimestamp(msgspec.Struct, frozen=True):
    """When QEMU sent an event: seconds since 1970 and microseconds, or -1 if the host had no time (qmp-spec.rst)."""

    seconds: int
    microseconds: int


class EventMessage(msgspec.Struct, frozen=True):
    """An asynchronous message (qmp-spec.rst, "Asynchronous events")."""

    event: str
    timestamp: QmpTimestamp
    data: dict[str, Any] = {}


class AcpiOstInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """``ACPIOSTInfo`` (qapi/acpi.json): the guest's ``_OST`` for one slot. ``device`` is "" for one without an id."""

    slot: str
    slot_type: str
    source: int
    status: int
    device: str = ""


class AcpiDeviceOst(msgspec.Struct, frozen=True):
    """The data of ``ACPI_DEVICE_OST`` (qapi/acpi.json)."""

    info: AcpiOstInfo


class DeviceEvent(msgspec.Struct, frozen=True):
    """The data of ``DEVICE_DELETED`` and ``DEVICE_UNPLUG_GUEST_ERROR`` (qapi/qdev.json), and of ``MEM_UNPLUG_ERROR``.

    ``device`` is "" for a part of a device, which has only a path.
    """

    device: str = ""
    path: str = ""


class ResetEvent(msgspec.Struct, frozen=True):
    """The data of ``RESET`` (qapi/run-state.json)."""

    guest: bool


class StatusInfo(msgspec.Struct, frozen=True):
    """``StatusInfo`` (qapi/run-state.json), the result of ``query-status``."""

    status: str
    running: bool


class HotpluggableCpu(msgspec.Struct, frozen=True, rename="kebab"):
    """``HotpluggableCPU`` (qapi/machine.json)."""

    type: str
    props: dict[str, int]
    qom_path: str = ""


class PcDimmDeviceInfo(msgspec.Struct, frozen=True):
    """``PCDIMMDeviceInfo`` (qapi/machine.json)."""

    size: int
    slot: int
    node: int
    addr: int
    id: str = ""


class MemoryDeviceInfo(msgspec.Struct, frozen=True):
    """``MemoryDeviceInfo`` (qapi/machine.json); the form of ``data`` depends on the type."""

    type: str
    data: dict[str, Any]


class VirtioMemDeviceInfo(msgspec.Struct, frozen=True, rename="kebab"):
    """``VirtioMEMDeviceInfo`` (qapi/machine.json): ``size`` bytes are plugged, of those that were requested."""

    size: int
    requested_size: int


class BalloonInfo(msgspec.Struct, frozen=True):
    """``BalloonInfo`` (qapi/machine.json), the result of ``query-balloon``: the bytes that the guest has."""

    actual: int


class GuestPanicked(msgspec.Struct, frozen=True):
    """The data of ``GUEST_PANICKED`` (qapi/run-state.json); ``info`` is read by :mod:`harness.history.bug_check`."""

    action: str
    info: dict[str, Any] | None = None


EVENT_DATA: Mapping[str, type[msgspec.Struct]] = {
    "ACPI_DEVICE_OST": AcpiDeviceOst,
    "RESET": ResetEvent,
    "GUEST_PANICKED": GuestPanicked,
    "DEVICE_DELETED": DeviceEvent,
    "DEVICE_UNPLUG_GUEST_ERROR": DeviceEvent,
    "MEM_UNPLUG_ERROR": DeviceEvent,
}
"""The events whose data is read, with the type of the data."""


def read(what: str, answer: object, kind: type[T]) -> T:
    """Return ``answer`` as ``kind``. Raises InfrastructureError that names ``what`` violates the schema, and where."""
    try:
        return msgspec.convert(answer, kind)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise InfrastructureError(
            f"{what} is not what QEMU's schema promises: {error}",
            hint="This QEMU, or what stands between it and the harness, is not one that the harness can read.",
        ) from error


def read_event(message: Mapping[str, Any]) -> EventMessage:
    """Return an event, with the data that is read checked against its schema. Raises InfrastructureError."""
    event = read(f"an event ({str(message.get('event'))[:40]!r})", message, EventMessage)
    kind = EVENT_DATA.get(event.event)
    if kind is not None:
        read(f"the event {event.event}", event.data, kind)
    return event
