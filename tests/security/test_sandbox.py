# SPDX-License-Identifier: MIT
"""QEMU, which a hostile guest may take over, can start nothing, become nobody else, and is reached from nowhere."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from private_libvirtd import PrivateLibvirtd

from harness.deadline import Deadline
from harness.errors import CommandRefused, MachineFailed
from harness.history.writer import HistoryWriter
from harness.host import qemu_build
from harness.host.registry import Registry
from harness.machine.attachments import Network
from harness.machine.libvirt.machine import LibvirtMachine
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine

DENIED = ("obsolete=deny", "elevateprivileges=deny", "spawn=deny", "resourcecontrol=deny")

Start = Callable[..., QemuMachine | LibvirtMachine]


def within() -> Deadline:
    return Deadline(120, "test")


@pytest.fixture(
    params=[
        pytest.param("qemu", marks=pytest.mark.qemu),
        pytest.param("libvirt", marks=pytest.mark.libvirt),
    ]
)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """A function that starts a machine of either backend; keywords are those of MachineSpec."""
    machines: list[QemuMachine | LibvirtMachine] = []
    writer = HistoryWriter(tmp_path / "history.jsonl")

    def make(**fields: object) -> QemuMachine | LibvirtMachine:
        spec = MachineSpec(accelerator="tcg", qemu=qemu_build.find_program(), memory=128 << 20, **fields)  # type: ignore[arg-type]
        registry = Registry(tmp_path / "registry")
        if request.param == "qemu":
            machine: QemuMachine | LibvirtMachine = QemuMachine(
                spec, tmp_path / "run", writer, registry=registry
            )
        else:
            daemon: PrivateLibvirtd = request.getfixturevalue("private_libvirtd")
            machine = LibvirtMachine(spec, tmp_path / "run", writer, connect=daemon.uri, registry=registry)
        machines.append(machine)
        machine.start(within())
        return machine

    yield make
    for machine in machines:
        machine.close()
    writer.close()


def test_every_thread_is_in_the_sandbox(start: Start) -> None:
    """Both backends give QEMU the same four prohibitions, and the kernel filters the system calls of all its threads."""
    machine = start()
    words = machine.argv[machine.argv.index("-sandbox") + 1].split(",")
    assert {"on", *DENIED} == set(words)
    tasks = list(Path(f"/proc/{machine.pid}/task").iterdir())
    assert tasks
    modes = {
        line for task in tasks for line in (task / "status").read_text().splitlines() if "Seccomp:" in line
    }
    assert {"Seccomp:\t2"} == modes


@pytest.mark.qemu
@pytest.mark.parametrize("start", ["qemu"], indirect=True)
def test_qemu_that_starts_a_program_is_stopped(start: Start, tmp_path: Path) -> None:
    """QEMU that is made to run a command cannot: the kernel ends it, or refuses it the process if it asks by clone3.

    QEMU's qemu-seccomp.c traps clone and answers clone3; which of the two is used is up to GLib and the C library.
    """
    machine = start()
    refusal = ""
    try:
        machine.execute("migrate", within(), uri=f"exec:touch {tmp_path / 'started'}")
    except CommandRefused as error:
        refusal = error.message
    except MachineFailed:
        pass
    if refusal:
        assert "Failed to fork (Operation not permitted)" in refusal
        machine.check_alive()
    else:
        within().poll(lambda: not machine.alive())
        with pytest.raises(MachineFailed, match="QEMU died, killed by SIGSYS"):
            machine.check_alive()
    assert not (tmp_path / "started").exists()


def inet(machine: QemuMachine | LibvirtMachine) -> list[tuple[str, str]]:
    """Return the internet sockets of QEMU: its own address and what state it is in."""
    return sorted((one.laddr.ip, one.status) for one in psutil.Process(machine.pid).net_connections("inet"))


def test_no_network_by_default(start: Start) -> None:
    """A machine has no network adapter, QEMU no socket but unix ones, and those lie where only their owner comes."""
    machine = start()
    assert [] == inet(machine)
    assert set() == {"-netdev", "-nic", "-net"} & set(machine.argv)
    assert 0o700 == stat.S_IMODE(machine.control.parent.stat().st_mode)


def test_a_network_listens_on_loopback_only(start: Start) -> None:
    """With forwarded ports QEMU listens on them at 127.0.0.1 and nowhere else, and the guest is shut in."""
    machine = start(network=Network(forwards=(5986, 22)))
    assert [("127.0.0.1", psutil.CONN_LISTEN)] * 2 == inet(machine)
    assert any("restrict=on" in word for word in machine.argv)
