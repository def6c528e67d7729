# SPDX-License-Identifier: MIT
"""QEMU's version: found, refused when too old, and every way not to get one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.errors import ExitCode, InfrastructureError, MissingPart
from harness.host.qemu_build import OLDEST, find_qemu, parse


def program(path: Path, text: str) -> Path:
    """A real program that runs ``text`` in a shell."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@given(st.text(max_size=300))
def test_any_text_is_a_version_or_none(text: str) -> None:
    """No output breaks the parser."""
    found = parse(text)
    assert found is None or 3 == len(found)


@given(st.tuples(*[st.integers(0, 9999)] * 3), st.text(max_size=50))
def test_numbers_are_read(numbers: tuple[int, int, int], rest: str) -> None:
    """The three numbers come back whatever follows them."""
    assert numbers == parse(f"QEMU emulator version {numbers[0]}.{numbers[1]}.{numbers[2]} ({rest}")


def test_missing(tmp_path: Path) -> None:
    """A path without a program is a missing part, and the hint is the command that supplies it."""
    with pytest.raises(MissingPart, match="no program at") as missing:
        find_qemu(tmp_path / "nothing")
    assert "apt install qemu-system-x86" in missing.value.hint
    assert ExitCode.INFRASTRUCTURE == missing.value.exit_code


def test_not_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a program on PATH the message says that it is not installed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPart, match="qemu-system-x86_64 is not installed"):
        find_qemu()


def test_too_old(tmp_path: Path) -> None:
    """A QEMU older than the oldest supported is refused by number."""
    old = program(tmp_path / "old", "echo 'QEMU emulator version 5.2.0 (Debian 1:5.2)'")
    with pytest.raises(MissingPart, match=r"QEMU 5\.2\.0, too old: the harness needs 7\.2"):
        find_qemu(old)
    assert OLDEST == (7, 2)


def test_new_enough_and_remembered_until_changed(tmp_path: Path) -> None:
    """The answer is kept while the file stays the same, and asked for again when it changes."""
    path = tmp_path / "qemu"
    count = tmp_path / "count"
    say = f"echo run >> {count}; echo QEMU emulator version 9.1.2"
    program(path, say)
    assert ["9.1.2", "9.1.2"] == [find_qemu(path).version for _ in range(2)]
    assert 1 == len(count.read_text().splitlines())
    program(path, say.replace("9.1.2", "10.0.3"))
    assert "10.0.3" == find_qemu(str(path)).version


def test_no_qemu_at_all(tmp_path: Path) -> None:
    """A program that says something else is refused with what it said."""
    with pytest.raises(InfrastructureError, match="said 'hello'"):
        find_qemu(program(tmp_path / "other", "echo hello"))


def test_no_answer(tmp_path: Path) -> None:
    """A program that never answers costs the deadline and no more."""
    with pytest.raises(InfrastructureError, match=r"'.*mute' did not end within 0\.1 s"):
        find_qemu(program(tmp_path / "mute", "exec sleep 60"), Deadline(0.1, "test"))


def test_cannot_be_run(tmp_path: Path) -> None:
    """A program whose interpreter is gone is a missing part."""
    path = tmp_path / "broken"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    with pytest.raises(MissingPart, match="cannot run"):
        find_qemu(path)
