# SPDX-License-Identifier: MIT
"""Events of a domain: QEMU's events, and the end of the domain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from harness.machine.libvirt.connection import LibvirtLink, load

QEMU_DIED = "QEMU died"

_ENDS = {1: "its domain was destroyed by another program"}
"""The cause of a domain's end, by the detail of its event (libvirt: virDomainEventStoppedDetailType)."""


def follow(
    link: LibvirtLink, uuid: str, told: Callable[[dict[str, Any]], None], ended: Callable[[str], None]
) -> None:
    """Look the domain up on ``link``, and report its events in the form of QMP, and its end.

    Both functions are called on libvirt's event thread. A domain that is already gone has ended. Raises libvirtError.
    """
    libvirt = load()
    import libvirt_qemu

    connection = link.connection
    try:
        link.domain = connection.lookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        ended("its domain is gone")
        return

    def happened(
        _connection: Any,
        _domain: Any,
        name: str,
        seconds: int,
        micros: int,
        details: str | None,
        _opaque: Any,
    ) -> None:
        stamp = {"seconds": seconds, "microseconds": micros}
        told({"event": name, "data": msgspec.json.decode(details or "{}"), "timestamp": stamp})

    def lived(_connection: Any, _domain: Any, event: int, detail: int, _opaque: Any) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
            ended(_ENDS.get(detail, QEMU_DIED))

    told_id = libvirt_qemu.qemuMonitorEventRegister(connection, link.domain, None, happened, None, 0)
    link.leave.append(lambda: libvirt_qemu.qemuMonitorEventDeregister(connection, told_id))
    kind = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
    lived_id = connection.domainEventRegisterAny(link.domain, kind, lived, None)
    link.leave.append(lambda: connection.domainEventDeregisterAny(lived_id))
    if not link.domain.isActive():
        ended(QEMU_DIED)
