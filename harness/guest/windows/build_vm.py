# SPDX-License-Identifier: MIT
"""A Windows guest to build in: booted on a temporary overlay, with a medium in its CD-ROM drive."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from harness.capture.live.bounds import kept_small
from harness.deadline import Deadline
from harness.errors import InfrastructureError, system_errors
from harness.guest.bootable import GuestOptions, GuestType, OutsideSigns
from harness.guest.windows.guest import WindowsGuest
from harness.history.writer import HistoryWriter
from harness.host.lease import take_lease
from harness.host.qemu_build import find_qemu
from harness.machine.accelerator import choose
from harness.machine.attachments import AHCI_PORTS, Cdrom
from harness.machine.backend import BACKENDS, make_machine
from harness.machine.machine import MachineSpec
from harness.transport.link import WireTransport

BACKEND = "qemu"


def with_medium(spec: MachineSpec, medium: Path) -> MachineSpec:
    """Return the machine with ``medium`` in its own drive, on the last port. Nothing boots from it."""
    drive = Cdrom(file=medium.resolve(), port=AHCI_PORTS - 1)
    return msgspec.structs.replace(spec, cdroms=(*spec.cdroms, drive))


@contextlib.contextmanager
def build_vm(
    guest_type: GuestType, medium: Path, cache: Path, deadline: Deadline, progress: Callable[[str], None]
) -> Iterator[WireTransport]:
    """Start the guest with ``medium`` in its drive, yield its transport, and shut it down at the end.

    Raises the errors of preparing, starting and booting. For a template that was not built UsageError names the command.
    """
    qemu = find_qemu("")
    with system_errors(f"cannot make a folder in {cache}"):
        cache.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix="build-vm-", dir=cache))
    with contextlib.ExitStack() as stack:
        # The overlay, and all other files of this boot, go however it ends.
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        options = GuestOptions(
            spec=MachineSpec(accelerator="tcg", qemu=qemu.path), cache=cache, directory=place
        )
        bootable = guest_type.prepare(options, deadline, progress)
        if bootable.release is not None:
            stack.callback(bootable.release)
        spec = with_medium(bootable.spec, medium)
        if bootable.probe is not None:
            choice = choose("auto", qemu.path, bootable.probe, cache, Deadline(60, "probe KVM"))
            progress(f"{choice.name}: {choice.reason}")
            spec = msgspec.structs.replace(spec, accelerator=choice.name)
        if bootable.adapt is not None:
            spec = bootable.adapt(spec, None)
        writer = stack.enter_context(HistoryWriter(place))
        stack.enter_context(take_lease(spec.resource_request(), place, what="the build VM", say=progress))
        machine = make_machine(BACKEND, spec, place, writer, name=place.name)
        stack.callback(machine.close)
        machine.start(Deadline(BACKENDS[BACKEND], "start QEMU"))
        stack.enter_context(kept_small(machine.console, machine.debugcon))
        guest = guest_type.attach(machine, writer, OutsideSigns(), options)
        stack.callback(guest.close)
        if not isinstance(guest, WindowsGuest):
            raise InfrastructureError(f"the guest {guest.label} is not Windows")
        machine.resume(Deadline(30, "let the guest run"))
        progress(f"{bootable.description} boots")
        # The deadline starts again: the wait for the lease does not count.
        guest.wait_ready(Deadline(deadline.seconds, deadline.what))
        yield guest.transports.files
