# SPDX-License-Identifier: MIT
"""The orphan: a machine whose harness is dead. Its registry entry is enough to end it and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import stat
import tempfile
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.host.registry import MachineEntry, ProcessName, Registry
from harness.invocation import invocation
from harness.machine.libvirt.connection import bounded, is_remote, load, words
from harness.machine.libvirt.remote_host import ssh_words
from harness.program import readable, run_program

TERM_GRACE = 3.0
KILL_GRACE = 10.0
"""Seconds for QEMU to end by itself, and for the kernel to end it."""

LIBVIRT_GRACE = 30.0
"""Seconds for libvirt to destroy a domain: it waits ten itself (libvirt: virDomainDestroy)."""

FAR_DIRECTORY = re.compile(r"/tmp/hotplug-[A-Za-z0-9]{12}(?=/)")  # noqa: S108  on another host
PROBE = "kvm-probe-"
"""The prefix of the directory that the probe of KVM makes for its guest."""


def end_orphan(registry: Registry, entry: MachineEntry) -> None:
    """End what is left of the machine, remove its runtime directory and its overlays, and forget it.

    Raises InfrastructureError, and forgets nothing, if its harness is alive, if QEMU does not end, or if it is on a host
    that does not answer.
    """
    if entry.harness.alive():
        raise InfrastructureError(
            f"machine {entry.name!r} belongs to process {entry.harness.pid}, which is alive",
            hint="End that process; it ends its machine.",
        )
    here = ProcessName.of(os.getpid())
    same_boot = here is not None and here.boot == entry.harness.boot
    if entry.domain and (same_boot or is_remote(entry.uri)):
        _end_domain(entry)
    for process in entry.processes():
        end_process(process)
    if entry.domain and is_remote(entry.uri):
        _tidy_remote_host(entry)
    directory = Path(entry.directory)
    if directory.name.startswith(PROBE) and directory.parent == Path(tempfile.gettempdir()):
        shutil.rmtree(directory, ignore_errors=True)
    for overlay in overlays(entry):
        with contextlib.suppress(OSError):
            overlay.unlink()
    registry.remove(entry)


def overlays(entry: MachineEntry) -> list[Path]:
    """Return the machine's own disks in its run directory, which are useless without their backing files."""
    with contextlib.suppress(OSError):
        return [
            path
            for path in sorted(Path(entry.directory).glob("*.qcow2"))
            if stat.S_ISREG(path.lstat().st_mode) and path.lstat().st_uid == os.geteuid()
        ]
    return []


def end_process(process: ProcessName) -> None:
    """End exactly this process, by SIGTERM, then SIGKILL. Raises InfrastructureError if it does not end.

    The signals go to a descriptor of the process: a process that gets the same number meanwhile is not hit.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        for number, grace in ((signal.SIGTERM, TERM_GRACE), (signal.SIGKILL, KILL_GRACE)):
            if not process.alive():
                return
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            # Readable once it has ended, a zombie included (pidfd_open(2)).
            if readable(descriptor, grace):
                return
    except PermissionError as error:
        raise InfrastructureError(
            f"process {process.pid} cannot be ended: {error.strerror}",
            hint="libvirt runs it as another user; ask libvirt: virsh list",
        ) from error
    finally:
        os.close(descriptor)
    raise InfrastructureError(
        f"process {process.pid} does not end, not even by SIGKILL", hint="It hangs in the kernel: see dmesg."
    )


def _end_domain(entry: MachineEntry) -> None:
    """Make libvirt destroy the domain, and undefine it if another program made it persistent."""
    libvirt = load()

    def end() -> None:
        connection = libvirt.open(entry.uri)
        try:
            domain = connection.lookupByUUIDString(entry.domain)
            if domain.isActive():
                domain.destroy()
            with contextlib.suppress(libvirt.libvirtError):
                if domain.isPersistent():
                    domain.undefine()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
        finally:
            connection.close()

    why = f"no answer within {LIBVIRT_GRACE:g} s"
    try:
        bounded(end, Deadline(LIBVIRT_GRACE, "destroy"))
    except TimeoutError:
        pass
    except libvirt.libvirtError as error:
        why = words(error)
    else:
        return
    # A libvirtd that is not running forgets a transient domain once its QEMU, which is on this host, has ended.
    if entry.qemu is None:
        raise InfrastructureError(
            f"domain {entry.domain} at {entry.uri} may still be there: {why}",
            hint=f"It stays in the registry. When libvirt answers: {invocation('gc')}",
        )


def _tidy_remote_host(entry: MachineEntry) -> None:
    """Remove the machine's directory on its host, as far as it is known."""
    known = " ".join(entry.command)
    with contextlib.suppress(OSError):
        known += (Path(entry.directory) / "domain.xml").read_text("utf-8", "replace")
    command, host = ssh_words(entry.uri)
    for directory in sorted(set(FAR_DIRECTORY.findall(known))):
        try:
            ended = run_program(
                [*command, host, f"rm -rf {shlex.quote(directory)}"], Deadline(LIBVIRT_GRACE, "tidy up there")
            )
            why = ended.failure() if ended.status else ""
        except InfrastructureError as error:
            why = error.message
        if why:
            raise InfrastructureError(
                f"{directory} on {host} may still be there: {why}",
                hint=f"It stays in the registry. When that host answers: {invocation('gc')}",
            )
