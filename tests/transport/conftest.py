# SPDX-License-Identifier: MIT
"""The servers that the transports are tested against: each real, on loopback, gone after the test."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from part_markers import needs
from transport import powershell_standin
from transport.posix import Posix
from transport.real_powershell import program
from transport.servers import Agent, SshServer
from transport.wsman_double import Double
from unprivileged import Unprivileged

from harness.deadline import Deadline
from harness.transport import qga, ssh, winrm
from harness.transport.dialect import Dialect
from harness.transport.link import WireTransport
from harness.transport.pin import CertificatePin, HostKeyPin
from harness.transport.powershell import Windows
from harness.transport.secret import Secret

USER = "Administrator"
PASSWORD = "correct-horse!7"


@pytest.fixture
def within(request: pytest.FixtureRequest) -> Deadline:
    """Time enough for anything that works; a PowerShell takes long to start on a busy machine."""
    return Deadline(120 if request.node.get_closest_marker("powershell") else 20, "the test")


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    """A WS-Management server that knows one user."""
    users = tmp_path / "users"
    users.write_text(f":{USER}:{PASSWORD}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "powershell.exe"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{powershell_standin.__file__}" "$@"\n')
    program.chmod(0o755)
    server = Double(tmp_path, programs)
    yield server
    server.stop()


@pytest.fixture
def over_winrm(double: Double, tmp_path: Path) -> Iterator[WireTransport]:
    """A transport to the double."""
    link = winrm_to(double, home=str(tmp_path / "home"))
    yield link
    link.close()


def winrm_to(
    double: Double,
    *,
    password: str = PASSWORD,
    pin: bytes = b"",
    home: str = "",
    dialect: Windows | None = None,
) -> WireTransport:
    """Return a transport to the double, with the right password and certificate unless told otherwise."""
    return WireTransport(
        winrm.WinrmWire(
            "127.0.0.1",
            port=double.port,
            user=USER,
            password=Secret(password),
            certificate=CertificatePin.of(pin or double.certificate),
            operation_timeout=1,
            dialect=dialect or (Windows(home) if home else None),
        )
    )


@pytest.fixture
@needs("remote")
def sshd(tmp_path: Path) -> Iterator[SshServer]:
    """OpenSSH's server with a configuration, a host key and a user's key of its own."""
    server = SshServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def over_ssh(sshd: SshServer, tmp_path: Path) -> Iterator[WireTransport]:
    """A transport to that server."""
    link = ssh_to(sshd, home=str(tmp_path / "home"))
    yield link
    link.close()


def ssh_to(
    sshd: SshServer,
    *,
    key: Path | None = None,
    host_key: str = "",
    home: str = "/nowhere",
    dialect: Dialect | None = None,
) -> WireTransport:
    """Return a transport to the server, with the right keys unless told otherwise."""
    return WireTransport(
        ssh.SshWire(
            "127.0.0.1",
            port=sshd.port,
            user=getpass.getuser() if os.geteuid() else "root",
            key=key or sshd.key,
            host_key=HostKeyPin.parse(host_key or sshd.host_key),
            dialect=dialect or Posix(home),
        )
    )


class OnLinux(Windows):
    """Our scripts for Windows, whose PowerShell is ``powershell``, and whose paths are this machine's."""

    def __init__(self, powershell: Path, home: str) -> None:
        super().__init__(home)
        self._powershell = shlex.quote(str(powershell))

    def invoke(self, script: str) -> str:
        """See Windows."""
        return super().invoke(script).replace("powershell.exe", self._powershell, 1)

    def invoke_file(self, path: str) -> str:
        """See Windows."""
        return super().invoke_file(path).replace("powershell.exe", self._powershell, 1)

    def join(self, directory: str, name: str) -> str:
        """See Windows."""
        return f"{directory}/{name}"


@pytest.fixture
@needs("remote")
def agent(unprivileged: Unprivileged) -> Iterator[Agent]:
    """The guest agent."""
    server = Agent(unprivileged.directory, unprivileged.popen)
    yield server
    server.stop()


@pytest.fixture
def over_qga(agent: Agent, unprivileged: Unprivileged) -> WireTransport:
    """A transport to the guest agent."""
    return WireTransport(qga.QgaWire(agent.path, dialect=Posix(str(unprivileged.directory / "home"))))


class Endpoint(NamedTuple):
    """A transport, and the directory on this machine that stands for the guest's disk."""

    link: WireTransport
    disk: Path


@pytest.fixture(params=["winrm", "ssh", "qga"])
@needs("remote")
def endpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Endpoint:
    """Each transport in turn."""
    link = request.getfixturevalue(f"over_{request.param}")
    if request.param == "qga":
        return Endpoint(link, request.getfixturevalue("unprivileged").directory)
    disk = tmp_path / "disk"
    disk.mkdir()
    return Endpoint(link, disk)


@pytest.fixture(
    params=[
        "winrm",
        "ssh",
        "qga",
        pytest.param("winrm into PowerShell", marks=pytest.mark.powershell),
        pytest.param("ssh into PowerShell", marks=pytest.mark.powershell),
    ]
)
@needs("remote")
def every_endpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Endpoint]:
    """Each transport in turn, and those into Windows a second time with a real PowerShell behind their servers."""
    wire, _, real = request.param.partition(" ")
    if not real:
        if wire == "qga":
            yield Endpoint(
                request.getfixturevalue("over_qga"), request.getfixturevalue("unprivileged").directory
            )
            return
        link = request.getfixturevalue(f"over_{wire}")
    else:
        home = tmp_path / "powershell home"
        home.mkdir()
        dialect = OnLinux(program(home), str(tmp_path / "home"))
        server = request.getfixturevalue("double" if wire == "winrm" else "sshd")
        link = winrm_to(server, dialect=dialect) if wire == "winrm" else ssh_to(server, dialect=dialect)
    disk = tmp_path / "disk"
    disk.mkdir()
    yield Endpoint(link, disk)
    if real:
        link.close()
