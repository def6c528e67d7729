# SPDX-License-Identifier: MIT
"""harness gc after real runs were killed: with QEMU, with libvirt here, and with libvirt on another host."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from private_libvirtd import PrivateLibvirtd

from harness.deadline import Deadline
from harness.host.lease import Leases
from harness.host.registry import Registry
from harness.lab.inventory import listed
from harness.lab.leftover import leftovers
from harness.machine.orphan import FAR_DIRECTORY
from tests.machine.libvirt.test_remote_host import sshd, uri_of
from tests.transport.servers import SshServer

__all__ = ["sshd"]

HARNESS = """
import os, sys
from pathlib import Path
from harness.deadline import Deadline
from harness.history.writer import HistoryWriter
from harness.host import qemu_build
from harness.machine.backend import make_machine
from harness.machine.machine import MachineSpec

backend, uri, place = sys.argv[1], sys.argv[2], Path(sys.argv[3])
spec = MachineSpec(accelerator="tcg", qemu=qemu_build.find_program(), memory=128 << 20)
machine = make_machine(backend, spec, place / "run", HistoryWriter(place / "h.jsonl"), name="vm", connect=uri)
machine.start(Deadline(120, "start"))
print(flush=True)
sys.stdin.read()
"""


def killed(backend: str, uri: str, host: Path) -> None:
    """Have a process start a machine, and kill it."""
    command = [sys.executable, "-c", HARNESS, backend, uri, str(host)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as harness:
        assert harness.stdout is not None
        harness.stdout.readline()
        (one,) = listed(Registry())
        assert "running" == one.state
        harness.send_signal(signal.SIGKILL)


def removed(host: Path) -> None:
    """Remove what is left, after which nothing is."""
    for each in leftovers(Registry(), Leases(), host / "cache"):
        each.remove()
    assert [] == Registry().entries() == leftovers(Registry(), Leases(), host / "cache")


@pytest.mark.qemu
def test_direct(host: Path) -> None:
    """QEMU goes with its harness; the entry and the sockets are for gc."""
    killed("qemu", "", host)
    (entry,) = Registry().entries()
    assert Path(entry.runtime).is_dir()
    removed(host)
    assert not Path(entry.runtime).exists()
    assert [] == entry.processes()


@pytest.mark.libvirt
def test_a_domain_that_nobody_owns(host: Path, private_libvirtd: PrivateLibvirtd) -> None:
    """A domain whose harness died while libvirtd was down goes on, libvirtd finds it again, and gc has it destroyed."""
    command = [sys.executable, "-c", HARNESS, "libvirt", private_libvirtd.uri, str(host)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as harness:
        assert harness.stdout is not None
        harness.stdout.readline()
        private_libvirtd.kill()
        harness.kill()
    (entry,) = Registry().entries()
    assert entry.qemu is not None
    assert entry.qemu.alive()
    private_libvirtd.start()
    assert "orphaned" == listed(Registry())[0].state
    removed(host)
    assert [] == private_libvirtd.domains()
    assert not entry.qemu.alive()


@pytest.mark.libvirt
def test_a_domain_while_libvirtd_is_down(host: Path, private_libvirtd: PrivateLibvirtd) -> None:
    """Without libvirtd QEMU is ended by its process; libvirtd knows nothing of it when it is back."""
    command = [sys.executable, "-c", HARNESS, "libvirt", private_libvirtd.uri, str(host)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as harness:
        assert harness.stdout is not None
        harness.stdout.readline()
        private_libvirtd.kill()
        harness.kill()
    try:
        removed(host)
    finally:
        private_libvirtd.start()
    Deadline(30, "libvirtd looks").poll(lambda: private_libvirtd.domains() == [])


@pytest.mark.libvirt
@pytest.mark.remote
def test_on_another_host(host: Path, private_libvirtd: PrivateLibvirtd, sshd: SshServer) -> None:
    """There a domain goes on without its harness, by design: gc destroys it and removes its directory there."""
    killed("libvirt", uri_of(sshd, private_libvirtd), host)
    (entry,) = Registry().entries()
    assert [entry.domain] == private_libvirtd.domains()
    (there,) = set(FAR_DIRECTORY.findall(" ".join(entry.command)))
    assert Path(there).is_dir()
    assert "orphaned" == listed(Registry())[0].state
    removed(host)
    assert [] == private_libvirtd.domains()
    assert not Path(there).exists()
