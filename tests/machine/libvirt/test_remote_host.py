# SPDX-License-Identifier: MIT
"""libvirt on another host, reached by a real sshd on loopback: the contract holds, and nothing stays there."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from part_markers import needs
from private_libvirtd import PrivateLibvirtd

from harness.deadline import Deadline
from harness.errors import InfrastructureError, UsageError
from harness.history.writer import HistoryWriter
from harness.host.registry import Registry
from harness.machine.inspection import Inspector
from harness.machine.libvirt.machine import LibvirtMachine
from harness.machine.libvirt.remote_host import PREFIX, RemoteHost, ssh_words
from harness.machine.machine import MachineSpec
from tests.machine import bare_guest
from tests.machine.contract import MachineContract
from tests.machine.libvirt.test_machine import MakeMachine, deadline
from tests.transport.servers import SshServer

__all__ = ["deadline"]


def test_ssh_is_called_as_libvirt_calls_it() -> None:
    """Program, user, port, key and the choice not to verify come from the URI."""
    words, host = ssh_words("qemu+ssh://me@lab:2222/system?command=/bin/ssh&keyfile=/k&no_verify=1")
    assert ("/bin/ssh -q -T -o BatchMode=yes -p 2222 -l me -i /k -o StrictHostKeyChecking=no", "lab") == (
        " ".join(words),
        host,
    )


@pytest.mark.parametrize(
    "uri", ["qemu+tls://lab/system", "qemu+tcp://lab/system", "qemu+ssh://-oProxy/system"]
)
def test_other_ways_to_a_host_are_refused(uri: str) -> None:
    """Where the guest's files cannot be fetched, or a host's name would be an option of ssh, nothing is tried."""
    with pytest.raises(UsageError, match="must be fetched from its host"):
        ssh_words(uri)


@pytest.fixture
@needs("remote")
def sshd(tmp_path: Path) -> Iterator[SshServer]:
    """An sshd of the test's own."""
    directory = tmp_path / "sshd"
    directory.mkdir()
    server = SshServer(directory)
    yield server
    server.stop()


NETCAT = """#!{python}
# What libvirt does with nc(1) at the far end: standard input and output are a unix socket's.
import os, socket, sys, threading

far = socket.socket(socket.AF_UNIX)
far.connect(sys.argv[-1])

def send():
    while data := os.read(0, 65536):
        far.sendall(data)
    far.shutdown(socket.SHUT_WR)

threading.Thread(target=send, daemon=True).start()
while data := far.recv(65536):
    while data:
        data = data[os.write(1, data):]
"""


def uri_of(sshd: SshServer, libvirtd: PrivateLibvirtd) -> str:
    """The URI of the private libvirtd by way of the private sshd, whose key is pinned."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    path, _, query = libvirtd.uri.partition("///")[2].partition("?")
    known, ssh, netcat = (sshd.directory / name for name in ("known", "ssh", "nc"))
    known.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    ssh.write_text(f'#!/bin/sh\nexec ssh -F none -o UserKnownHostsFile={known} "$@"\n')
    netcat.write_text(NETCAT.format(python=sys.executable))
    for program in (ssh, netcat):
        program.chmod(0o755)
    options = f"command={ssh}&keyfile={sshd.key}&netcat={netcat}&{query}"
    return f"qemu+ssh://{user}@127.0.0.1:{sshd.port}/{path}?{options}"


def left_there() -> set[Path]:
    """Directories that a harness made on the remote host."""
    return set(Path(PREFIX).parent.glob(f"{Path(PREFIX).name}*/console"))


@pytest.fixture
def make_machine(
    tmp_path: Path,
    writer: HistoryWriter,
    registry: Registry,
    private_libvirtd: PrivateLibvirtd,
    sshd: SshServer,
) -> Iterator[MakeMachine]:
    """Make machines there, not yet started; keywords are those of MachineSpec."""
    machines: list[LibvirtMachine] = []
    before = left_there()

    def make(**fields: object) -> LibvirtMachine:
        spec = MachineSpec(
            **{"accelerator": "tcg", "qemu": Path("qemu"), "memory": 128 << 20, **fields}  # type: ignore[arg-type]
        )
        uri = uri_of(sshd, private_libvirtd)
        machine = LibvirtMachine(
            spec, tmp_path / "run", writer, connect=uri, name="remote", registry=registry
        )
        machines.append(machine)
        return machine

    yield make
    for machine in machines:
        machine.close()
    assert set() == left_there() - before
    assert [] == private_libvirtd.domains()


@pytest.mark.libvirt
@pytest.mark.remote
class TestFarMachine(MachineContract):
    """The contract, over ssh."""

    duplicate_cpu = ("virDomainSetVcpu", "NotCalled")
    slot_taken = "vcpu '0' is already in requested state"
    no_dimm_slot = "exceeds slots count '2'"

    def check_dump(self, inspector: Inspector, file: Path, deadline: Deadline) -> None:
        """A dump would be made on the other host, by a QEMU that may not write there: it is refused, and no file is left."""
        with pytest.raises(InfrastructureError, match="another host"):
            inspector.dump(file, deadline)
        assert not file.exists()

    def test_channels(self, make_machine: MakeMachine, deadline: Deadline, tmp_path: Path) -> None:
        """What the guest wrote is here once the machine is asked to fetch it."""
        kernel = bare_guest.build(
            tmp_path / "kernel",
            bare_guest.write(bare_guest.COM1, b"hello console\n"),
            bare_guest.write(bare_guest.DEBUG_PORT, b"hello debug\n"),
            bare_guest.panic(),
        )
        machine = make_machine(kernel=kernel)
        machine.start(deadline)
        machine.resume(deadline)
        machine.wait_event("GUEST_PANICKED", deadline)
        machine.sync()
        assert machine.console.read_bytes().endswith(b"hello console\n")
        assert b"hello debug\n" == machine.debugcon.read_bytes()


@pytest.mark.libvirt
@pytest.mark.remote
def test_a_host_key_that_is_not_known(
    tmp_path: Path, sshd: SshServer, deadline: Deadline, private_libvirtd: PrivateLibvirtd
) -> None:
    """What ssh refuses is named, with the command to try."""
    uri = uri_of(sshd, private_libvirtd)
    (sshd.directory / "known").write_text("")
    remote = RemoteHost(uri, tmp_path, tmp_path / "log")
    with pytest.raises(InfrastructureError) as refused:
        remote.connect(deadline)
    remote.close()
    assert "must succeed without a question" in refused.value.hint
