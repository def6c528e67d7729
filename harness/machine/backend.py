# SPDX-License-Identifier: MIT
"""Backends: the ways to run a machine, by name."""

from __future__ import annotations

from pathlib import Path

from harness.history.writer import HistoryWriter
from harness.machine.accelerator import AcceleratorChoice
from harness.machine.machine import Machine, MachineSpec
from harness.machine.qemu.machine import QemuMachine

BACKENDS = {"qemu": 30.0, "libvirt": 180.0}
"""The seconds that a start may take with each. libvirt asks a QEMU that is new to it for all its capabilities."""


def choose_there(requested: str) -> AcceleratorChoice:
    """Return the accelerator for guests on another host, where it is unknown whether KVM works."""
    if requested == "auto":
        return AcceleratorChoice(
            name="tcg", reason="KVM of another host is not tried; say --accel kvm if it works there"
        )
    return AcceleratorChoice(name="kvm" if requested == "kvm" else "tcg", reason="requested")


def check_backend(backend: str) -> None:
    """Raise MissingPart if this backend's library is not installed, before anything is built or fetched for it."""
    if backend == "libvirt":
        from harness.machine.libvirt.connection import load

        load()


def make_machine(
    backend: str,
    spec: MachineSpec,
    directory: Path,
    writer: HistoryWriter,
    *,
    name: str,
    connect: str = "",
    channel_limit: int = 0,
) -> Machine:
    """Return a machine, not yet started. ``connect`` is libvirt's URI, "" for its own choice. Raises MissingPart.

    ``channel_limit`` is how many bytes of the guest's output on one channel are kept, 0 if it is not cut.
    """
    if backend == "libvirt":
        # A user of QEMU alone needs no libvirt.
        from harness.machine.libvirt.machine import LibvirtMachine

        return LibvirtMachine(
            spec, directory, writer, name=name, connect=connect, channel_limit=channel_limit
        )
    return QemuMachine(spec, directory, writer, name=name, channel_limit=channel_limit)
