# SPDX-License-Identifier: MIT
"""``harness attach`` on a live twin: the monitor, and ports of the loopback interface for gdb and a viewer."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from part_markers import needs
from twin.running import CHECKED, qemu_processes, start_harness

pytestmark = pytest.mark.qemu


@pytest.fixture
@needs("qemu")
def held(run_forked: Callable[..., tuple[int, str, str]], tmp_path: Path) -> Iterator[Path]:
    """A run of the twin that somebody holds, its driver loaded and nothing added."""
    code, out, err = run_forked(
        "run", "cpu-and-dimm", "--restore", "--runs", str(tmp_path / "first"), "--json", seconds=120
    )
    assert code == 0, out + err
    process = start_harness(
        "repro", str(tmp_path / "first" / "latest"), "--step", "0", "--vnc", "--runs", str(tmp_path / "held")
    )
    assert process.stderr is not None
    for line in process.stderr:
        if b"The guest is yours" in line:
            break
    yield tmp_path / "held" / "latest"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert [] == qemu_processes(tmp_path / "held")


def attached(*words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``harness attach`` to its end with an input."""
    return subprocess.run(
        [sys.executable, CHECKED, "attach", *words], input=said, capture_output=True, text=True, timeout=60
    )


def bridged(run: Path, place: str, port: str, talk: Callable[[socket.socket], None]) -> None:
    """Bridge a place, talk to the port that is named on 127.0.0.1 twice, and end it with Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, CHECKED, "attach", str(run), place], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        found = re.search(port, line)
        assert found, line
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", int(found[1])), timeout=60) as viewer:
                talk(viewer)
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    # The documented end is no interruption.
    assert (process.returncode, err) == (0, b"")


def test_every_place(held: Path) -> None:
    """The monitor answers, gdb and VNC speak their protocols; what is not there is said."""
    monitor = attached(str(held), "monitor", said="info status\n")
    assert (monitor.returncode, "VM status: running" in monitor.stdout) == (0, True), monitor

    def screen(viewer: socket.socket) -> None:
        assert viewer.recv(4) == b"RFB "

    def stub(viewer: socket.socket) -> None:
        # GDB remote serial protocol: what the stub supports.
        viewer.sendall(b"$qSupported#37")
        seen = b""
        while b"PacketSize=" not in seen:
            data = viewer.recv(4096)
            assert data, seen
            seen += data

    bridged(held, "vnc", r"vncviewer 127\.0\.0\.1::(\d+)", screen)
    bridged(held, "gdb", r"target remote 127\.0\.0\.1:(\d+)", stub)
    kd = attached(str(held), "kd")
    assert (kd.returncode, "does not forward a kernel debugger's port" in kd.stderr) == (64, True)
    nosuch = attached(str(held), "serial")
    assert (nosuch.returncode, "no place is called 'serial'" in nosuch.stderr) == (64, True)


def test_a_run_that_is_over(tmp_path: Path) -> None:
    """Nothing to attach to is a mistake of the user's, with the way to a guest."""
    folder = tmp_path / "run"
    folder.mkdir()
    ended = attached(str(folder), "monitor")
    assert (ended.returncode, "has no live guest" in ended.stderr, "repro" in ended.stderr) == (
        64,
        True,
        True,
    )
