# SPDX-License-Identifier: MIT
"""The live view of a nightly run: what fits a terminal, plain lines elsewhere, and a terminal that every signal leaves clean."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from report.test_stage_view import screen

from harness.cli import nightly_view
from harness.cli.main import main
from harness.cli.nightly_view import ENDING, NightlyView, block, still
from harness.deadline import Deadline
from harness.lab.live_nightly import LiveNightly, LiveRun, read_now
from harness.lab.nightly_state import CellOutcome
from harness.report.style import Style

PATIENCE = 60.0

RUN = LiveRun(
    cell="twin.default.two-nodes.cpu-and-dimm.1", host="vm", attempt=1, run="20261129-1", stage="boot", operation=0,
    operations=7, doing="", seconds=3.0, expected=100.0,
)  # fmt: skip

LIVE = LiveNightly(
    night="20261129", lab="demo", directory="nightly/20261129", host="vm", process=None, at=0.0, planned=8, over=3,
    counts={"holds": 2, "violated": 1}, parallel=2, running=[RUN], next=["twin.default.small.reset.2"], left=90.0,
    until=None, held="", ending=False,
)  # fmt: skip


def changed(**changes: object) -> LiveNightly:
    """The nightly run, changed."""
    return msgspec.structs.replace(LIVE, **changes)


def run(**changes: object) -> LiveRun:
    """The run, changed."""
    return msgspec.structs.replace(RUN, **changes)


@pytest.mark.parametrize("held", ["", "reserved"])
def test_exploring(held: str) -> None:
    """Once the runs are over, the block and the line say what is explored, and why no plan begins."""
    live = changed(
        running=[], next=[], over=8, left=None, exploring="host.process: 90 plans, 1 new finding", held=held
    )
    lines = block(live, width=79, height=22)
    assert lines[2:] == [
        "exploring host.process: 90 plans, 1 new finding",
        *(["no plan starts: this host is reserved"] if held else []),
    ]
    assert "; exploring host.process: 90 plans, 1 new finding" in still(live)


def test_the_block_says_what_runs_and_what_is_left() -> None:
    """The counts, the time left, each run's stage and time, and what comes next."""
    lines = block(LIVE, width=79, height=22, later=2.5)
    assert lines == [
        "Nightly run 20261129 of demo: 3 of 8 runs ended, 1 under way, about 1 min left",
        "[###########...................] 37 %  holds 2, violated 1",
        "  twin.default.two-nodes.cpu-and-dimm.1  boot                  0:05 of 1:40",
        "next: twin.default.small.reset.2",
    ]


@pytest.mark.parametrize("lab", ["demo", "walk2", "a-lab-with-a-long-name" * 5])
@pytest.mark.parametrize(
    ("left", "numbers"), [(8.0, "about 8 s left"), (30000.0, "about 8 h 20 min left"), (None, "under way")]
)
def test_a_long_first_line_loses_no_number(lab: str, left: float | None, numbers: str) -> None:
    """On 80 columns, the names are cut."""
    live = msgspec.structs.replace(LIVE, night="20261130-8", lab=lab, over=888, planned=1000, left=left)
    first = block(live, width=79, height=22)[0]
    assert len(first) <= 79
    assert f": 888 of 1000 runs ended, {len(live.running)} under way" in first
    assert first.endswith(numbers)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run": "", "stage": ""}, "starting"),
        ({"stage": "lease"}, "lease"),
        ({"stage": "", "operation": 2, "doing": "add-dimm"}, "2/7 add-dimm"),
        ({"stage": "", "operation": 2}, "2/7"),
        ({"stage": "", "operation": 7}, "ending"),
        ({"attempt": 2}, "again: boot"),
        ({"stage": "", "operation": 1, "doing": "\x1b[2J"}, "1/7 \\x1b[2J"),
    ],
)
def test_what_a_run_is_doing(changes: dict[str, object], words: str) -> None:
    """Its plan operation, else its stage; what a file says is escaped."""
    assert words == nightly_view.doing(run(**changes))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"held": "reserved by root until 18:00: a debugger"},
            "no run starts: this host is reserved by root until 18:00: a",
        ),
        ({"until": 32503679999.0}, "no run starts that is expected to end after "),
        ({"ending": True}, ENDING),
    ],
)
def test_why_nothing_starts_is_said(changes: dict[str, object], line: str) -> None:
    """A reservation, an end time, a signal."""
    assert any(each.startswith(line) for each in block(changed(**changes), width=79, height=22))


@pytest.mark.parametrize("many", [0, 1, 17, 18, 19, 300])
@pytest.mark.parametrize("host", ["vm", "another"])
def test_it_fits_a_small_terminal(many: int, host: str) -> None:
    """However many runs there are, and however long their names: 80 columns and 24 lines, with the number of the others."""
    running = [
        run(cell=f"{'windows-server-2025' * 4}.{number}", host=host if number else "vm")
        for number in range(many)
    ]
    lines = block(changed(running=running, next=["x" * 70] * 5, held="y" * 300), width=79, height=22)
    assert (True, True) == (max(map(len, lines)) <= 79, len(lines) <= 22)
    shown = sum("windows" in line for line in lines)
    assert (many == shown) or any(f"and {many - shown} more" in line for line in lines)
    assert (host != "vm" and many > 1) == any("another: " in line or "another: w" in line for line in lines)


def plain(*, quiet: bool = False) -> tuple[NightlyView, io.StringIO]:
    """A view on a stream that is not a terminal."""
    stream = io.StringIO()
    return NightlyView(stream, quiet=quiet, style=Style(colour=False)), stream


OUTCOME = CellOutcome(
    cell="twin.default.small.veto.1",
    state="done",
    verdict="violated",
    exit_code=1,
    reason="SYNC-FIRST: \x1b[2J",
    seconds=12.3,
)


def test_off_a_terminal_results_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each result, and one for a minute without any; a signal is answered once."""
    view, stream = plain()
    with view:
        view.over(OUTCOME, number=4, planned=8)
        view.now(LIVE)
        monkeypatch.setattr(nightly_view, "QUIET_S", 0.0)
        view.now(LIVE)
        view.now(changed(ending=True))
        view.complain("not in the result store yet", "Wait.")
        monkeypatch.setattr(nightly_view, "QUIET_S", 60.0)
        view.now(changed(ending=True))
    assert stream.getvalue().splitlines() == [
        "[4/8] violated  twin.default.small.veto.1  12 s  SYNC-FIRST: \\x1b[2J",
        "[3/8] 3 of 8 runs ended, 1 under way, about 1 min left: twin.default.two-nodes.cpu-and-dimm.1 boot 3 s",
        ENDING,
        "harness: not in the result store yet",
        "  Wait.",
    ]


def test_quiet_shows_complaints_only(capsys: pytest.CaptureFixture[str]) -> None:
    """As --json wants it."""
    view, stream = plain(quiet=True)
    with view:
        view.over(OUTCOME, number=4, planned=8)
        view.now(LIVE)
        view.complain("not in the result store yet", "Wait.")
    assert ("", "harness: not in the result store yet\n  Wait.\n") == (
        stream.getvalue(),
        capsys.readouterr().err,
    )


def test_on_a_terminal_only_results_stay() -> None:
    """The block is redrawn below them, and is gone at the end."""
    stream = io.StringIO()
    with NightlyView(stream, terminal=True, style=Style(colour=False)) as view:
        view.now(LIVE)
        Deadline(PATIENCE, "the block is drawn").poll(lambda: "under way" in stream.getvalue())
        view.over(OUTCOME, number=4, planned=8)
        view.now(changed(over=4))
        Deadline(PATIENCE, "it is drawn again").poll(lambda: "4 of 8 runs ended" in stream.getvalue())
    assert ["violated  twin.default.small.veto.1  12 s  SYNC-FIRST: \\x1b[2J", ""] == screen(
        stream.getvalue()
    )


def test_the_block_does_not_list_a_run_that_has_ended() -> None:
    """A result is counted at once, also before the next state, and an older state does not bring its run back."""
    stream = io.StringIO()
    ended = run(cell=OUTCOME.cell, seconds=70.0)
    with NightlyView(stream, terminal=True, style=Style(colour=False)) as view:
        view.now(changed(running=[RUN, ended]))
        view.over(OUTCOME, number=4, planned=8)
        for state in (None, changed(running=[RUN, ended])):
            if state is not None:
                view.now(state)
            lines = view._block()
            assert ["4 of 8 runs ended, 1 under way" in lines[0], "violated 2" in lines[1]] == [True, True]
            assert [RUN.cell in lines[2], any(OUTCOME.cell in line for line in lines)] == [True, False]


def test_the_times_of_an_old_state_do_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nightly run that waits for its store shows no run of 6 s with more than a minute."""
    with NightlyView(io.StringIO(), terminal=True, style=Style(colour=False)) as view:
        view.now(changed(running=[run(seconds=6.0)]))
        now = nightly_view.time.monotonic() + 64
        monkeypatch.setattr(nightly_view.time, "monotonic", lambda: now)
        assert view._block()[2].endswith("0:11 of 1:40")


class Session:
    """A command on a pseudo-terminal of 80 columns and 24 lines. ``text`` is all that it has shown."""

    def __init__(self, *words: str) -> None:
        self._terminal, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(inside)
        self.inside = inside
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness", *words],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env=os.environ | {"TERM": "xterm", "NO_COLOR": "1"},
            start_new_session=True,
        )
        self._said = bytearray()
        os.set_blocking(self._terminal, False)

    @property
    def text(self) -> str:
        """All that was shown so far."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._terminal, 1 << 16):
                self._said += data
        return self._said.decode("utf-8").replace("\r\n", "\n")

    def until(self, met: Callable[[str], bool], what: str) -> None:
        """Wait until what was shown is as it should be."""
        Deadline(PATIENCE, what).poll(lambda: met(self.text))

    def wait(self) -> int:
        """Return the exit code; what it shows meanwhile is read."""
        Deadline(PATIENCE, "the command ends").poll(lambda: (self.text, self.process.poll())[1] is not None)
        return self.process.wait()

    def close(self) -> None:
        """End what still runs, and close the terminal."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._terminal)
        os.close(self.inside)


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A lab of one QEMU that does nothing until the file ``gate`` is there, and then fails."""
    for variable, name in (
        ("XDG_STATE_HOME", "state"),
        ("HOTPLUG_HARNESS_LEASES", "leases"),
    ):
        monkeypatch.setenv(variable, str(tmp_path / name))
    program = tmp_path / "qemu"
    program.write_text(
        '#!/bin/sh\ntest "$1" = --version && echo "QEMU emulator version 8.2.0" && exit 0\n'
        f"while ! test -e {tmp_path}/gate; do sleep 0.2; done\nexit 7\n"
    )
    program.chmod(0o755)
    file = tmp_path / "lab.toml"
    file.write_text(
        'accel = "tcg"\nuntil = "20h"\n[[qemu]]\nname = "slow"\npath = "./qemu"\n[[plan]]\nplan = "veto"\n'
    )
    return file


def nightly(file: Path, *options: str) -> list[str]:
    """Return the words of a command for a nightly run called n."""
    return ["nightly", *options, "--lab", str(file), "--into", str(file.parent / "kept"), "--name", "n"]


def shows_stage(text: str) -> bool:
    """Tell whether a view shows the stage of the run."""
    return re.search(r"twin\.slow\.default\.veto\.1 +qemu ", text) is not None


@pytest.fixture
def session() -> Iterator[Callable[..., Session]]:
    """Start commands on terminals of their own."""
    with contextlib.ExitStack() as stack:

        def start(*words: str) -> Session:
            found = Session(*words)
            stack.callback(found.close)
            return found

        yield start


@pytest.mark.qemu
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_every_signal_leaves_the_terminal_clean(
    slow: Path, session: Callable[..., Session], number: signal.Signals
) -> None:
    """The block is gone, whole lines stay, the terminal's settings are as they were, and no code hid the cursor."""
    shown = session(*nightly(slow, "--once"))
    shown.until(shows_stage, "the run's stage is shown")
    shown.process.send_signal(number)
    assert 128 + number == shown.wait()
    lines = screen(shown.text)
    assert ("", False, False) == (
        lines[-1],
        any("under way" in line for line in lines),
        "\x1b[?" in shown.text,
    )
    assert any("1 run is left; the same command continues with it." in line for line in lines)
    assert shown.before == termios.tcgetattr(shown.inside)
    assert read_now(slow.parent / "kept" / "n") is None


@pytest.mark.qemu
def test_a_second_terminal_watches(
    slow: Path, session: Callable[..., Session], capsys: pytest.CaptureFixture[str]
) -> None:
    """It shows the same runs and the result, ends with the nightly run, and its end changes nothing."""
    first = session(*nightly(slow, "--once"))
    first.until(shows_stage, "the run's stage is shown")
    assert 0 == main([*nightly(slow, "--watch"), "--json"])
    document = msgspec.json.decode(capsys.readouterr().out)
    assert [1, "twin.slow.default.veto.1", "qemu"] == [
        document["version"],
        document["running"][0]["cell"],
        document["running"][0]["stage"],
    ]
    left, watching = (session(*nightly(slow, "--watch")) for _ in range(2))
    for each in (left, watching):
        each.until(shows_stage, "the second terminal shows it")
    left.process.send_signal(signal.SIGINT)
    assert 130 == left.wait()
    (slow.parent / "gate").touch()
    assert [69, 0] == [first.wait(), watching.wait()]
    *lines, last = screen(watching.text)
    assert ("", True) == (last, lines[-1].startswith("The nightly run has ended: "))
    assert 1 == sum(line.startswith("infrastructure  twin.slow.default.veto.1") for line in lines)
    assert main(nightly(slow, "--watch")) == 64
    assert "the nightly run 'n' is not under way" in capsys.readouterr().err


@pytest.mark.qemu
def test_a_nightly_run_that_was_killed_is_not_under_way(slow: Path, session: Callable[..., Session]) -> None:
    """Its file stays. A terminal that watches it says that it is over, and the same command goes on with it."""
    first = session(*nightly(slow, "--once"))
    first.until(shows_stage, "the run's stage is shown")
    watching = session(*nightly(slow, "--watch"))
    watching.until(shows_stage, "the second terminal shows it")
    first.process.kill()
    assert 0 == watching.wait()
    assert "The nightly run has ended: " in watching.text
    (slow.parent / "gate").touch()
    again = session(*nightly(slow, "--once"))
    assert (69, True) == (again.wait(), "1 of 1 runs" in again.text)


def test_nothing_to_watch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is no nightly run, or no directory of them."""
    assert main(["nightly", "--watch", "--into", str(tmp_path / "none")]) == 64
    assert "no nightly run is under way in" in capsys.readouterr().err
