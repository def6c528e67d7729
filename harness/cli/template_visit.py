# SPDX-License-Identifier: MIT
"""The visit that ``harness template verify`` pays to a template: boot an overlay, get in as a run does, ask, end it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Literal

from harness.deadline import Deadline
from harness.errors import GuestRefused, HarnessError
from harness.guest.windows.guest import WindowsGuest
from harness.guest.windows.image import WindowsImage, image_of
from harness.guest.windows.ways import Ways, ways_into
from harness.history.record import Stage
from harness.history.tape import Listener, Tape
from harness.machine.firmware import find_ovmf
from harness.machine.overlay import make_overlay
from harness.machine.qemu import QemuMachine
from harness.machine.version import Qemu
from harness.template import promise
from harness.template.promise import Finding
from harness.template.store import Built

START = 60.0
ASK = 300.0
"""Seconds to start QEMU, and for one answer of a Windows that is up."""


def visit(
    built: Built, qemu: Qemu, accelerator: Literal["kvm", "tcg"], listener: Listener, deadline: Deadline
) -> list[Finding]:
    """Return what was found; ``deadline`` is for the boot. Nothing of the visit is kept.

    Raises GuestHang with the stage that the boot reached, MachineFailed, InfrastructureError if another guest answers.
    """
    template = built.template()
    image = image_of(built, template)
    with tempfile.TemporaryDirectory(prefix="verify-") as place:
        folder = Path(place)
        disk, variables = folder / "disk.qcow2", folder / "variables.fd"
        make_overlay(disk, image.base, deadline)
        shutil.copyfile(image.variables, variables)
        variables.chmod(0o600)
        spec = template.machine_spec(
            accelerator=accelerator, qemu=qemu.path, firmware=find_ovmf(), variables=variables, disk=disk
        )
        with Tape(folder / "history.jsonl") as tape:
            tape.subscribe(listener)
            with QemuMachine(spec, folder, tape, name=f"verify-{template.name}") as machine:
                machine.start(Deadline(START, "start QEMU"))
                ways = ways_into(machine, image, Deadline(START, "ask which ports lead to the guest"))
                guest = WindowsGuest(machine, tape, image, ways, directory=folder)
                try:
                    tape.write(Stage(name="boot", phase="begin"))
                    machine.resume(Deadline(START, "let the guest run"))
                    guest.wait_ready(deadline)
                    tape.write(Stage(name="boot", phase="end"))
                    return [*reached(image, ways), *ask(built, ways)]
                finally:
                    guest.close()


def reached(image: WindowsImage, ways: Ways) -> list[Finding]:
    """Return findings on the ways in. A guest that is ready has proved its certificate: WinRM refuses any other."""
    findings = [
        Finding(
            name="certificate",
            says="WinRM answers over HTTPS with the certificate that the build told, to the template's password",
            kept=True,
            seen=f"sha256 {image.certificate.sha256}",
        )
    ]
    if ways.ssh is None:
        return findings
    try:
        ways.ssh.run("echo ready", Deadline(ASK, "ask whether SSH answers"), idempotent=True)
        kept, seen = True, "it answers"
    except HarnessError as error:
        kept, seen = False, error.message
    says = "SSH answers with the host key that the build told, to the template's key"
    return [*findings, Finding(name="SSH", says=says, kept=kept, seen=seen)]


def ask(built: Built, ways: Ways) -> list[Finding]:
    """Return findings on the inside of the guest."""
    outcome = ways.commands.script(
        promise.script(), Deadline(ASK, "ask for what the template promises"), idempotent=True
    )
    if outcome.exit_code != 0:
        raise GuestRefused(
            f"the script that asks for the promises ended with {outcome.exit_code}: {outcome.stderr.strip()[:400]}",
            hint="vm_templates/windows-common/verify/promises.ps1 is the script.",
        )
    return promise.judge(promise.decode(outcome.stdout), built.manifest, built.template())
