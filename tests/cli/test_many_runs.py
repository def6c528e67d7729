# SPDX-License-Identifier: MIT
"""harness check of many long runs, as a process of its own: a bar, an interruption, a sudden end.

What is interrupted is forked from a process that has loaded it. What writes to a terminal is started by its program.
"""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest
from forked_command import Forked
from report.records import hot_add

from harness.deadline import Deadline
from harness.history.record import Qmp, Record
from harness.interrupts import ENDING

PROGRAM = [sys.executable, "-c", "import sys; from harness.cli.main import main; sys.exit(main())"]
LONG = 6000
"""Records of a history that takes a while; one of them is 1 KiB."""


MANY = 400
"""Runs that take longer to judge than any test waits, so that whoever is interrupted is in the midst of it."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Many runs of 6 MiB, one history under as many names."""
    place = tmp_path_factory.mktemp("runs")
    run = hot_add().records
    filler = Qmp(direction="in", message={"event": "X" * 1000}, host_ns=run[-1].host_ns)
    records: list[Record] = [*run[:-1], *[filler] * LONG, run[-1]]
    first = place / "0"
    first.mkdir()
    (first / "history.jsonl").write_bytes(
        b"".join(
            msgspec.json.encode(msgspec.structs.replace(record, n=number)) + b"\n"
            for number, record in enumerate(records, 1)
        )
    )
    names = [place / str(number) for number in range(MANY)]
    for name in names[1:]:
        name.mkdir()
        os.link(first / "history.jsonl", name / "history.jsonl")
    return names


Checking = tuple[Forked, list[psutil.Process]]


@pytest.fixture
def checking(runs: list[Path], start_forked: Callable[..., Forked]) -> Checking:
    """harness check in a session of its own, with the processes that judge for it."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    process = start_forked("check", "--json", *map(str, runs))
    parent = psutil.Process(process.pid)
    workers = Deadline(20, "starting to judge").poll(
        lambda: found if len(found := parent.children()) >= 2 else None, interval=0.002
    )
    return process, workers


def wait_for_the_end(workers: list[psutil.Process]) -> None:
    """Return once none of them runs; that somebody has asked how it ended, which may take a while, is not needed."""

    def ended(worker: psutil.Process) -> bool:
        try:
            return not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    Deadline(20, "the end of the processes").poll(lambda: all(map(ended, workers)))


def interrupted(number: signal.Signals) -> str:
    """What is said of a signal."""
    return f"harness: interrupted{'' if number is signal.SIGINT else f' by {number.name}'}\n"


@pytest.mark.parametrize("number", ENDING)
def test_a_terminal_s_signal_ends_all_processes_at_once(checking: Checking, number: signal.Signals) -> None:
    """One line, 128 + the number, no output half-way, and nobody left; a terminal signals all of them."""
    process, workers = checking
    os.killpg(process.pid, number)
    out, err = (text.decode() for text in process.communicate(20))
    assert [128 + number, interrupted(number)] == [process.returncode, err]
    assert [interrupted(number), 128 + number] == [
        f"harness: {json.loads(out)['error']['message']}\n",
        json.loads(out)["exit_code"],
    ]
    wait_for_the_end(workers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ending_the_command_alone_ends_all(checking: Checking, number: signal.Signals) -> None:
    """A CI system that signals only the command leaves nothing behind either."""
    process, workers = checking
    process.send_signal(number)
    _, err = (text.decode() for text in process.communicate(20))
    assert [128 + number, interrupted(number)] == [process.returncode, err]
    wait_for_the_end(workers)


def test_processes_end_with_a_command_that_was_killed(checking: Checking) -> None:
    """Not even SIGKILL leaves a process that judges for nobody."""
    process, workers = checking
    process.kill()
    process.wait(20)
    wait_for_the_end(workers)


def read_all(descriptor: int) -> str:
    """Everything that was written to a terminal until it was closed."""
    told = b""
    try:
        while piece := os.read(descriptor, 65536):
            told += piece
    except OSError:
        # How a pseudoterminal says that nobody has it open any more.
        pass
    return told.decode()


@pytest.mark.parametrize(("options", "bar"), [([], True), (["--json"], False), (["--full"], False)])
def test_a_terminal_shows_a_bar_and_the_output_is_whole(
    runs: list[Path], tmp_path: Path, options: list[str], bar: bool
) -> None:
    """The bar goes to standard error only; the table that goes into a file is all there."""
    ours, theirs = pty.openpty()
    # Into a file: a pipe that nobody reads while the terminal is read would fill up.
    with (tmp_path / "out").open("wb") as out, subprocess.Popen(
        [*PROGRAM, "check", *options, *map(str, runs[:2]), "/nothing"], stdout=out, stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(theirs)
        told = read_all(ours)
        process.wait(30)
    os.close(ours)
    text = (tmp_path / "out").read_text()
    assert [bar, bar] == ["of 3 runs" in told, "\x1b[" in told]
    assert [64, True] == [process.returncode, "/nothing" in text]
    if not options:
        assert "3 runs: 2 hold, 1 unreadable; exit code 64\n" in text
