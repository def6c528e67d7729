# SPDX-License-Identifier: MIT
"""What a run leaves can be read by its owner only, whatever the umask, and is called by names that no guest chose."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness.history.private import keep_private, open_private

MADE = {
    "run.json", "history.jsonl", "verdict.json", "qemu.log", "console.log", "debugcon.log", "environment.json", "plan.toml",
}  # fmt: skip
"""What may lie in the run directory of a run that went well."""


@pytest.mark.qemu
def test_a_run_under_an_open_umask(tmp_path: Path) -> None:
    """Directories are 0700, files 0600, though the umask would let everybody read and write all of it."""
    runs = tmp_path / "runs"
    state = tmp_path / "state"
    done = subprocess.run(
        [sys.executable, "-m", "harness", "demo", "--accel", "tcg", "--runs", str(runs)],
        env={**os.environ, "XDG_STATE_HOME": str(state)},
        umask=0,
        capture_output=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    (directory,) = [path for path in runs.iterdir() if path.is_dir() and not path.is_symlink()]
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in [directory, *directory.rglob("*")]}
    open_ones = {
        str(path): oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)
    }
    assert {} == open_ones
    assert set() == {path.name for path in directory.iterdir()} - MADE
    registry = state / "hotplug-harness" / "machines"
    assert 0o700 == stat.S_IMODE(registry.stat().st_mode)


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
