# SPDX-License-Identifier: MIT
"""Two clients of libvirt at once, and what libvirt itself says to a migration of a domain of the harness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from part_markers import needs
from private_libvirtd import PrivateLibvirtd, running_libvirtd

from harness.deadline import Deadline
from harness.history.record import Qmp, Record
from harness.history.writer import HistoryWriter
from harness.machine.libvirt.connection import load
from tests.machine.libvirt.test_machine import MakeMachine, deadline, make_machine

__all__ = ["deadline", "make_machine"]

pytestmark = pytest.mark.libvirt


def test_of_two_clients_one_is_refused(
    make_machine: MakeMachine, deadline: Deadline, writer: HistoryWriter
) -> None:
    """One processor is added, and both calls are in the history, over connections with numbers of their own."""
    heard: list[Record] = []
    writer.subscribe(heard.append)
    machine = make_machine()
    machine.start(deadline)
    said = machine.add_cpu_twice("cpu3", machine.cpu_slots(deadline)[3], deadline)
    assert "already in requested state" in said
    assert ["", "/machine/peripheral/cpu3"] == [row.qom for row in machine.cpu_slots(deadline)[2:4]]
    calls = [
        one.monitor
        for one in heard
        if isinstance(one, Qmp)
        and one.direction == "out"
        and one.message.get("execute") == "virDomainSetVcpu"
    ]
    assert (2, 2) == (len(calls), len(set(calls)))
    machine.add_cpu("cpu2", machine.cpu_slots(deadline)[2], deadline)


@pytest.fixture
@needs("libvirt")
def second_libvirtd() -> Iterator[PrivateLibvirtd]:
    """A second daemon on this host."""
    with running_libvirtd() as daemon:
        yield daemon


def test_libvirt_migrates_no_domain_of_the_harness(
    make_machine: MakeMachine, deadline: Deadline, second_libvirtd: PrivateLibvirtd
) -> None:
    """Not even to a second daemon: a domain with a leash stays, and any other one is not moved on one host."""
    libvirt = load()
    machine = make_machine()
    machine.start(deadline)
    machine.resume(deadline)

    def refused(connection: Any) -> str:
        domain = connection.lookupByUUIDString(machine.uuid)
        flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER
        with pytest.raises(libvirt.libvirtError) as raised:
            domain.migrateToURI3(second_libvirtd.uri, {}, flags)
        return str(raised.value)

    connection = libvirt.open(machine.uri)
    try:
        said = refused(connection)
    finally:
        connection.close()
    assert "domain is marked for auto destroy" in said
    assert machine.run_state(deadline).running
