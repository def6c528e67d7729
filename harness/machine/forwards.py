# SPDX-License-Identifier: MIT
"""Forwarded ports: which port of this host's loopback leads to which port of the guest. The kernel picks, QEMU reports."""

from __future__ import annotations

import re
from typing import Protocol, runtime_checkable

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.machine.machine import Machine

_FORWARD = re.compile(
    r"^\s*TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d{1,5})\s+\S+\s+(\d{1,5})\s", re.MULTILINE
)


@runtime_checkable
class RemoteMachine(Protocol):
    """A machine that may run on another host."""

    @property
    def elsewhere(self) -> bool:
        """Whether it runs on another host."""

    def local_port(self, port: int, deadline: Deadline) -> int:
        """Return a port of this host's loopback that leads to ``port`` of the loopback of its host."""


def read_forwards(text: str) -> dict[int, int]:
    """Return guest port -> host port from QEMU's ``info usernet`` (QEMU: net/slirp.c, libslirp)."""
    return {int(guest): int(host) for host, guest in _FORWARD.findall(text)}


def forwarded_ports(machine: Machine, deadline: Deadline) -> dict[int, int]:
    """Return guest port -> port of this host's 127.0.0.1 for a running machine, also if QEMU runs on another host.

    Raises InfrastructureError if a port that the spec forwards is not forwarded, or if none leads to the other host.
    """
    text = machine.execute("human-monitor-command", deadline, **{"command-line": "info usernet"})
    found = read_forwards(str(text))
    wanted = machine.spec.network.forwards if machine.spec.network else ()
    for port in wanted:
        if port not in found:
            raise InfrastructureError(
                f"QEMU forwards no port to the guest's port {port}; it forwards {sorted(found) or 'none'}",
                hint="The machine must run. If it does, see 'info usernet' in its monitor.",
            )
    if isinstance(machine, RemoteMachine) and machine.elsewhere:
        return {port: machine.local_port(found[port], deadline) for port in wanted}
    return found
