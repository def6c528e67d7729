# SPDX-License-Identifier: MIT
"""Three workers in network namespaces of their own, with TLS: a host that is cut off, and comes back."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet.conftest import Fleet
from fleet.test_nightly import HOST, ended

from harness.fleet.certificates import make_certificates

NET = "10.213.7"
HOSTS = {"a": f"{NET}.11", "b": f"{NET}.12", "c": f"{NET}.13"}
BRIDGE = "hpfleet0"


def ip(*words: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def down() -> None:
    """Remove bridge and namespaces, those of a killed test too."""
    for host in HOSTS:
        subprocess.run(["ip", "netns", "del", f"hpfleet-{host}"], check=False, capture_output=True)
    subprocess.run(["ip", "link", "del", BRIDGE], check=False, capture_output=True)


@pytest.fixture
def network() -> Iterator[None]:
    """A bridge with three namespaces on it."""
    if shutil.which("ip") is None:
        pytest.skip("needs ip: apt-get install iproute2")
    down()
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("addr", "add", f"{NET}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for host, address in HOSTS.items():
            space = f"hpfleet-{host}"
            ip("netns", "add", space)
            ip("link", "add", f"hpf-{host}", "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", f"hpf-{host}", "master", BRIDGE, "up")
            ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        down()
        pytest.skip(
            f"this machine makes no network namespaces: {error.stderr.decode(errors='replace').strip()}"
        )
    yield
    down()


def start(fleet: Fleet, place: Path) -> None:
    """Start the scheduler and the three workers, each with a certificate for its own address."""
    made = make_certificates([f"{NET}.1", *HOSTS.values()], place)
    ca, *certificates = made
    fleet.url = f"tls://{NET}.1:8786"
    words = ["--ca", str(ca.ca), "--cert", str(ca.cert), "--key", str(ca.key)]
    fleet.start("scheduler", "fleet", "scheduler", "--listen", fleet.url, "--heartbeat", "5", *words)
    fleet.wait_said("scheduler", "listens at")
    for (host, address), one in zip(HOSTS.items(), certificates, strict=True):
        fleet.run_program(
            host, ["ip", "netns", "exec", f"hpfleet-{host}"], "worker", "--scheduler", fleet.url, "--name", host,
            "--listen", address, "--work", str(fleet.place / f"work-{host}"),
            "--ca", str(one.ca), "--cert", str(one.cert), "--key", str(one.key),
        )  # fmt: skip
    for host in HOSTS:
        fleet.wait_said(host, "is offered")
    fleet.lab(
        f'{HOST}\n[fleet]\nca = "{ca.ca}"\ncert = "{ca.cert}"\nkey = "{ca.key}"\n'
        f'results = "file://{fleet.place / "results"}"\n'
    )


@pytest.mark.root
@pytest.mark.host
def test_a_host_that_is_cut_off_costs_no_outcome(fleet: Fleet, network: None) -> None:
    """The others do its cells, each cell has one outcome, and the host is back in the fleet when its link is."""
    start(fleet, fleet.place / "certificates")
    ip("link", "set", "hpf-a", "down")
    nightly = fleet.nightly()
    assert 0 == ended(nightly), fleet.said("nightly")
    outcomes = fleet.outcomes()
    assert [4, 4] == [len({one["cell"] for one in outcomes}), len(outcomes)]
    assert {one["host"] for one in outcomes} <= {"b", "c"}
    ip("link", "set", "hpf-a", "up")
    fleet.wait_said("a", "is lost")
    assert [] == fleet.cells()
