# SPDX-License-Identifier: MIT
"""A Windows guest through a real libvirtd, here and on another host by a real sshd: its disk boots nothing, a scripted Windows answers."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import pytest
from guest.windows.conftest import ScriptedWindows
from guest.windows.test_guest_type import NAME, Request, driver, request_of, store
from private_libvirtd import PrivateLibvirtd

from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.errors import GuestRefused, InfrastructureError
from harness.guest.windows import guest_type as guest_type_module
from harness.guest.windows.crash_collection import CrashCollection
from harness.guest.windows.image import WindowsImage
from harness.guest.windows.trace import AT_BOOT
from harness.guest.windows.transports import GuestTransports
from harness.history.reader import History
from harness.history.record import Stage
from harness.machine.forwards import forwarded_ports
from harness.machine.libvirt.machine import LibvirtMachine
from harness.machine.libvirt.remote_host import KEPT, RemoteHost
from harness.machine.machine import Machine
from harness.run.operation import LoadDriver, UnloadDriver
from harness.run.options import Timeouts
from harness.run.run import RunResult, perform
from harness.template.store import DISK, Store
from harness.template.template import SSH_PORT, WINRM_PORT
from tests.machine.libvirt.test_remote_host import sshd, uri_of
from tests.transport.servers import SshServer

__all__ = ["driver", "request_of", "sshd", "store"]

pytestmark = [pytest.mark.qemu, pytest.mark.remote, pytest.mark.libvirt]


class Ports:
    """What the machine's ports were when the guest was attached to, and whether somebody listened there."""

    def __init__(self, windows: ScriptedWindows, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: dict[int, int] = {}
        self.machine: Machine | None = None
        self._windows = windows
        monkeypatch.setattr(guest_type_module, "transports_into", self._into)

    def _into(self, machine: Machine, _image: WindowsImage, deadline: Deadline) -> GuestTransports:
        self.machine = machine
        self.found = forwarded_ports(machine, deadline)
        for port in self.found.values():
            socket.create_connection(("127.0.0.1", port), 10).close()
        return self._windows.transports()


@pytest.fixture
def ports(windows: ScriptedWindows, monkeypatch: pytest.MonkeyPatch) -> Ports:
    """The scripted Windows answers, and the machine's own ports are looked at."""
    windows.file(AT_BOOT).parent.mkdir(parents=True)
    windows.file(AT_BOOT).write_bytes(b"no trace")
    return Ports(windows, monkeypatch)


def notes(result: RunResult) -> list[str]:
    """What was said while QEMU was started."""
    return [
        one.detail
        for one in History(result.directory)
        if isinstance(one, Stage) and (one.name, one.phase) == ("qemu", "note")
    ]


def run_of(request_of: Request, uri: str) -> RunResult:
    """A run that loads the driver and unloads it."""
    budget = Timeouts(quiet=0.01)
    return perform(request_of(LoadDriver(), UnloadDriver(), backend="libvirt", connect=uri, budget=budget))


def test_whole_run_through_libvirt(
    store: Store,
    request_of: Request,
    ports: Ports,
    windows: ScriptedWindows,
    private_libvirtd: PrivateLibvirtd,
) -> None:
    """The template's machine is a domain, with its firmware, variables, disk and forwarded ports; what the guest has is collected."""
    result = run_of(request_of, private_libvirtd.uri)
    assert (None, Verdict.UNKNOWN) == (result.error, result.verdict.verdict)
    assert {WINRM_PORT, SSH_PORT} == set(ports.found)
    xml = (result.directory / "domain.xml").read_text()
    for word in (
        str(result.directory / "disk.qcow2"),
        str(result.directory / "variables.fd"),
        "edu,bus=pcie.0,addr=0x18,id=rebalanced",
        "<genid",
    ):
        assert word in xml
    assert (result.directory / "guest" / "System.evtx").is_file()
    assert [] == private_libvirtd.domains()
    store.check_unused(NAME)


def test_whole_run_on_another_host(
    store: Store,
    request_of: Request,
    ports: Ports,
    windows: ScriptedWindows,
    private_libvirtd: PrivateLibvirtd,
    sshd: SshServer,
) -> None:
    """The template's disk is sent once, under its SHA-256; the run's overlay and variables each time; ports lead there."""
    uri = uri_of(sshd, private_libvirtd)
    first, second = run_of(request_of, uri), run_of(request_of, uri)
    for result in (first, second):
        assert (None, Verdict.UNKNOWN) == (result.error, result.verdict.verdict)
        assert (result.directory / "guest" / "System.evtx").is_file()
        xml = (result.directory / "domain.xml").read_text()
        assert str(result.directory) not in xml.replace(f"<title>{result.directory.name}", "")
        assert not list(result.directory.glob("sent-*"))
    assert [1, 0] == [sum("sending " in note for note in notes(result)) for result in (first, second)]
    disk = store.root / NAME / DISK
    digest = hashlib.sha256(disk.read_bytes()).hexdigest()
    (kept,) = (sshd.directory / ".cache" / "hotplug-harness" / "images").iterdir()
    assert (digest, 0o400, disk.read_bytes()) == (kept.name, kept.stat().st_mode & 0o777, kept.read_bytes())
    assert {WINRM_PORT, SSH_PORT} == set(ports.found)
    assert isinstance(ports.machine, LibvirtMachine)
    assert ports.machine.elsewhere
    # The disk that the guest wrote to was over there.
    with pytest.raises(GuestRefused, match="on another host, and is not fetched"):
        CrashCollection(ports.machine)._stop(Deadline(5, "stop"))


def test_guest_that_does_not_answer_is_sent_an_nmi_through_libvirt(
    store: Store,
    request_of: Request,
    ports: Ports,
    windows: ScriptedWindows,
    private_libvirtd: PrivateLibvirtd,
) -> None:
    """By virDomainInjectNMI: nothing that changes the machine goes past libvirt."""
    windows.double.stop()
    budget = Timeouts(boot=3.0, evidence=20.0)
    result = perform(request_of(LoadDriver(), backend="libvirt", connect=private_libvirtd.uri, budget=budget))
    assert result.error is not None
    history = (result.directory / "history.jsonl").read_text()
    assert '"virDomainInjectNMI"' in history
    assert "NotThroughLibvirt" not in history


def test_images_there_are_checked_and_few(
    tmp_path: Path, sshd: SshServer, private_libvirtd: PrivateLibvirtd
) -> None:
    """One that arrives damaged is not kept, and only those used last stay."""
    (tmp_path / "runtime").mkdir()
    remote = RemoteHost(uri_of(sshd, private_libvirtd), tmp_path / "runtime", tmp_path / "ssh.log")
    deadline = Deadline(60, "the test")
    remote.connect(deadline)
    try:
        digests = []
        for number in range(KEPT + 2):
            image = tmp_path / f"{number}.qcow2"
            image.write_bytes(b"image %d" % number)
            digests.append(hashlib.sha256(image.read_bytes()).hexdigest())
            there = remote.keep(image, digests[-1], deadline, lambda _: None)
        images = there.parent
        assert KEPT == len(list(images.iterdir()))
        assert digests[-1] in {each.name for each in images.iterdir()}
        with pytest.raises(InfrastructureError, match="arrived, not " + "ab" * 32):
            remote.keep(tmp_path / "0.qcow2", "ab" * 32, deadline, lambda _: None)
        with pytest.raises(InfrastructureError, match="has no SHA-256 that identifies it"):
            remote.keep(tmp_path / "0.qcow2", "../x", deadline, lambda _: None)
        assert KEPT == len(list(images.iterdir()))
    finally:
        remote.close()
