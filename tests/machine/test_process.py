# SPDX-License-Identifier: MIT
"""A spawned process: its end is seen at once, told apart, and leaves nothing behind."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.host.registry import ProcessName
from harness.machine.process import LONGEST_WORDS, ExitReport, Process


def spawn(tmp_path: Path, script: str) -> tuple[Process, threading.Event]:
    """Run a shell script; the event is set when the process told of its end."""
    told = threading.Event()
    process = Process(["sh", "-c", script], tmp_path / "log", ended=told.set)
    assert not process.running
    process.spawn()
    return process, told


def test_exit_status_and_words(tmp_path: Path) -> None:
    """Status and both output streams of a process that ended by itself."""
    process, told = spawn(tmp_path, "echo one; echo two >&2; exit 3")
    assert process.wait(10)
    assert told.wait(10)
    assert ExitReport(asked=False, status=3, by="itself") == process.report()
    assert "one\ntwo" == process.words()


def test_death_by_signal(tmp_path: Path) -> None:
    """A signal that we did not send is a death, with its name."""
    process, _ = spawn(tmp_path, "kill -SEGV $$")
    assert process.wait(10)
    assert "ended by itself, killed by SIGSEGV" == str(process.report())


def test_asked(tmp_path: Path) -> None:
    """A process that we asked to end did not die."""
    process, _ = spawn(tmp_path, "exec sleep 60")
    process.ask("SIGTERM")
    process.signal(signal.SIGTERM)
    assert process.wait(10)
    assert ExitReport(asked=True, status=-signal.SIGTERM, by="SIGTERM") == process.report()


def test_group_ends_with_its_leader(tmp_path: Path) -> None:
    """Children that a wrapper leaves behind are ended with it."""
    note = tmp_path / "child"
    process, _ = spawn(tmp_path, f"sleep 60 & echo $! > {note}; exit 0")
    assert process.wait(10)
    child = int(note.read_text())
    Deadline(10, "the child's end").poll(lambda: ProcessName.of(child) is None)


def test_words_are_bounded_and_harmless(tmp_path: Path) -> None:
    """Only the last 4 KiB are kept, control characters do not reach a terminal."""
    process, _ = spawn(tmp_path, r"head -c 100000 /dev/zero; printf 'end\033[2J'")
    assert process.wait(10)
    assert process.words().endswith("end?[2J")
    assert len(process.words()) <= LONGEST_WORDS


def test_words_of_this_process_only(tmp_path: Path) -> None:
    """What an earlier process left in the log is not this one's."""
    (tmp_path / "log").write_text("old\n")
    process, _ = spawn(tmp_path, "echo new")
    assert process.wait(10)
    assert "new" == process.words()


def test_unwritable_log(tmp_path: Path) -> None:
    """A log that cannot be written is said, and nothing is spawned."""
    with pytest.raises(InfrastructureError, match="cannot write"):
        Process(["true"], tmp_path / "nowhere" / "log", ended=lambda: None)
