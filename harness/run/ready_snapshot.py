# SPDX-License-Identifier: MIT
"""The ready snapshot of a guest: created once by booting it, so that later runs start where the boot
ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.capture.live.bounds import kept_small
from harness.deadline import Deadline
from harness.errors import GuestHang, InfrastructureError
from harness.guest.bootable import GuestOptions, GuestType, OutsideSigns
from harness.history.record import GuestEvent, Record
from harness.history.writer import HistoryWriter
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine
from harness.machine.snapshot import MEMORY, MachineSnapshot, SnapshotStore, digest_of, disk_name

SAVE = 300.0
"""Seconds that saving may take in addition to the boot: the memory of a large guest must be written."""


def ready_snapshot(
    guest_type: GuestType,
    options: GuestOptions,
    spec: MachineSpec,
    *,
    image: str,
    saved_with: str,
    qemu: str,
    boot: float,
    say: Callable[[str], None],
) -> MachineSnapshot:
    """Return the snapshot of a ready guest without a driver; boot the guest if there is none.

    ``spec`` is the machine it boots on, with its accelerator; ``image``, ``saved_with`` and ``qemu`` identify
    its image, what was put into it and its QEMU; ``boot`` is its boot timeout in seconds.
    """
    # On Windows the size of groups is a boot option, which is not part of the machine.
    groups = f" groups of {options.group_size}" if options.group_size else ""
    brought = f" with {saved_with}" if saved_with else ""
    digest = digest_of(spec, image + groups + brought, qemu)

    def make(work: Path) -> MachineSnapshot:
        say("booting once, to save the ready snapshot")
        own = msgspec.structs.replace(options, directory=work)
        try:
            return _save(guest_type, own, spec, image, digest, boot, say)
        except GuestHang as error:
            # # There is no verdict yet, and an emulated guest on a busy host may hang in its boot because of
            # the host.
            say(f"it did not come up: {error.message}; once more")
            for left in list(work.iterdir()):
                left.rename(work / f"first-{left.name}")
            return _save(guest_type, own, spec, image, digest, boot, say)

    return SnapshotStore(options.cache).provide(
        digest, make, Deadline(2 * (boot + SAVE), "save the ready snapshot"), say
    )


def _save(
    guest_type: GuestType,
    options: GuestOptions,
    spec: MachineSpec,
    image: str,
    digest: str,
    boot: float,
    say: Callable[[str], None],
) -> MachineSnapshot:
    """Boot the guest in the snapshot's directory, on disks in that directory, and save it."""
    work = options.directory
    said: list[tuple[str, str]] = []

    def listen(record: Record) -> None:
        if isinstance(record, GuestEvent):
            said.append((record.event, record.detail))

    bootable = guest_type.prepare(options, Deadline(900, "make the image"), say)
    if bootable.digest != image:
        if bootable.release is not None:
            bootable.release()
        raise InfrastructureError(
            "what the guest's image is made from changed before its snapshot was saved", hint="Try again."
        )
    own = msgspec.structs.replace(bootable.spec, accelerator=spec.accelerator)
    if bootable.adapt is not None:
        own = bootable.adapt(own, None)
    with contextlib.ExitStack() as stack:
        if bootable.release is not None:
            stack.callback(bootable.release)
        writer = stack.enter_context(HistoryWriter(work))
        writer.subscribe(listen)
        machine = stack.enter_context(QemuMachine(own, work, writer, name=f"state-{digest[:8]}"))
        machine.start(Deadline(30, "start QEMU"))
        stack.enter_context(kept_small(machine.console, machine.debugcon, machine.log))
        # The driver and its recorders come later.
        guest = guest_type.attach(
            machine, writer, OutsideSigns(), msgspec.structs.replace(options, mapped=None, prints=False)
        )
        stack.callback(guest.close)
        machine.resume(Deadline(30, "let the guest run"))
        guest.wait_ready(Deadline(boot, "boot, to save the ready snapshot"))
        guest.before_save(Deadline(SAVE, "note the moment of the saving"))
        memory, added = machine.save(work / MEMORY, Deadline(SAVE, "save the ready snapshot"))
    keep_disks(own, work)
    return MachineSnapshot(digest=digest, mapped=memory.mapped, added=added, said=said)


def keep_disks(spec: MachineSpec, work: Path) -> None:
    """Put the disks and variables of a saved machine into its snapshot's directory ``work``."""
    for number, disk in enumerate(spec.disks):
        _keep(disk.file, work / disk_name(number, disk))
    if spec.flash is not None:
        _keep(spec.flash.variables, work / "variables.qcow2")


def _keep(file: Path, kept: Path) -> None:
    """Move the snapshot's own disk to its name there; link to a disk in another place."""
    if file.parent == kept.parent:
        file.rename(kept)
    else:
        kept.symlink_to(file)
