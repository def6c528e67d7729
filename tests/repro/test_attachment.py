# SPDX-License-Identifier: MIT
"""A console that is followed, and a socket that is carried to a port of the loopback interface."""

from __future__ import annotations

import io
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import UsageError
from harness.history.run_directory import RunDirectory
from harness.interrupts import interruptible
from harness.repro.attachment import (
    VIEWERS,
    attach_monitor,
    bridge,
    follow,
    forward,
    how_to_attach,
    is_command,
    live_run,
    relay,
)


def test_a_console_is_followed_to_the_end_of_its_guest(tmp_path: Path) -> None:
    """What is appended comes too, what was appended last included, and nothing that a terminal acts on."""
    file, shown = tmp_path / "console.log", io.BytesIO()
    file.write_bytes(b"one\r\n\x1b[2Jtwo\n")

    def alive() -> Iterator[bool]:
        yield True
        with file.open("ab") as console:
            console.write(b"three\n")
        yield True
        with file.open("ab") as console:
            console.write("four \u202e\n".encode())
        yield False

    states = alive()
    follow(file, lambda: next(states), shown)
    assert ["one", "\\x1b[2Jtwo", "three", "four \\u202e"] == shown.getvalue().decode().splitlines()


def test_a_socket_is_carried_to_a_port(tmp_path: Path) -> None:
    """Bytes pass both ways, one connection after another, until the socket is gone; only this host is listened to."""
    place = tmp_path / "place"
    ports: list[int] = []
    known = threading.Event()

    def say(port: int) -> None:
        ports.append(port)
        known.set()

    with socket.socket(socket.AF_UNIX) as machine:
        machine.bind(str(place))
        machine.listen(2)
        machine.settimeout(30)
        bridging = threading.Thread(target=bridge, args=(place, say), name="bridge")
        bridging.start()
        assert known.wait(30)
        for word in (b"first", b"second"):
            with socket.create_connection(("127.0.0.1", ports[0]), timeout=30) as viewer:
                viewer.sendall(word)
                inside, _ = machine.accept()
                with inside:
                    assert word == inside.recv(100)
                    inside.sendall(word[::-1])
                    assert word[::-1] == viewer.recv(100)
        place.unlink()
    bridging.join(30)
    assert not bridging.is_alive()


def test_ctrl_c_ends_the_forwarding(tmp_path: Path) -> None:
    """The viewer's command and the way out are told; the documented end is no interruption."""
    place, said = tmp_path / "gdb", []
    place.touch()

    def say(line: str) -> None:
        said.append(line)
        if "Ctrl-C" in line:
            signal.raise_signal(signal.SIGINT)

    with interruptible():
        forward(place, VIEWERS["gdb"], say)
    assert said[0].startswith("gdb -ex 'target remote 127.0.0.1:")
    assert said[1:] == ["Ctrl-C ends the forwarding."]


def test_the_shells_prompt_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-] the cursor is behind the monitor's prompt."""
    typed, typing = os.pipe()
    shown, showing = os.pipe()
    ours, machine = socket.socketpair()
    with ours, machine, os.fdopen(typed) as source, os.fdopen(showing, "w") as sink:
        os.write(typing, b"info\x1d")
        os.close(typing)
        monkeypatch.setattr("sys.stdin", source)
        monkeypatch.setattr("sys.stdout", sink)
        relay(ours)
        assert machine.recv(100) == b"info"
    with os.fdopen(shown, "rb") as out:
        assert out.read() == b"\r\n"


def test_no_guest_to_attach_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is a command that makes one."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with pytest.raises(UsageError, match=r"the run .* has no live guest") as caught:
        live_run(tmp_path)
    assert "repro" in caught.value.hint


@pytest.mark.parametrize("greets", [True, False])
def test_a_monitor_that_serves_another_terminal_is_told(
    greets: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU serves one connection of a socket at a time: the next one is accepted by the kernel, and gets no greeting."""
    monkeypatch.setattr("harness.repro.attachment.GREETING", 30 if greets else 0.01)
    said: list[str] = []
    typed, typing = os.pipe()
    with (
        socket.socket(socket.AF_UNIX) as machine,
        os.fdopen(typed) as source,
        (tmp_path / "shown").open("w") as sink,
    ):
        machine.bind(str(tmp_path / "human"))
        machine.listen(1)
        os.write(typing, b"\x1d")
        os.close(typing)
        monkeypatch.setattr("sys.stdin", source)
        monkeypatch.setattr("sys.stdout", sink)
        greeting = threading.Thread(target=lambda: machine.accept()[0].sendall(b"(qemu) "), name="greeting")
        if greets:
            greeting.start()
        attach_monitor(tmp_path / "human", said.append)
        if greets:
            greeting.join(30)
    assert (1 if greets else 2) == len(said)
    assert greets or "another terminal" in said[1]


def test_what_is_to_be_copied_is_known(perform_lines: list[str]) -> None:
    """Each way to attach is one line that is not folded; a line of the timeline is not one of them."""
    assert [line for line in perform_lines if line and not is_command(line)] == []
    assert not is_command("      0.0 driver   Start NtNumber=2 (group 0, number 2), 2 active")
    assert not is_command("driver builds are compared")


@pytest.fixture
def perform_lines(tmp_path: Path) -> list[str]:
    """What is said about a guest that has every way, and a name with a space."""
    machine = SimpleNamespace(
        human=tmp_path / "human",
        debugcon=tmp_path / "a b" / "debugcon.log",
        versions={"uri": "qemu:///session"},
    )
    run = SimpleNamespace(directory=RunDirectory(tmp_path / "a b"), request=SimpleNamespace(vnc=True))
    (tmp_path / "gdb").touch()
    (tmp_path / "vnc").touch()
    lines = how_to_attach(machine, run)  # type: ignore[arg-type]
    (driver,) = [line for line in lines if line.startswith("driver")]
    assert driver.endswith(f"tail -f '{machine.debugcon}' | cat -v")
    return lines
