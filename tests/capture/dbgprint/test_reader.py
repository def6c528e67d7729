# SPDX-License-Identifier: MIT
"""The reader process: on a unix socket as QEMU offers one, with a target at the other end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from harness.capture.debugcon import DebugPort
from harness.history.driver import Mark
from tests.capture.dbgprint import target as kd
from tests.capture.dbgprint.target import Target
from tests.capture.lines import encode_line


@contextmanager
def reading(tmp_path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    """A reader process and the guest's end of its line."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "kd"))
        door.listen(1)
        door.settimeout(30)
        command = [
            sys.executable,
            "-m",
            "harness.capture.dbgprint.reader",
            str(tmp_path / "kd"),
            str(tmp_path / "out"),
        ]
        with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as child:
            try:
                line, _address = door.accept()
                with line:
                    line.settimeout(0.3)
                    yield child, line
            finally:
                child.kill()


def talk(target: Target, line: socket.socket) -> None:
    """Let the target say everything over the line."""
    target.start()
    for _ in range(200):
        line.sendall(target.outgoing)
        target.outgoing = b""
        if target.done or target.frozen:
            return
        try:
            target.feed(line.recv(65536))
        except TimeoutError:
            target.tick()
    pytest.fail("the reader does not answer")


def test_what_the_target_prints_is_in_the_files(tmp_path: Path) -> None:
    """Text as it came, one line for each event, an account at the end; it ends when the line is closed."""
    target = Target(
        [
            kd.symbols(b"nt.exe", 0x1000),
            kd.text(b"one\n"),
            kd.prompt(b"Ignore? "),
            kd.text(b"tw\xff\n", processor=2),
        ]
    )
    with reading(tmp_path) as (child, line):
        talk(target, line)
        line.shutdown(socket.SHUT_RDWR)
        assert child.wait(30) == 0
    out = tmp_path / "out"
    assert (out / "dbgprint.log").read_bytes() == b"one\ntw\xff\n"
    events = [json.loads(row) for row in (out / "dbgprint.jsonl").read_text().splitlines()]
    assert [event["k"] for event in events] == ["symbols", "print", "prompt", "print"]
    assert [
        (event["at"], event["bytes"], event["processor"]) for event in events if event["k"] == "print"
    ] == [
        (0, 4, 1),
        (4, 4, 2),
    ]
    assert (events[0]["path"], events[2]["text"], events[2]["answer"]) == ("nt.exe", "Ignore? ", "i")
    times = [event["host_ns"] for event in events]
    assert sorted(times) == times
    assert json.loads((out / "dbgprint.account.json").read_bytes()) == {
        "packets": 4,
        "repeated": 0,
        "broken": 0,
        "resets": 0,
        "stray": 0,
        "stopped": False,
    }


def test_an_exception_is_in_the_account_when_the_reader_is_ended(tmp_path: Path) -> None:
    """SIGTERM ends the reader in order; the bug check it saw is on record and the target was not continued."""
    target = Target([kd.text(b"before\n"), kd.exception(0xC0000005)])
    with reading(tmp_path) as (child, line):
        talk(target, line)
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    assert json.loads((tmp_path / "out" / "dbgprint.account.json").read_bytes())["stopped"] is True
    last = json.loads((tmp_path / "out" / "dbgprint.jsonl").read_text().splitlines()[-1])
    assert (last["k"], last["code"], last["first_chance"]) == ("exception", 0xC0000005, True)
    assert target.answers == []


def test_the_drivers_lines_become_its_records(tmp_path: Path) -> None:
    """DbgPrint carries the same line as the debug port, cut where the protocol likes."""
    mark = Mark(
        channel="", seq=1, qpc=2, boot="00c0ffee00c0ffee", driver="hpnotify", cpu=0, irql=0, thread=3, active=2,
        active_g0=2, active_g0_ex=2, maximum=6, groups=1, nonce="abc",
    )  # fmt: skip
    line_of_driver = encode_line(mark)
    pieces = [line_of_driver[:100], line_of_driver[100:]]
    with reading(tmp_path) as (child, line):
        talk(Target([kd.text(piece) for piece in pieces]), line)
        line.shutdown(socket.SHUT_RDWR)
        child.wait(30)
    port = DebugPort(channel="dbgprint")
    records = list(port.feed((tmp_path / "out" / "dbgprint.log").read_bytes()))
    assert records == [msgspec.structs.replace(mark, channel="dbgprint")]


def test_the_port_can_be_handed_to_a_real_debugger(tmp_path: Path) -> None:
    """All bytes go through both ways, and nothing is decoded or answered."""
    with reading(tmp_path, "--debugger", "0") as (child, line):
        assert child.stderr is not None
        place = child.stderr.readline().rpartition(":")[2]
        with socket.create_connection(("127.0.0.1", int(place)), timeout=30) as debugger:
            line.sendall(kd.packed(kd.DEBUG_IO, 1, b"to the debugger"))
            assert debugger.recv(65536) == kd.packed(kd.DEBUG_IO, 1, b"to the debugger")
            debugger.sendall(b"b")
            assert line.recv(10) == b"b"
        assert child.wait(30) == 0
    assert not (tmp_path / "out").exists()


def test_without_a_line_the_reader_says_what_is_needed(tmp_path: Path) -> None:
    """The path, the system's words, and what QEMU must be told."""
    ended = subprocess.run(
        [sys.executable, "-m", "harness.capture.dbgprint.reader", tmp_path / "none", tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 69
    assert "No such file or directory" in ended.stderr
    assert "server=on" in ended.stderr
