# SPDX-License-Identifier: MIT
"""The revision: read from real repositories in each of their forms, and from what was built."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.revision import BUILT, revision


def git(folder: Path, *words: str) -> str:
    """Run git in ``folder`` without the settings of the user."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main")
    return subprocess.run(
        ["git", *who, *words], cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with one commit on a branch whose name has a slash."""
    folder = tmp_path / "clone"
    (folder / "harness").mkdir(parents=True)
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    git(folder, "checkout", "-q", "-b", "area/new+x")
    return folder


def words(folder: Path) -> str:
    """Return what is said of a clone at the commit that git itself names."""
    return f"clone at {git(folder, 'rev-parse', 'HEAD')[:12]}"


def test_each_form_of_a_repository_is_read(clone: Path, tmp_path: Path) -> None:
    """A branch, packed references, no branch at all, a linked worktree with a branch of its own."""
    package = clone / "harness"
    assert words(clone) == revision(package)
    git(clone, "pack-refs", "--all")
    assert words(clone) == revision(package)
    git(clone, "commit", "-q", "--allow-empty", "-m", "second")
    assert words(clone) == revision(package)
    git(clone, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"), "HEAD~1")
    (tmp_path / "linked" / "harness").mkdir()
    assert words(tmp_path / "linked") == revision(tmp_path / "linked" / "harness") != words(clone)
    git(clone, "checkout", "-q", "--detach", "HEAD~1")
    assert words(clone) == revision(package) == revision(tmp_path / "linked" / "harness")


def test_what_was_built_says_its_own_revision(clone: Path) -> None:
    """An installed package may lie in a repository of somebody else's."""
    (clone / "harness" / BUILT).write_text("0123456789ab, with changes that are not committed\n")
    assert "revision 0123456789ab, with changes that are not committed" == revision(clone / "harness")


def test_without_a_repository_nothing_is_said(tmp_path: Path) -> None:
    """Neither is a repository that begins further up: it is another project's."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("0" * 40)
    (tmp_path / "site-packages" / "harness").mkdir(parents=True)
    assert "" == revision(tmp_path / "site-packages" / "harness")


@given(
    st.dictionaries(
        st.sampled_from(["HEAD", "packed-refs", "commondir", "refs/heads/main"]), st.binary(max_size=80)
    )
)
def test_no_repository_breaks_the_command(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    """Whatever its files hold, there are words or none."""
    folder = tmp_path_factory.mktemp("broken")
    for name, content in files.items():
        (folder / ".git" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / ".git" / name).write_bytes(content)
    assert revision(folder / "harness").startswith("clone at ") or not revision(folder / "harness")
