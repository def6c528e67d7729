# SPDX-License-Identifier: MIT
"""Programs as child processes: what they wrote, how they ended, and that nothing of them is left."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import program
from harness.deadline import Deadline
from harness.errors import InfrastructureError, MissingPart
from harness.program import (
    LAST_LINES,
    ProgramResult,
    describe,
    end_program,
    printed_last,
    run_program,
    start_program,
)

FAMILY = "echo $$ > leader; trap '' TERM; (trap '' TERM; echo > ready; read line < never) & wait"
"""A program and its child, which both ignore SIGTERM, once ``ready`` is read."""

RUNNER = f"""
from harness.deadline import Deadline
from harness.program import run_program

run_program(["sh", "-c", {FAMILY!r}], Deadline(60, "the test"))
"""


def soon(seconds: float = 20) -> Deadline:
    """A deadline that a program on a busy machine keeps."""
    return Deadline(seconds, "the test")


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """Where the family of processes meets."""
    for name in ("ready", "never"):
        os.mkfifo(tmp_path / name)
    return tmp_path


def gone(family: Path) -> bool:
    """Return once nothing of the family runs: its group has no member."""
    leader = int((family / "leader").read_text())

    def ended() -> bool:
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return True
        return False

    return soon().poll(ended)


def test_output_is_one_text_or_two() -> None:
    """Both streams come in one text, or each in its own."""
    command = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    assert ProgramResult(3, "out\nerr\n") == run_program(command, soon())
    assert ProgramResult(3, "out\n", "err\n") == run_program(command, soon(), apart=True)


def test_there_is_no_input_unless_it_is_given(tmp_path: Path) -> None:
    """A program that reads finds the end at once, or what it is given."""
    assert ProgramResult(0, "") == run_program(["cat"], soon())
    file = tmp_path / "data"
    file.write_bytes(b"given")
    with file.open("rb") as data:
        assert ProgramResult(0, "given") == run_program(["cat"], soon(), data=data)


def test_words_are_in_the_c_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read from programs does not depend on the user's language."""
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert "C\n" == run_program(["sh", "-c", "echo $LC_ALL"], soon()).output


def test_only_the_last_output_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without end of words takes a bounded amount of memory."""
    monkeypatch.setattr(program, "LARGEST_OUTPUT", 1000)
    output = run_program(["sh", "-c", "yes | head -c 1000000; echo end"], soon()).output
    assert (1000, True) == (len(output), output.endswith("y\nend\n"))


def test_nothing_is_left_after_the_deadline(family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names program and time; what ignores SIGTERM, a grandchild too, is killed."""
    monkeypatch.setattr(program, "GRACE", 0.1)
    reader = subprocess.Popen(["cat", "ready"], cwd=family)
    with pytest.raises(InfrastructureError, match=r"the test: 'sh' did not end within 1 s"):
        run_program(["sh", "-c", FAMILY], soon(1), cwd=family)
    reader.wait()
    assert gone(family)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Leave no descriptor below 1024 free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, hard), hard))
    opened = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while opened[-1] < 1024:
            opened.append(os.dup(opened[0]))
        yield
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_program_is_ended_with_many_files_open(family: Path) -> None:
    """A descriptor above 1023, which select() does not take, is as good as another."""
    reader = subprocess.Popen(["cat", "ready"], cwd=family)
    with pytest.raises(InfrastructureError, match=r"the test: 'sh' did not end within 1 s"):
        run_program(["sh", "-c", FAMILY], soon(1), cwd=family)
    reader.wait()
    assert gone(family)


def test_nothing_is_left_after_ctrl_c(family: Path) -> None:
    """The program is out of the terminal's reach, so the one who waits for it ends it."""
    process = subprocess.Popen([sys.executable, "-c", RUNNER], cwd=family, stderr=subprocess.DEVNULL)
    (family / "ready").read_text()
    process.send_signal(signal.SIGINT)
    assert (-signal.SIGINT, True) == (process.wait(timeout=20), gone(family))


def test_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is Debian's package unless the caller knows better."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPart, match="the test needs 'qemu-img', which is not installed") as caught:
        run_program(["qemu-img"], soon())
    assert "Install it with: sudo apt-get install qemu-utils" == caught.value.hint
    with pytest.raises(MissingPart) as caught:
        run_program(["qemu-img"], soon(), supply="Build it.")
    assert "Build it." == caught.value.hint


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"#!/no/such/interpreter\n", MissingPart, "interpreter is missing"),
        (b"\0\1", InfrastructureError, "Exec format error"),
    ],
)
def test_file_that_cannot_be_run(
    tmp_path: Path, content: bytes, error: type[InfrastructureError], message: str
) -> None:
    """A file that is there is not called missing."""
    file = tmp_path / "program"
    file.write_bytes(content)
    file.chmod(0o755)
    with pytest.raises(error, match=f"cannot run '{file}': .*{message}"):
        run_program([file], soon())


def test_null_byte_is_an_error_of_the_caller() -> None:
    """A name with a null byte, which a TOML document can hold, is no program that could be missing."""
    with pytest.raises(InfrastructureError, match="cannot run 'true': embedded null byte"):
        run_program(["true", "a\0b"], soon())


def test_missing_directory_is_not_a_missing_program(tmp_path: Path) -> None:
    """The error of the system is the same for both; the message is not."""
    with pytest.raises(InfrastructureError, match="there is no directory") as caught:
        run_program(["true"], soon(), cwd=tmp_path / "nowhere")
    assert InfrastructureError is type(caught.value)


def test_end_waits_before_it_kills() -> None:
    """A program that ends when its input does is not killed while there is patience."""
    child = start_program(["cat"], "the test", stdin=program.PIPE)
    assert child.stdin is not None
    child.stdin.close()
    end_program(child, patience=20)
    assert 0 == child.returncode


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "exit status 0"), (1, "exit status 1"), (-9, "killed by SIGKILL"), (-63, "killed by signal 63")],
)
def test_describe(status: int, words: str) -> None:
    """Statuses in words."""
    assert words == describe(status)


def test_failure_is_the_status_and_the_last_words() -> None:
    """Of a child's traceback only what it says remains."""
    output = (
        'one\nTraceback (most recent call last):\n  File "x", line 1\n    f()\nOSError: No space left\n\n'
    )
    assert "exit status 1\n    one\n    OSError: No space left" == ProgramResult(1, output).failure()


@pytest.mark.parametrize(("output", "line"), [("gcc 14.2 \nCopyright", "gcc 14.2"), ("", ""), ("\n\n", "")])
def test_first_line(output: str, line: str) -> None:
    """A program may print nothing, too."""
    assert line == ProgramResult(0, output).first_line


def test_only_the_end_of_a_file_is_read(tmp_path: Path) -> None:
    """However large it is; and nothing that lies before the start."""
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.seek(1 << 40)
        file.write(b"the end")
    assert ["end", "nd"] == [printed_last(log, 3), printed_last(log, 3, start=(1 << 40) + 5)]


@given(st.text())
def test_last_words_are_few_and_short(output: str) -> None:
    """Whatever a child prints, its last words stay a screenful."""
    lines = ProgramResult(1, output).last_words().split("\n")
    assert (len(lines) - 1 <= LAST_LINES, max(map(len, lines)) <= 304) == (True, True)
