# SPDX-License-Identifier: MIT
"""A root: which clones it takes, and how commands end in it; ``tox -e fresh`` itself makes whole ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from tests.fresh.root import Root
from tests.fresh.settings import Settings

NOTHING = Settings("", "", {}, {}, [], {})


def git(place: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *words], cwd=place, check=True, capture_output=True)


def test_a_shallow_clone_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """What it lacks cannot be packed; many CI services clone so."""
    whole = tmp_path / "whole"
    whole.mkdir()
    git(whole, "init")
    for name in ("first", "second"):
        git(whole, "commit", "--allow-empty", "--message", name)
    git(tmp_path, "clone", "--depth=1", f"file://{whole}", "shallow")
    with pytest.raises(InfrastructureError, match=r"shallow is a shallow clone") as caught:
        Root(tmp_path, "bookworm", NOTHING).clone(tmp_path / "shallow")
    assert "git fetch --unshallow" in caught.value.hint


IN_NAMESPACE = """
import subprocess, sys
from pathlib import Path
from tests.fresh.root import CLONE, Root, left_running
from tests.fresh.settings import Settings

place = Path(sys.argv[1])
root = Root(place, "bookworm", Settings("", "", {}, {}, [], {"PIP_RETRIES": "7"}))
root.path.mkdir()

def mount(*words):
    subprocess.run(["mount", *words], check=True)

# This machine's own files, with another user and another home.
mount("--rbind", "/", root.path)
mount("-t", "tmpfs", "none", root.path / "home")
(root.path / CLONE[1:]).mkdir(parents=True)
for name, line in (("passwd", "user:x:54321:54321::/home/user:/bin/bash"), ("group", "user:x:54321:")):
    (place / name).write_text(Path("/etc", name).read_text() + line + "\\n")
    mount("--bind", place / name, root.path / "etc" / name)
print(root.run(sys.argv[2], float(sys.argv[3])), left_running(), flush=True)
"""


def run_in(place: Path, command: str, seconds: float = 30) -> str:
    """Run a command as the first process of a namespace does; return its exit status and what it left running."""
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c"]
    ended = subprocess.run(
        [*words, IN_NAMESPACE, str(place), command, str(seconds)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return ended.stdout.strip() or ended.stderr


@pytest.mark.root
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ('test "$(id -un) $PWD $HOME $PIP_RETRIES" = "user /home/user/hotplug-harness /home/user 7"', "0 []"),
        ("exit 7", "7 []"),
        ("kill -KILL $$", "137 []"),
        ("(setsid sleep 0.2 &); sleep 0.5; exit 3", "3 []"),
        ("(setsid sleep 600 >&- 2>&- &)", "0 ['sleep 600']"),
    ],
)
def test_a_command_ends_as_it_would_at_a_terminal(tmp_path: Path, command: str, expected: str) -> None:
    """It runs as the user in the clone; its exit status comes back; orphans are reaped, and those that run are seen."""
    assert expected == run_in(tmp_path, command)


@pytest.mark.root
def test_a_command_that_takes_too_long_is_named(tmp_path: Path) -> None:
    """The error says which it was and how long it had."""
    told = run_in(tmp_path, "sleep 60", 0.5)
    assert "'sleep 60' did not end within 0.5 s in the fresh root" in told
