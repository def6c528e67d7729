# SPDX-License-Identifier: MIT
"""Runtime directories are short, private and never left behind."""

from __future__ import annotations

import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.host import runtime
from harness.host.runtime import LONGEST_SOCKET_PATH, RuntimeDirectory


def test_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made where XDG_RUNTIME_DIR says, for its owner alone, and gone after remove, which may be called twice."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    directory = RuntimeDirectory()
    assert tmp_path == directory.path.parent
    assert 0o700 == stat.S_IMODE(directory.path.stat().st_mode)
    directory.remove()
    directory.remove()
    assert not directory.path.exists()


@pytest.mark.parametrize("named", ["relative", "", "/" + "x" * 100, "/no/such/place"])
def test_an_unusable_place_is_passed_over(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    """A relative, overlong or missing place is no reason to fail, and every socket's path stays short."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", named)
    directory = RuntimeDirectory()
    assert len(str(directory.path / ("s" * 15))) <= LONGEST_SOCKET_PATH
    directory.remove()


def test_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that nobody removed goes with its object."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    directory = RuntimeDirectory()
    path = directory.path
    del directory
    assert not path.exists()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose path leaves room for sockets, wherever pytest has its own."""
    with tempfile.TemporaryDirectory(prefix="hh-") as path:
        yield Path(path)


def test_a_killed_owner_leaves_it_to_be_collected_at_once(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory whose owner was killed a moment ago is abandoned; one that is in use, or is being made, is not."""
    monkeypatch.setattr(runtime, "_bases", lambda: [short_path])
    program = (
        "import os, signal, sys; from pathlib import Path; from harness.host import runtime;"
        "runtime._bases = lambda: [Path(sys.argv[1])]; kept = runtime.RuntimeDirectory();"
        "print(kept.path, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, str(short_path)], capture_output=True, text=True, check=False
    )
    used = RuntimeDirectory()
    (short_path / f"{runtime.NEW}{'0' * 16}").mkdir()
    assert [Path(killed.stdout.strip())] == runtime.abandoned()
    used.remove()


def test_no_place_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no usable place the message lists what was tried and how to name another."""
    monkeypatch.setattr(runtime, "_bases", lambda: [Path("/nonexistent"), Path("/" + "x" * 90)])
    with pytest.raises(
        InfrastructureError, match=r"/nonexistent \(No such file or directory\), .* \(path too long\)"
    ) as refused:
        RuntimeDirectory()
    assert "XDG_RUNTIME_DIR" in refused.value.hint


def test_removes_only_its_like(tmp_path: Path) -> None:
    """Another name, a link or a file is never removed."""
    (tmp_path / "other").mkdir()
    (tmp_path / "hotplug-link").symlink_to(tmp_path / "other")
    (tmp_path / "hotplug-file").touch()
    for path in sorted(tmp_path.iterdir()):
        runtime.remove(path)
    assert ["hotplug-file", "hotplug-link", "other"] == sorted(path.name for path in tmp_path.iterdir())
