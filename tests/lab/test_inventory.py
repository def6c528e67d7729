# SPDX-License-Identifier: MIT
"""The inventory says how each machine of the registry is, and harness ps shows it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from harness.cli.main import main
from harness.deadline import Deadline
from harness.host.budget import HostBudget, ResourceRequest
from harness.host.lease import Leases
from harness.host.lease_directory import user_name
from harness.host.registry import ProcessName, Registry
from harness.lab.inventory import listed
from tests.lab.machines import dead_harness, idle, name_of, noted

ME = ProcessName.of(os.getpid())
BUDGET = HostBudget(vcpus=8, memory=8 << 30, disk=1 << 40)


def test_states(registry: Registry, host: Path) -> None:
    """What lives of harness and QEMU decides; another boot's processes are dead whatever their numbers."""
    assert ME is not None
    dead = dead_harness()
    with idle("qemu") as process:
        qemu = name_of(process)
        noted(registry, host, ME, qemu)
        noted(registry, host, ME, None)
        noted(registry, host, ME, dead)
        noted(registry, host, dead, qemu)
        noted(registry, host, dead, dead)
        noted(registry, host, dead, None, uri="qemu:///system", domain="0-0")
        noted(registry, host, ME, None, uri="qemu+ssh://there/system", domain="0-0")
        other = msgspec.structs.replace(ME, boot="another")
        noted(registry, host, other, msgspec.structs.replace(qemu, boot="another"))
        noted(registry, host, other, None, uri="qemu:///system", domain="0-0")
        noted(registry, host, other, None, uri="qemu+ssh://there/system", domain="0-0")
        assert [
            "running", "starting", "ending", "orphaned", "gone", "orphaned", "running", "gone", "gone", "orphaned",
        ] == [each.state for each in listed(registry)]  # fmt: skip


def test_what_is_known_of_a_machine(registry: Registry, host: Path) -> None:
    """Guest, processors, processes and run directory are told; a run.json that is damaged costs the guest's name only."""
    assert ME is not None
    with idle("qemu") as process:
        noted(registry, host, ME, name_of(process))
        (host / "run" / "run.json").write_text('{"guest": "twin", "more": 1}')
        (one,) = listed(registry)
        assert ("twin", 2, process.pid, ME.pid) == (one.guest, one.vcpus, one.qemu, one.harness)
        assert 0 <= one.age < 600
        (host / "run" / "run.json").write_text("{")
        assert "" == listed(registry)[0].guest


@pytest.mark.parametrize(
    ("command", "vcpus"),
    [
        (["qemu", "-smp", "2,maxcpus=6,sockets=6"], 2),
        (["qemu", "-smp", "cpus=12,maxcpus=16"], 12),
        (["qemu", "-smp"], 0),
        (["qemu", "-smp", "sockets=4"], 0),
        (["qemu"], 0),
    ],
)
def test_processors_of_a_command(registry: Registry, host: Path, command: list[str], vcpus: int) -> None:
    """Both ways in which -smp is written are read."""
    assert ME is not None
    noted(registry, host, ME, None, command=command)
    assert vcpus == listed(registry)[0].vcpus


def test_ps_shows_machines_and_leases(
    registry: Registry, host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table names each machine's directory, then what of the host is taken, then who waits; JSON says the same."""
    assert ME is not None
    noted(registry, host, ME, None, directory="/runs/\x1b[31mred")
    noted(registry, host, dead_harness(), None)
    leases, soon = Leases(), Deadline(60, "test")
    with (
        leases.take(ResourceRequest(vcpus=5, memory=1 << 30), BUDGET, soon),
        leases.enter(ResourceRequest(vcpus=4, memory=2 << 30), BUDGET, soon),
    ):
        assert 0 == main(["ps"])
        text = capsys.readouterr().out
        assert 0 == main(["ps", "--json"])
        document = json.loads(capsys.readouterr().out)
    assert "\x1b" not in text
    assert "Some have no harness any more: harness gc" in text
    assert "Leases of this host: 5 of " in text
    assert (
        f"waits in place 1: process {os.getpid()} of {user_name(os.geteuid())}, 4 processors and 2 GiB"
        in text
    )
    assert ["starting", "gone"] == [each["state"] for each in document["machines"]]
    assert [(5, True), (4, False)] == [(each["vcpus"], each["granted"]) for each in document["leases"]]
    assert document["budget"]["vcpus"] > 0


def test_ps_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A user who never ran anything is told so, and nothing is made."""
    assert 0 == main(["ps"])
    assert capsys.readouterr().out.startswith(
        "No machine of yours is in the registry.\n\nLeases of this host: 0 of "
    )
