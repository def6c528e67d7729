# SPDX-License-Identifier: MIT
"""The check of ``harness template verify``: boot an overlay, log in as a run does, query the guest, end
it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from harness.capture.live.bounds import kept_small
from harness.deadline import Deadline
from harness.errors import HarnessError
from harness.guest.windows.adoption import ask_promises
from harness.guest.windows.guest import WindowsGuest
from harness.guest.windows.guest_type import own_drives
from harness.guest.windows.image import WindowsImage, image_of
from harness.guest.windows.transports import GuestTransports, transports_into
from harness.history.record import Stage
from harness.history.writer import HistoryWriter, Listener
from harness.host.firmware import find_ovmf
from harness.host.lease import take_lease
from harness.host.qemu_build import QemuBuild
from harness.machine.qemu.machine import QemuMachine
from harness.template import promise
from harness.template.clock import clock_start
from harness.template.promise import PromiseFinding
from harness.template.store import DISK, VARIABLES, BuiltTemplate

START = 60.0
ASK = 300.0
"""Seconds for starting QEMU, and for one answer of a running Windows."""


def visit(
    built: BuiltTemplate,
    qemu: QemuBuild,
    accelerator: Literal["kvm", "tcg"],
    listener: Listener,
    deadline: Deadline,
) -> list[PromiseFinding]:
    """Return the findings; ``deadline`` is for the boot. The guest's disk writes are discarded.

    Raises GuestHang with the stage that the boot reached, MachineFailed, InfrastructureError if another guest answers;
    then QMP, COM1 and screenshots are kept, and the error says where.
    """
    folder = Path(tempfile.mkdtemp(prefix="harness-verify-"))
    evidence = False
    try:
        return _visit(built, qemu, accelerator, listener, deadline, folder)
    except HarnessError as error:
        evidence = True
        error.hint = f"{error.hint}\nEvidence: {folder}".lstrip()
        raise
    finally:
        for file in (folder / DISK, folder / VARIABLES) if evidence else ():
            file.unlink(missing_ok=True)
        if not evidence:
            shutil.rmtree(folder, ignore_errors=True)


def _visit(
    built: BuiltTemplate,
    qemu: QemuBuild,
    accelerator: Literal["kvm", "tcg"],
    listener: Listener,
    deadline: Deadline,
    folder: Path,
) -> list[PromiseFinding]:
    template = built.template()
    image = image_of(built, template)
    disk, variables = own_drives(image, folder, deadline)
    start = clock_start(built.manifest)
    spec = template.machine_spec(
        accelerator=accelerator,
        qemu=qemu.path,
        firmware=find_ovmf(),
        variables=variables,
        disk=disk,
        clock=start.clock,
    )
    with HistoryWriter(folder) as writer:
        writer.subscribe(listener)

        def say(text: str) -> None:
            writer.write(Stage(name="lease", phase="note", detail=text))

        with (
            contextlib.ExitStack() as stack,
            take_lease(spec.resource_request(), folder, what="the visit", say=say),
            QemuMachine(spec, folder, writer, name=f"verify-{template.name}") as machine,
        ):
            machine.start(Deadline(START, "start QEMU"))
            stack.enter_context(kept_small(machine.console, machine.debugcon, machine.log))
            transports = transports_into(machine, image, Deadline(START, "ask which ports lead to the guest"))
            guest = WindowsGuest(machine, writer, image, transports, directory=folder)
            try:
                writer.write(Stage(name="boot", phase="begin"))
                machine.resume(Deadline(START, "let the guest run"))
                # Waiting for the lease does not count as boot time.
                guest.wait_ready(Deadline(deadline.seconds, deadline.what))
                writer.write(Stage(name="boot", phase="end"))
                return [*reached(image, transports), *on_time(guest), *ask(built, transports)]
            except HarnessError as error:
                writer.write(Stage(name="boot", phase="fail", detail=error.message))
                raise
            finally:
                guest.close()


def reached(image: WindowsImage, transports: GuestTransports) -> list[PromiseFinding]:
    """Return findings on the transports. WinRM accepts only the pinned certificate, so a ready guest has proved it."""
    findings = [
        PromiseFinding(
            name=promise.WINRM[0],
            says=promise.WINRM[1],
            kept=True,
            seen=f"sha256 {image.certificate.sha256}",
        )
    ]
    if transports.ssh is None:
        return findings
    try:
        transports.ssh.run("echo ready", Deadline(ASK, "ask whether SSH answers"), idempotent=True)
        kept, seen = True, "it answers"
    except HarnessError as error:
        kept, seen = False, error.message
    name, says = promise.SSH
    return [*findings, PromiseFinding(name=name, says=says, kept=kept, seen=seen)]


def on_time(guest: WindowsGuest) -> list[PromiseFinding]:
    """Return a finding on the guest's clock."""
    check = guest.clock
    if check is None:
        return []
    says = "its clock is the machine's, which begins at the template's last shutdown, in UTC"
    return [PromiseFinding(name="clock", says=says, kept=check.state == "ok", seen=check.found)]


def ask(built: BuiltTemplate, transports: GuestTransports) -> list[PromiseFinding]:
    """Return findings on the inside of the guest."""
    return promise.judge(ask_promises(transports.commands), built.manifest, built.template())
