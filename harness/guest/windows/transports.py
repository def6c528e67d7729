# SPDX-License-Identifier: MIT
"""The transports into one Windows guest: WinRM for commands, SSH for files where the guest has it."""

from __future__ import annotations

import msgspec

from harness.deadline import Deadline
from harness.guest.windows.image import WindowsImage
from harness.machine.forwards import forwarded_ports
from harness.machine.machine import Machine
from harness.template.template import SSH_PORT, WINRM_PORT
from harness.transport import ssh, winrm
from harness.transport.link import WireTransport

LOOPBACK = "127.0.0.1"


class GuestTransports(msgspec.Struct, frozen=True, kw_only=True):
    """``commands`` runs commands and scripts; ``ssh`` is None if the guest has no SSH server. See :attr:`files`."""

    commands: WireTransport
    ssh: WireTransport | None = None

    @property
    def files(self) -> WireTransport:
        """The better transport for files: over WinRM each byte is in Base64 twice."""
        return self.ssh or self.commands

    def close(self) -> None:
        """Close both."""
        self.commands.close()
        if self.ssh is not None:
            self.ssh.close()


def transports_into(machine: Machine, image: WindowsImage, deadline: Deadline) -> GuestTransports:
    """Return the transports into the guest of a started machine, through the ports that QEMU forwards, without connecting.

    Raises InfrastructureError if a port is not forwarded, MissingPart without pywinrm or paramiko.
    """
    ports = forwarded_ports(machine, deadline)
    commands = WireTransport(
        winrm.WinrmWire(
            LOOPBACK,
            port=ports[WINRM_PORT],
            user=image.user,
            password=image.password,
            certificate=image.certificate,
        )
    )
    if image.host_key is None or image.key is None:
        return GuestTransports(commands=commands)
    files = WireTransport(
        ssh.SshWire(LOOPBACK, port=ports[SSH_PORT], user=image.user, key=image.key, host_key=image.host_key)
    )
    return GuestTransports(commands=commands, ssh=files)
