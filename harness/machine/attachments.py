# SPDX-License-Identifier: MIT
"""The attachments of a guest with its own disk: firmware in flash, disks, CD-ROMs, a network, a clock, a screen.

Each is a value of :class:`harness.machine.machine.MachineSpec` and knows its own QEMU arguments. Windows has drivers for
all these devices on its installation medium: AHCI, NVMe, e1000e and a VGA adapter. None is virtio, whose
drivers would then be under test together with the intended one (virtio-win issues 904 and 195).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import UsageError

SCREEN_SLOT, NETWORK_SLOT, NVME_SLOT = 0x01, 0x10, 0x11
"""Slots on the board's PCI Express bus, the same for every backend: to Windows a device in another slot is another device."""

AHCI_PORTS = 6
"""Ports of the AHCI controller that every q35 machine has (QEMU: hw/i386/pc_q35.c)."""

Format = Literal["qcow2", "raw"]


def option_value(text: object) -> str:
    """Return ``text`` as one value of a QEMU option string: commas doubled.

    QEMU splits option strings at commas (QEMU: docs/system, "Use ,, to specify a comma").
    """
    return str(text).replace(",", ",,")


def _checked_port(port: int) -> None:
    if not 0 <= port < AHCI_PORTS:
        raise UsageError(
            f"AHCI port {port} does not exist", hint=f"A q35 machine has ports 0 to {AHCI_PORTS - 1}."
        )


class Flash(msgspec.Struct, frozen=True, kw_only=True):
    """UEFI firmware: ``code`` is shared and read only; ``variables`` belong to this machine, which writes them.

    With ``variables`` in qcow2 the machine can be saved. QEMU refuses to save raw ones ("Device 'pflash1' is writable
    but does not support snapshots").
    """

    code: Path
    variables: Path
    variables_format: Format = "raw"

    def arguments(self) -> list[str]:
        """Return two flash devices of the board (QEMU: docs/system/i386/pc.rst; -machine pflash0)."""
        return [
            "-blockdev", f"driver=raw,node-name=flash0,read-only=on,file.driver=file,file.filename={option_value(self.code)}",
            "-blockdev",
            f"driver={self.variables_format},node-name=flash1,file.driver=file,file.filename={option_value(self.variables)}",
            "-machine", "pflash0=flash0,pflash1=flash1",
        ]  # fmt: skip


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """A hard disk: on AHCI port ``port``, or an NVMe controller of its own. ``boot`` is its place in the boot order.

    ``below`` is its backing image in qcow2, which never changes. ``content`` is the SHA-256 of that image, None if unknown.
    """

    file: Path
    format: Format = "qcow2"
    bus: Literal["ahci", "nvme"] = "ahci"
    port: int = 0
    boot: int | None = None
    below: Path | None = None
    content: str = ""

    def __post_init__(self) -> None:
        _checked_port(self.port)

    @property
    def node(self) -> str:
        """Name of the block node, as ``snapshot-save`` needs it."""
        return f"disk{self.port}"

    def arguments(self) -> list[str]:
        """Return the disk. What the guest discards is freed, so that overlays stay small."""
        boot = "" if self.boot is None else f",bootindex={self.boot}"
        if self.bus == "ahci":
            device = f"ide-hd,bus=ide.{self.port},drive={self.node},id={self.node}-device,serial={self.node}"
        else:
            device = (
                f"nvme,bus=pcie.0,addr={NVME_SLOT + self.port:#x},drive={self.node},id={self.node}-device"
            )
            device += f",serial={self.node}"
        file = f"file.driver=file,file.discard=unmap,file.filename={option_value(self.file)}"
        return [
            "-blockdev", f"driver={self.format},node-name={self.node},discard=unmap,{file}",
            "-device", f"{device}{boot}",
        ]  # fmt: skip


class Cdrom(msgspec.Struct, frozen=True, kw_only=True):
    """A CD-ROM drive on AHCI port ``port``; ``file`` is the ISO in it, None an empty drive."""

    file: Path | None
    port: int
    boot: int | None = None

    def __post_init__(self) -> None:
        _checked_port(self.port)

    @property
    def node(self) -> str:
        """Name of the block node. ``eject`` and ``blockdev-change-medium`` take the name ``cdromN-device``."""
        return f"cdrom{self.port}"

    def arguments(self) -> list[str]:
        """Return the drive. The medium is read only."""
        boot = "" if self.boot is None else f",bootindex={self.boot}"
        device = f"ide-cd,bus=ide.{self.port},id={self.node}-device"
        if self.file is None:
            return ["-device", f"{device}{boot}"]
        return [
            "-blockdev",
            f"driver=raw,node-name={self.node},read-only=on,file.driver=file,file.filename={option_value(self.file)}",
            "-device", f"{device},drive={self.node}{boot}",
        ]  # fmt: skip


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """A user-mode network without a connection: the guest reaches neither the host nor the internet.

    Only the ports in ``forwards`` are reachable, from this host's loopback, each at a port that the kernel picks.
    :func:`harness.machine.forwards.forwarded_ports` returns them.
    """

    forwards: tuple[int, ...] = ()
    model: Literal["e1000e", "e1000"] = "e1000e"

    def arguments(self) -> list[str]:
        """Return the network. ``restrict=on`` does not affect forwarded ports (QEMU: qemu-options, -netdev user)."""
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:0-:{port}" for port in self.forwards)
        return [
            "-netdev", f"user,id=net0,restrict=on{forwards}",
            "-device", f"{self.model},bus=pcie.0,addr={NETWORK_SLOT:#x},netdev=net0,id=net0-device",
        ]  # fmt: skip


def vga_adapter() -> list[str]:
    """Return a VGA adapter, used only by ``screendump``. UEFI and Windows have a driver for it (QEMU: docs/system/device-url)."""
    return ["-device", f"VGA,bus=pcie.0,addr={SCREEN_SLOT:#x},id=screen"]


class RealTimeClock(msgspec.Struct, frozen=True, kw_only=True):
    """The real-time clock, in UTC. It begins at ``start``, in seconds since the epoch; 0 is the host's time.

    A clock with its own start counts the guest's time. It stands still while the machine is stopped, and a restored guest
    continues at the time at which it was saved (QEMU: qemu-options, ``-rtc clock=vm``).
    """

    start: int = 0

    def arguments(self) -> list[str]:
        """Return the clock. Lost timer ticks are made up for (QEMU: qemu-options, ``-rtc driftfix=slew``)."""
        if not self.start:
            return ["-rtc", "base=utc,driftfix=slew"]
        base = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.start))
        return ["-rtc", f"base={base},clock=vm,driftfix=slew"]


def generation_id(guid: str) -> list[str]:
    """Return vmgenid: informs a Windows guest that it was restored or copied (QEMU: docs/specs/vmgenid.rst).

    ``guid`` keeps the GUID of a guest that continues elsewhere and is not a copy. With "" each start makes a new one.
    """
    return ["-device", f"vmgenid,guid={option_value(guid or 'auto')},id=generation"]
