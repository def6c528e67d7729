# SPDX-License-Identifier: MIT
"""What is lost through libvirt, and what must not be: connections, daemons, QEMU, the harness itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from private_libvirtd import PrivateLibvirtd

from harness.deadline import Deadline
from harness.errors import MachineFailed, MonitorLost
from harness.history.writer import HistoryWriter
from harness.host.registry import ProcessName, Registry
from tests.machine.libvirt.test_machine import MIB, MakeMachine, deadline, make_machine

__all__ = ["deadline", "make_machine"]

pytestmark = pytest.mark.libvirt


@pytest.mark.parametrize("when", ["now", "before-command", "before-reply"])
def test_no_device_is_added_twice(
    make_machine: MakeMachine, deadline: Deadline, writer: HistoryWriter, when: str
) -> None:
    """A connection lost before, in place of or after a call leaves one device of each, and the history says which."""
    machine = make_machine()
    machine.start(deadline)
    slots = machine.cpu_slots(deadline)
    before = machine.serial()
    machine.drop_monitor(when)  # type: ignore[arg-type]
    machine.add_dimm("dimm0", 128 * MIB, deadline)
    machine.drop_monitor(when)  # type: ignore[arg-type]
    machine.add_cpu("cpu3", slots[3], deadline)
    assert ["dimm0"] == [dimm.id for dimm in machine.memory_devices(deadline)]
    assert ["", "/machine/peripheral/cpu3"] == [row.qom for row in machine.cpu_slots(deadline)[2:4]]
    assert machine.serial() > before
    notes = [line for line in writer.path.read_text().splitlines() if "the connection dropped during" in line]
    assert {"now": 0, "before-command": 2, "before-reply": 2}[when] == len(notes)
    assert (when == "before-reply") == ("so it was accepted" in "".join(notes))


def test_events_go_on_after_a_reconnect(make_machine: MakeMachine, deadline: Deadline) -> None:
    """The new connection hears of what happens from then on, once."""
    machine = make_machine()
    machine.start(deadline)
    machine.drop_monitor()
    machine.resume(deadline)
    machine.pause(deadline)
    machine.wait_event("STOP", deadline)
    assert [1, 1] == [len(machine.events(name)) for name in ("RESUME", "STOP")]


def test_a_libvirtd_that_is_killed_and_comes_back(
    make_machine: MakeMachine, deadline: Deadline, private_libvirtd: PrivateLibvirtd, registry: Registry
) -> None:
    """The guest goes on without it; what was asked meanwhile is answered when it is back; close leaves nothing."""
    machine = make_machine()
    machine.start(deadline)
    machine.add_cpu("cpu2", machine.cpu_slots(deadline)[2], deadline)
    pid = machine.pid
    private_libvirtd.kill()
    try:
        assert machine.alive()
        with pytest.raises(MonitorLost, match="no connection to libvirt"):
            machine.execute("query-status", deadline.within(0.5, "ask"))
    finally:
        private_libvirtd.start()
    machine.add_dimm("dimm0", 128 * MIB, deadline)
    machine.add_cpu("cpu3", machine.cpu_slots(deadline)[3], deadline)
    assert ["cpu2", "cpu3"] == [row.qom.rpartition("/")[2] for row in machine.cpu_slots(deadline)[2:4]]
    assert ["dimm0"] == [dimm.id for dimm in machine.memory_devices(deadline)]
    machine.close()
    assert ([], [], None) == (registry.entries(), private_libvirtd.domains(), ProcessName.of(pid))


def test_close_without_libvirtd(
    make_machine: MakeMachine, deadline: Deadline, private_libvirtd: PrivateLibvirtd, registry: Registry
) -> None:
    """With libvirtd gone for good QEMU is ended all the same, and libvirtd finds nothing when it is back."""
    machine = make_machine()
    machine.start(deadline)
    pid = machine.pid
    private_libvirtd.kill()
    try:
        machine.close()
        assert ([], None) == (registry.entries(), ProcessName.of(pid))
    finally:
        private_libvirtd.start()
    deadline.poll(lambda: private_libvirtd.domains() == [])


def test_a_libvirtd_that_hangs(
    make_machine: MakeMachine, deadline: Deadline, private_libvirtd: PrivateLibvirtd, registry: Registry
) -> None:
    """A call costs its deadline, closing costs the graces, and QEMU is gone."""
    machine = make_machine()
    machine.start(deadline)
    pid = machine.pid
    os.kill(private_libvirtd.pid, signal.SIGSTOP)
    try:
        with pytest.raises(MonitorLost, match="libvirt did not answer within"):
            machine.execute("query-status", deadline.within(0.5, "ask"))
        machine.close()
        assert ([], None) == (registry.entries(), ProcessName.of(pid))
    finally:
        os.kill(private_libvirtd.pid, signal.SIGCONT)
    deadline.poll(lambda: private_libvirtd.domains() == [])


def test_qemu_killed(make_machine: MakeMachine, deadline: Deadline) -> None:
    """Whoever waits learns that QEMU died, at once."""
    machine = make_machine()
    machine.start(deadline)
    os.kill(machine.pid, signal.SIGKILL)
    with pytest.raises(MachineFailed, match="QEMU died"):
        machine.wait_event("RESET", deadline)
    with pytest.raises(MachineFailed, match="QEMU died"):
        machine.add_dimm("dimm0", 128 * MIB, deadline)
    assert not machine.alive()


def test_destroyed_by_somebody_else(
    make_machine: MakeMachine, deadline: Deadline, private_libvirtd: PrivateLibvirtd
) -> None:
    """A domain that another user of libvirt destroys is no death of QEMU."""
    machine = make_machine()
    machine.start(deadline)
    private_libvirtd.destroy(machine.uuid)
    with pytest.raises(MachineFailed, match="destroyed by another program"):
        machine.wait_event("RESET", deadline)


HARNESS = """
import sys
from pathlib import Path
from harness.deadline import Deadline
from harness.history.writer import HistoryWriter
from harness.machine.libvirt.machine import LibvirtMachine
from harness.machine.machine import MachineSpec
from harness.host import qemu_build
from harness.host.registry import Registry

uri, place = sys.argv[1], Path(sys.argv[2])
spec = MachineSpec(accelerator="tcg", qemu=qemu_build.find_program(), memory=128 << 20)
machine = LibvirtMachine(spec, place / "run", HistoryWriter(place / "h.jsonl"), connect=uri, registry=Registry(place / "r"))
machine.start(Deadline(120, "start"))
print(machine.pid, flush=True)
sys.stdin.read()
"""


def test_harness_killed(tmp_path: Path, deadline: Deadline, private_libvirtd: PrivateLibvirtd) -> None:
    """A harness that is killed leaves no domain and no QEMU; the registry's entry tells gc of its directory."""
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS, private_libvirtd.uri, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as harness:
        assert harness.stdout is not None
        pid = int(harness.stdout.readline())
        assert ProcessName.of(pid) is not None
        harness.kill()
    deadline.poll(lambda: ProcessName.of(pid) is None and private_libvirtd.domains() == [])
    (entry,) = Registry(tmp_path / "r").entries()
    assert not entry.harness.alive()
    assert private_libvirtd.uri == entry.uri
    Registry(tmp_path / "r").remove(entry)
    assert not Path(entry.runtime).exists()
