# SPDX-License-Identifier: MIT
"""Selects the accelerator: KVM if a guest really runs under it, TCG otherwise.

``/dev/kvm`` may exist, open and even create a machine and yet hang every guest, with incomplete nested virtualisation.
So only a running guest is proof: the image is booted under KVM until its agent sends ``! ready`` on the
control socket, which needs its processors, timers and interrupts. The answer is kept until QEMU, the
host's kernel, its boot, ``/dev/kvm`` or the image changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import socket
import tempfile
import time
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError
from harness.history.writer import HistoryWriter
from harness.host import kvm_probe
from harness.host.kvm_probe import KVM
from harness.host.qemu_build import find_qemu
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine
from harness.program import printed_last

PATIENCE = 8.0
"""Seconds in which a guest must be ready under KVM; it takes about one."""

SILENCE = 3.0
"""Seconds without a byte from the guest after which it counts as hung. A boot under KVM is never silent for so long."""

PROOF = b"! ready"
"""The beginning of the line by which the guest's agent reports that it accepts commands."""

LONGEST_TALK = 1 << 16
"""Bytes of the control channel that are read before the probe gives up on a guest that sends other data."""


class BootImage(Protocol):
    """The image that the probe boots; the twin's image is one."""

    @property
    def kernel(self) -> Path: ...  # noqa: D102
    @property
    def initrd(self) -> Path | None: ...  # noqa: D102
    @property
    def append(self) -> str: ...  # noqa: D102


class AcceleratorChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The accelerator to use, and the reason as text for the report."""

    name: Literal["kvm", "tcg"]
    reason: str


def choose(
    requested: Literal["auto", "kvm", "tcg"], qemu: Path, image: BootImage, cache: Path, deadline: Deadline
) -> AcceleratorChoice:
    """Return the accelerator for guests of ``image``; probe results are kept in ``cache``/accelerator.json.

    Raises InfrastructureError if KVM was requested and no guest runs under it, MissingPart without a usable QEMU.
    """
    if requested == "tcg":
        return AcceleratorChoice(name="tcg", reason="requested")
    works, reason = kvm_works(qemu, image, cache, deadline)
    if works:
        return AcceleratorChoice(name="kvm", reason=reason)
    if requested == "kvm":
        raise InfrastructureError(
            f"KVM was requested but cannot be used: {reason}", hint="Use --accel tcg, or --accel auto."
        )
    return AcceleratorChoice(name="tcg", reason=f"KVM cannot be used: {reason}")


def kvm_works(qemu: Path, image: BootImage, cache: Path, deadline: Deadline) -> tuple[bool, str]:
    """Return whether a guest runs under KVM, and the reason. The cache is asked before a guest is booted."""
    if not KVM.exists():
        return False, f"there is no {KVM}"
    if not os.access(KVM, os.R_OK | os.W_OK):
        return False, f"no permission to open {KVM} (join the group kvm)"
    key = _key(qemu, image, deadline)
    kept = kvm_probe.last(cache)
    if kept is not None and kept.key == key:
        return kept.works, f"{kept.reason} (probed before)"
    works, reason = _probe(qemu, image, deadline)
    kvm_probe.keep(kvm_probe.KvmProbe(key=key, works=works, reason=reason), cache)
    return works, reason


def _key(qemu: Path, image: BootImage, deadline: Deadline) -> str:
    found = find_qemu(qemu, deadline)
    kvm = KVM.stat()
    facts: list[object] = [
        found.text, platform.release(), Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip(),
        kvm.st_dev, kvm.st_ino, kvm.st_rdev, kvm.st_ctime_ns, os.geteuid(), image.append, PATIENCE,
    ]  # fmt: skip
    for file in (found.path.resolve(), image.kernel, image.initrd):
        if file is not None:
            with contextlib.suppress(OSError):
                stat = file.stat()
                facts += [str(file), stat.st_size, stat.st_mtime_ns]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _probe(qemu: Path, image: BootImage, deadline: Deadline) -> tuple[bool, str]:
    """Boot ``image`` under KVM. A failure is an answer, not an error."""
    limit = deadline.within(PATIENCE, "probe KVM")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kvm-probe-") as place:
        spec = MachineSpec(
            accelerator="kvm", qemu=qemu, kernel=image.kernel, initrd=image.initrd, append=image.append
        )
        directory = Path(place)
        try:
            with (
                HistoryWriter(directory) as writer,
                QemuMachine(spec, directory, writer, name="kvm-probe") as machine,
            ):
                machine.start(limit)
                obstacle = _obstacle(machine, limit)
        except HarnessError as error:
            return False, error.message
    took = time.monotonic() - began
    if obstacle:
        return False, f"{KVM} opens, but a guest is not ready under it after {took:.1f} s: {obstacle}"
    return True, f"a guest was ready {took:.1f} s after its start under KVM"


def _obstacle(machine: QemuMachine, deadline: Deadline) -> str:
    """Let the guest run and listen on its control channel. Return why the proof did not come, "" if it did."""
    heard, printed = b"", -1
    quiet = deadline.within(SILENCE, deadline.what)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.settimeout(0.1)
        control.connect(str(machine.control))
        machine.resume(deadline)
        while not quiet.expired:
            machine.check_alive()
            if (now := machine.console.stat().st_size) != printed:
                printed, quiet = now, deadline.within(SILENCE, deadline.what)
            try:
                piece = control.recv(4096)
            except TimeoutError:
                continue
            if not piece:
                # QEMU closed the channel: it is about to be gone.
                deadline.poll(lambda: not machine.alive())
                machine.check_alive()
            heard += piece
            quiet = deadline.within(SILENCE, deadline.what)
            if any(line.startswith(PROOF) for line in heard.splitlines()):
                return ""
            if len(heard) >= LONGEST_TALK:
                return f"it sent much on its control channel, but never {PROOF.decode()!r}"
    return _last_line(machine.console)


def _last_line(console: Path) -> str:
    """Return the last line that the guest printed, safe for any terminal."""
    lines = [line for line in printed_last(console, 4096).splitlines() if line.strip()]
    if not lines:
        return "it did not print a byte"
    text = "".join(sign if " " <= sign <= "~" else "?" for sign in lines[-1])
    return f"it stopped after printing {text[:80]!r}"
