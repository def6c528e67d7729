# SPDX-License-Identifier: MIT
"""``python -m tests.fresh``: scripts stand for mmdebstrap, so that making a root can fail, hang and be interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InfrastructureError
from tests.fresh.__main__ import fresh, main

ROOT = Path(__file__).resolve().parents[2]
HANGS = (
    'for place; do case $place in */root) mkdir -p "$place"; touch "$place/half";; esac; done\nsleep 600\n'
)


class Program:
    """The program with a cache of its own and a stand-in for mmdebstrap."""

    def __init__(self, directory: Path) -> None:
        self.base = directory / "cache" / "fresh"
        self._bin = directory / "bin"
        self._bin.mkdir()
        self.environment = {
            **os.environ,
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOTPLUG_HARNESS_CACHE": str(directory / "cache"),
        }
        self.started: list[subprocess.Popen[str]] = []

    def mmdebstrap(self, body: str) -> None:
        path = self._bin / "mmdebstrap"
        path.write_text(f"#!/bin/sh\n{body}")
        path.chmod(0o755)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "tests.fresh", *arguments]
        options = {"env": self.environment, "cwd": ROOT, **options}
        self.started.append(
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
        )
        return self.started[-1]

    def run(self, *arguments: str) -> tuple[int, str]:
        program = self.start(*arguments)
        text, _ = program.communicate(timeout=100)
        return program.returncode, text

    def places(self) -> list[Path]:
        return list(self.base.glob("root-*"))

    def half_made(self) -> bool:
        return any((place / "root" / "half").exists() for place in self.places())


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    for each in made.started:
        if each.poll() is None:
            each.kill()
        each.communicate()


@pytest.mark.root
def test_a_root_that_cannot_be_made_says_why(program: Program) -> None:
    """The last words of mmdebstrap, exit code 69, and nothing left."""
    program.mmdebstrap("echo 'E: the mirror is gone' >&2\nexit 25\n")
    status, text = program.run()
    assert 69 == status
    assert "fresh: making the root: 'mmdebstrap' failed: exit status 25" in text
    assert "E: the mirror is gone" in text
    assert [] == program.places()


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_program_removes_its_root(
    program: Program, number: signal.Signals, wait_until: Callable[[Callable[[], object]], None]
) -> None:
    """Exit code 130, without a traceback."""
    program.mmdebstrap(HANGS)
    running = program.start()
    wait_until(program.half_made)
    running.send_signal(number)
    text, _ = running.communicate(timeout=60)
    assert (130, "fresh: interrupted; nothing is left\n") == (running.returncode, text)
    assert [] == program.places()


@pytest.mark.root
def test_what_a_killed_program_left_is_removed_by_the_next(
    program: Program, wait_until: Callable[[Callable[[], object]], None]
) -> None:
    """A killed program can remove nothing; the next one does, whatever becomes of itself."""
    program.mmdebstrap(HANGS)
    running = program.start()
    wait_until(program.half_made)
    running.kill()
    running.communicate(timeout=60)
    left = program.places()
    assert 1 == len(left)
    program.mmdebstrap("exit 1\n")
    status, text = program.run()
    assert 69 == status
    assert f"fresh: removing what an earlier run left: {left[0]}" in text
    assert [] == program.places()


@pytest.mark.parametrize("arguments", [["--suite", "jessie"], ["--demo"], ["bookworm"]])
def test_wrong_usage_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With the way to write it."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert 2 == caught.value.code
    assert capsys.readouterr().err.startswith("usage: tox -e fresh --")


def test_only_root_may_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user is told so at once, and what to type."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InfrastructureError) as caught:
        fresh("bookworm", demo_only=True, keep=False)
    assert 69 == caught.value.exit_code
    assert "only root can make a root" in str(caught.value)
    assert "sudo ./lab shell -c 'tox run -e fresh'" in str(caught.value)
