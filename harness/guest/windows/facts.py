# SPDX-License-Identifier: MIT
"""The facts of a Windows guest that decide whether it accepts added hardware: decoded strictly, judged elsewhere."""

from __future__ import annotations

import struct
from typing import Annotated

import msgspec

from harness.guest.windows.answer import Number, ReplyText

Some = msgspec.Meta(max_length=4096)


class PnpDevice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device of Win32_PnPEntity: its driver's service, "" if it has none; ``problem`` 0 if it works."""

    device: ReplyText
    name: ReplyText
    service: ReplyText
    problem: int


class NetworkAdapter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """DHCP's answer to an adapter (Win32_NetworkAdapterConfiguration): ``dhcp`` is the server, "" without one."""

    dhcp: ReplyText
    addresses: Annotated[list[ReplyText], Some]
    gateways: Annotated[list[ReplyText], Some]
    dns: Annotated[list[ReplyText], Some]


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The facts that ``preflight.ps1`` gathers.

    ``product_type`` and ``sku`` are those of Win32_OperatingSystem (1 is a client; 2 and 3 are servers). ``vbs`` is
    VirtualizationBasedSecurityStatus of Win32_DeviceGuard (0 off, 1 configured, 2 running, -1 if the class does not exist).
    ``start_options`` are those that the boot loader gave the kernel (SystemStartOptions). ``license`` is LicenseStatus of
    SoftwareLicensingProduct (1 licensed), with the minutes left; -1 for none. ``containers`` are the processor containers,
    ACPI0010. ``processors`` are the processors. ``memory_devices`` are the DIMMs, boot-time or added (PNP0C80). ``virtio`` are
    the devices of that maker. ``drivers`` are the running services. ``networks`` are the networks' categories (Get-NetConnectionProfile). ``adapters`` are the answers of DHCP.
    """

    caption: ReplyText
    build: ReplyText
    product_type: int
    sku: int
    sockets: Number
    hypervisor_present: bool
    vbs: int
    security_services: Annotated[list[int], Some]
    start_options: ReplyText
    secure_boot: int
    auto_reboot: int
    license: int
    grace_minutes: int
    containers: Annotated[list[PnpDevice], Some]
    processors: Annotated[list[PnpDevice], Some]
    memory_devices: Annotated[list[PnpDevice], Some]
    virtio: Annotated[list[PnpDevice], Some]
    drivers: Annotated[list[ReplyText], Some]
    networks: Annotated[list[ReplyText], Some]
    adapters: Annotated[list[NetworkAdapter], Some]

    @property
    def group_options(self) -> str:
        """The start options that make groups of fewer than 64 processors, "" for none (WD: devtest/bcdedit--set.md)."""
        words = self.start_options.lower().split()
        return " ".join(word for word in words if word.startswith(("groupsize=", "maxgroup")))[:60]


class MemoryRange(msgspec.Struct, frozen=True, kw_only=True):
    """A memory range of the firmware's table: its node, its base, its bytes; ``hot`` if it is for hot-added memory."""

    node: int
    base: int
    size: int
    hot: bool


SRAT_HEADER = 48
MEMORY_AFFINITY = 1
MEMORY_AFFINITY_SIZE = 40
ENABLED, HOT_PLUGGABLE = 1, 2


def srat_memory(table: bytes) -> list[MemoryRange] | None:
    """Return the memory ranges of an SRAT (ACPI 6.5, 5.2.16), None if the bytes are not an SRAT."""
    if (
        len(table) < SRAT_HEADER
        or table[:4] != b"SRAT"
        or struct.unpack_from("<I", table, 4)[0] != len(table)
    ):
        return None
    found = []
    at = SRAT_HEADER
    while at + 2 <= len(table):
        kind, size = table[at], table[at + 1]
        if size < 2 or at + size > len(table):
            return None
        if kind == MEMORY_AFFINITY and size >= MEMORY_AFFINITY_SIZE:
            node, base, length, flags = struct.unpack_from("<I2xQQ4xI", table, at + 2)
            if flags & ENABLED:
                found.append(MemoryRange(node=node, base=base, size=length, hot=bool(flags & HOT_PLUGGABLE)))
        at += size
    return found
