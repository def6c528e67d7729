# SPDX-License-Identifier: MIT
"""The files of a machine on another host, sent there: kernel, firmware and its variables, disks and media.

A disk's backing image that never changes is sent once and stays on the other host. Only the overlay is sent each time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.host.budget import size_text
from harness.machine.attachments import Cdrom, Disk, Flash
from harness.machine.disk_image import rebase
from harness.machine.libvirt.remote_host import RemoteHost
from harness.machine.machine import MachineSpec

SENDING = 3600.0
"""Seconds that the files of one machine may take. A template's disk has some ten gigabytes."""


def send_files(
    spec: MachineSpec, remote: RemoteHost, work: Path, deadline: Deadline, say: Callable[[str], None]
) -> MachineSpec:
    """Return the machine with its files on the other host. ``work`` is a local directory. ``say`` reports long transfers.

    Raises InfrastructureError with the words of ssh or qemu-img.
    """
    named = {name: getattr(spec, name) for name in ("kernel", "initrd", "firmware")}
    sent = {name: remote.send(file, name, deadline) for name, file in named.items() if file is not None}
    return msgspec.structs.replace(
        spec,
        **sent,
        flash=_flash(spec.flash, remote, deadline) if spec.flash is not None else None,
        disks=tuple(_disk(disk, remote, work, deadline, say) for disk in spec.disks),
        cdroms=tuple(_medium(cdrom, remote, deadline) for cdrom in spec.cdroms),
    )


def _flash(flash: Flash, remote: RemoteHost, deadline: Deadline) -> Flash:
    return msgspec.structs.replace(
        flash,
        code=remote.send(flash.code, "firmware-code", deadline),
        variables=remote.send(flash.variables, "firmware-variables", deadline),
    )


def _medium(cdrom: Cdrom, remote: RemoteHost, deadline: Deadline) -> Cdrom:
    if cdrom.file is None:
        return cdrom
    return msgspec.structs.replace(cdrom, file=remote.send(cdrom.file, cdrom.node, deadline))


def _disk(disk: Disk, remote: RemoteHost, work: Path, deadline: Deadline, say: Callable[[str], None]) -> Disk:
    name = f"{disk.node}.{disk.format}"
    if disk.below is None:
        return msgspec.structs.replace(disk, file=remote.send(disk.file, name, deadline))

    def sending(size: int) -> None:
        say(f"sending {size_text(size)} of {disk.below} there, once")

    below = remote.keep(disk.below, disk.content, deadline, sending)
    overlay = work / f"sent-{name}"
    try:
        # Nothing has been written to it yet, so it is small.
        shutil.copyfile(disk.file, overlay)
        rebase(overlay, below, deadline)
        there = remote.send(overlay, name, deadline)
    except OSError as error:
        raise InfrastructureError(f"cannot copy {disk.file} to {overlay}: {error.strerror}") from error
    finally:
        overlay.unlink(missing_ok=True)
    return msgspec.structs.replace(disk, file=there)
