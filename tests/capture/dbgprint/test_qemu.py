# SPDX-License-Identifier: MIT
"""The reader on a serial port of real QEMU, with a guest that halts until its packet is acknowledged."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from capture.dbgprint import target as kd
from capture.lines import encode_line
from capture.live.test_debugcon import mark

from harness.capture.dbgprint.reader import PortLog, PortReader
from harness.deadline import Deadline
from harness.history.driver import Mark
from harness.history.writer import HistoryWriter
from harness.machine.qemu.machine import QemuMachine
from tests.machine import bare_guest
from tests.machine.conftest import MakeMachine, make_machine, registry, writer

__all__ = ["make_machine", "registry", "writer"]

pytestmark = pytest.mark.qemu

COM3 = 0x3E8
ACKNOWLEDGEMENT = 16


@pytest.fixture
def deadline() -> Deadline:
    """More than the test takes on a busy host."""
    return Deadline(60, "test")


def machine_with_port(make_machine: MakeMachine, tmp_path: Path, kernel: Path) -> tuple[QemuMachine, Path]:
    """A machine with a third serial port on a socket, as a Windows guest's ``debugport:3`` has it."""
    path = tmp_path / "kd.sock"
    port = [
        "-chardev", f"socket,id=kd,path={path},server=on,wait=off",
        "-device", "isa-serial,index=2,chardev=kd",
    ]  # fmt: skip
    return make_machine(kernel=kernel, extra=port), path


def test_guest_runs_on_once_acknowledged(
    make_machine: MakeMachine, tmp_path: Path, writer: HistoryWriter, deadline: Deadline
) -> None:
    """Three prints, each awaiting its acknowledgement on a 16550, come out as records, and the guest gets past them."""
    packets = [
        kd.packet(kd.DEBUG_IO, number, kd.print_payload(0, encode_line(mark(seq))))
        for seq, number in ((1, kd.FIRST | kd.SYNC), (2, kd.FIRST ^ 1), (3, kd.FIRST))
    ]
    acts = [
        bare_guest.write(COM3, data)
        + bare_guest.wait_for_byte(COM3) * ACKNOWLEDGEMENT
        + bare_guest.write(bare_guest.DEBUG_PORT, b"%d acknowledged\n" % number)
        for number, data in enumerate(packets, 1)
    ]
    machine, path = machine_with_port(make_machine, tmp_path, bare_guest.build(tmp_path / "kernel", *acts))
    machine.start(deadline)
    with PortReader(path, tmp_path / "dbgprint.jsonl") as reader:
        reader.start(deadline)
        machine.resume(deadline)
        deadline.poll(lambda: b"3 acknowledged" in machine.debugcon.read_bytes())
    log = PortLog()
    records = [record for _, record in log.feed(reader.file.read_bytes())]
    assert [1, 2, 3] == [record.seq for record in records if isinstance(record, Mark)]
    assert b"1 acknowledged\n2 acknowledged\n3 acknowledged\n" == machine.debugcon.read_bytes()
    assert (3, 0) == (log.account().records, log.account().lost)


def test_reader_that_comes_late_begins_the_conversation_anew(
    make_machine: MakeMachine, tmp_path: Path, writer: HistoryWriter, deadline: Deadline
) -> None:
    """A guest in the middle of its numbers is asked for a RESET, and what it then says again is taken once."""
    late = kd.packet(kd.DEBUG_IO, kd.FIRST ^ 1, kd.print_payload(0, encode_line(mark(7))))
    again = kd.control(kd.RESET) + kd.packet(kd.DEBUG_IO, kd.FIRST, kd.print_payload(0, encode_line(mark(7))))
    acts = [
        bare_guest.write(bare_guest.DEBUG_PORT, b"begun\n"),
        bare_guest.wait_for_byte(bare_guest.COM2),
        bare_guest.write(COM3, late),
        bare_guest.wait_for_byte(COM3) * ACKNOWLEDGEMENT,
        bare_guest.write(COM3, again),
        bare_guest.wait_for_byte(COM3) * ACKNOWLEDGEMENT,
        bare_guest.write(bare_guest.DEBUG_PORT, b"gone on\n"),
    ]
    machine, path = machine_with_port(make_machine, tmp_path, bare_guest.build(tmp_path / "kernel", *acts))
    machine.start(deadline)
    machine.resume(deadline)
    deadline.poll(lambda: b"begun" in machine.debugcon.read_bytes())
    with PortReader(path, tmp_path / "dbgprint.jsonl") as reader:
        reader.start(deadline)
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(machine.control))
            control.sendall(b"x")
            deadline.poll(lambda: b"gone on" in machine.debugcon.read_bytes())
    records = [record for _, record in PortLog().feed(reader.file.read_bytes())]
    assert [7] == [record.seq for record in records if isinstance(record, Mark)]
