# SPDX-License-Identifier: MIT
"""A session on the twin: by a script, through libvirt too, and at a real prompt on a terminal of 80 columns."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from part_markers import needs
from private_libvirtd import PrivateLibvirtd
from twin.running import CHECKED, qemu_processes

from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.history.reader import History
from harness.history.record import End, OperationProgress
from harness.repro.interactive_run import InteractiveRun
from harness.repro.prompt import ScriptLines
from harness.run.request import RunRequest
from harness.run.run import RunResult

pytestmark = pytest.mark.qemu

SCRIPT = """
step
qmp query-status
add-dimm 128MiB
events ost
unplug cpu-1
unplug cpu-1
dump
"""


def operations(directory: Path) -> list[str]:
    """Return the names of the operations in a history."""
    return [
        one.name for one in History(directory) if isinstance(one, OperationProgress) and one.phase == "begin"
    ]


def scripted(request: RunRequest) -> tuple[RunResult, str, str]:
    """Hold a session by the script; return its run, what it said, and why its last line was refused."""
    said: list[str] = []
    lines = ScriptLines(io.StringIO(SCRIPT), said.append)
    done = InteractiveRun(request, lambda: lines, said.append).perform()
    (result,) = done.results
    return result, "\n".join(said), done.refused.message if done.refused else ""


def check_script(result: RunResult, said: str, refused: str) -> None:
    """The operations were done, QEMU was asked, and the second unplug was refused before it was sent."""
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS), said
    assert ["add-cpu", "add-dimm", "unplug"] == operations(result.directory)
    assert '"status": "running"' in said
    assert "event ACPI_DEVICE_OST" in said
    assert "'cpu-1' is given back by do[3]" in refused


def test_a_script_on_qemu(request_run: Callable[..., RunRequest]) -> None:
    """Every line as at a prompt."""
    check_script(*scripted(request_run("cpu-and-dimm", restore=True)))


@pytest.mark.libvirt
@needs("libvirt")
def test_a_script_through_libvirt(
    request_run: Callable[..., RunRequest], private_libvirtd: PrivateLibvirtd
) -> None:
    """The same script: what would pass libvirt by is refused there, questions are not."""
    check_script(*scripted(request_run("cpu-and-dimm", backend="libvirt", connect=private_libvirtd.uri)))


def test_a_dump_is_kept(request_run: Callable[..., RunRequest]) -> None:
    """The guest's memory as an ELF file in the run directory; the guest goes on."""
    lines = ScriptLines(io.StringIO("dump\nadd-cpu\n"), lambda _: None)
    request = request_run("cpu-and-dimm", restore=True)
    (result,) = InteractiveRun(request, lambda: lines, lambda _: None).perform().results
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)
    assert (result.directory / "session" / "memory-1.elf").read_bytes()[:4] == b"\x7fELF"


class Terminal:
    """The command on a terminal of 80 columns and 24 lines; ``text`` is all that it showed."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, CHECKED, *arguments],
            stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"}, start_new_session=True,
            # Its controlling terminal, so that Ctrl-C reaches it while it is not at the prompt.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.text = ""

    def until(self, words: str, seconds: float = 60) -> str:
        """Read until the words are shown; return what was shown meanwhile."""
        seen, deadline = "", Deadline(seconds, words)
        while words not in seen:
            assert select.select([self.master], [], [], deadline.remaining())[0], (words, self.text[-3000:])
            try:
                data = os.read(self.master, 1 << 16).decode(errors="replace")
            except OSError:
                data = ""
            assert data, (words, self.text[-3000:])
            if "\x1b[6n" in data:
                # prompt_toolkit asks where the cursor is.
                self.type("\x1b[1;1R")
            seen += data
            self.text += data
        return seen

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.master, keys.encode())

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while True:
            try:
                data = os.read(self.master, 1 << 16)
            except OSError:
                break
            self.text += data.decode(errors="replace")
            if not data:
                break
        return self.process.wait(60)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """A function that starts the command on a terminal."""
    made: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        made.append(Terminal(*arguments))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        os.close(one.master)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of the twin that a fault made violated."""
    runs = tmp_path_factory.mktemp("recorded")
    words = [
        "run",
        "cpu-and-dimm",
        "--restore",
        "--inject-fault",
        "duplicate-start",
        "--runs",
        str(runs),
        "--json",
    ]
    done = subprocess.run([sys.executable, CHECKED, *words], capture_output=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def closed(runs: Path) -> Path:
    """Return the only run in ``runs``: its history is closed and judged, and no QEMU is left."""
    (held,) = [run for run in runs.iterdir() if not run.is_symlink()]
    assert isinstance([*History(held)][-1], End)
    assert (held / "verdict.json").is_file()
    assert [] == qemu_processes(runs)
    return held


def test_a_prompt(terminal: Callable[..., Terminal], recorded: dict[str, Any], tmp_path: Path) -> None:
    """Records come above the prompt, Tab completes, a mistake is told and costs nothing, Ctrl-C ends and judges."""
    runs = tmp_path / "held"
    seat = terminal("repro", recorded["directory"], "--interactive", "--runs", str(runs))
    assert "attach" in seat.until("The guest is yours")
    seat.until("(repro)")
    seat.type("until SYNC-EXA")
    seat.until("SYNC-EXA")
    seat.type("\t")
    seat.until("CTLY-TWO")
    seat.type("\r")
    shown = seat.until("VIOLATED so far: SYNC-EXACTLY-TWO")
    assert shown.count("Start NtNumber=2 (group 0, number 2)") >= 2
    seat.until("(repro)")
    seat.type("add-dim 128MiB\r")
    seat.until("Did you mean 'add-dimm'?")
    seat.until("(repro)")
    seat.type("\x03")
    assert (seat.end(), "VIOLATED" in seat.text.rpartition("Run directory")[2]) == (1, True), seat.text[
        -3000:
    ]
    assert "Traceback" not in seat.text
    assert ["add-cpu"] == operations(closed(runs))


def test_a_record_that_comes_while_the_prompt_waits(
    terminal: Callable[..., Terminal], recorded: dict[str, Any], tmp_path: Path
) -> None:
    """Another terminal stops the guest: QEMU's events appear above the prompt, which takes the next line."""
    runs = tmp_path / "held"
    seat = terminal("repro", recorded["directory"], "--interactive", "--runs", str(runs))
    seat.until("(repro)")
    (held,) = [run for run in runs.iterdir() if not run.is_symlink()]
    stopped = subprocess.run(
        [sys.executable, CHECKED, "attach", str(held), "monitor"],
        input="stop\ncont\n", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert stopped.returncode == 0, stopped.stderr
    seat.until("RESUME")
    seat.type("add-dimm 128MiB\r")
    seat.until("agreed on added")
    seat.type("quit\r")
    seat.end()
    assert "a defect of the harness" not in seat.text
    assert ["add-dimm"] == operations(closed(runs))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_prompt(
    terminal: Callable[..., Terminal], recorded: dict[str, Any], tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C is the answer, and the verdict decides; another signal is an interruption. Both close the history."""
    runs = tmp_path / "held"
    seat = terminal("repro", recorded["directory"], "--interactive", "--step", "1", "--runs", str(runs))
    seat.until("(repro)")
    seat.process.send_signal(number)
    assert (1 if number is signal.SIGINT else 128 + number) == seat.end(), seat.text[-3000:]
    assert "Traceback" not in seat.text, seat.text[-3000:]
    closed(runs)


def test_ctrl_c_in_an_operation(
    terminal: Callable[..., Terminal], recorded: dict[str, Any], tmp_path: Path
) -> None:
    """The run ends as interrupted, with what it had come to."""
    runs = tmp_path / "held"
    seat = terminal("repro", recorded["directory"], "--interactive", "--runs", str(runs))
    seat.until("(repro)")
    seat.type("wait-for failure timeout=600\r")
    history = next(runs.glob("2*/history.jsonl"))
    Deadline(60, "the operation").poll(lambda: '"name":"wait-for"' in history.read_text())
    seat.type("\x03")
    assert seat.end() == 130, seat.text[-3000:]
    assert closed(runs)
