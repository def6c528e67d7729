# SPDX-License-Identifier: MIT
"""What a run leaves can be read by its owner only, whatever the umask, and is called by names that no guest chose."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from limited_files import limited_files

from harness.history.private import keep_private, open_private, replacing, write_private
from harness.history.run_directory import RunDirectory

MADE = {
    "run.json", "history.jsonl", "verdict.json", "qemu.log", "console.log", "debugcon.log", "environment.json", "plan.toml",
    "evidence",
}  # fmt: skip
"""What may lie in the run directory of a run that was violated."""


def harness(*words: str, code: int, **environment: str) -> None:
    """Run the harness under a umask that lets everybody read and write everything."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words], env={**os.environ, **environment}, umask=0, capture_output=True,
        check=False,
    )  # fmt: skip
    assert code == done.returncode, done.stderr


def opened(*places: Path) -> dict[str, str]:
    """Return the files and directories among these that others may do something with, and their modes."""
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in places}
    return {
        str(path): oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)
    }


@pytest.mark.qemu
def test_a_run_under_an_open_umask(tmp_path: Path) -> None:
    """A violated run with its evidence, its archive and its JUnit file: directories are 0700, files 0600."""
    runs, state = tmp_path / "runs", tmp_path / "state"
    harness(
        "demo", "--restore", "--accel", "tcg", "--runs", str(runs), "--inject-fault", "complete-before-start", "--private-leases",
        code=1, XDG_STATE_HOME=str(state),
    )  # fmt: skip
    (directory,) = [path for path in runs.iterdir() if path.is_dir() and not path.is_symlink()]
    archive, junit = tmp_path / "run.tar.gz", tmp_path / "junit.xml"
    harness("evidence", "pack", str(directory), "--out", str(archive), code=0)
    harness("check", str(directory), "--junit", str(junit), code=1)
    assert {} == opened(directory, *directory.rglob("*"), archive, junit, *state.glob("hotplug-harness/*"))
    assert set() == {path.name for path in directory.iterdir()} - MADE
    assert (directory / "evidence" / "registers.txt").exists()
    facts = RunDirectory(directory).facts()
    assert "--private-leases" == facts.private_leases
    assert state / "hotplug-harness" == Path(facts.leases).parent


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """A file that is made, and one that was there and open to all, end up readable by their owner only."""
    there = tmp_path / "there"
    there.touch()
    there.chmod(0o666)
    before = os.umask(umask)
    try:
        keep_private(there)
        os.close(open_private(tmp_path / "made", os.O_WRONLY))
    finally:
        os.umask(before)
    assert [0o600, 0o600] == [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("there", "made")]


def test_a_link_in_a_drafts_place_is_not_followed(tmp_path: Path) -> None:
    """Nobody who knows the name of a file to be can have another one written, or read half of it."""
    victim, target = tmp_path / "victim", tmp_path / "report.xml"
    (tmp_path / ".report.xml.new").symlink_to(victim)
    target.symlink_to(victim)
    write_private(target, "text")
    assert not victim.exists()
    assert [False, b"text"] == [target.is_symlink(), target.read_bytes()]


def test_what_is_not_finished_is_not_there(tmp_path: Path) -> None:
    """A write that fails leaves the old file, and no draft."""
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(OSError, match="too large"), limited_files(1 << 20), replacing(target) as file:
        file.truncate((1 << 20) + 1)
    assert ["old", ["file"]] == [target.read_text(), [path.name for path in tmp_path.iterdir()]]


def test_a_pipe_is_written_as_it_is(tmp_path: Path) -> None:
    """What is no regular file is not replaced."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        write_private(pipe, b"text")
        assert b"text" == reader.read()


def test_what_other_programs_wrote_becomes_private(tmp_path: Path) -> None:
    """Whatever QEMU and others wrote into the run directory is its owner's at the end; a link's target is left alone."""
    run, outside = tmp_path / "run", tmp_path / "outside"
    (run / "evidence").mkdir(parents=True)
    outside.touch()
    for path in (run / "evidence" / "screen.png", outside):
        path.touch()
        path.chmod(0o644)
    (run / "link").symlink_to(outside)
    RunDirectory(run).make_private()
    assert {} == opened(run / "evidence", run / "evidence" / "screen.png")
    assert 0o644 == stat.S_IMODE(outside.stat().st_mode)
