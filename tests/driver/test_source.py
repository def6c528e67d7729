# SPDX-License-Identifier: MIT
"""The revision and the digest of the driver's sources are theirs, wherever the package lies."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.driver.source import digest_of_folders, driver_folder, makefile, revision

IDENTITY = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(folder: Path, *words: str) -> str:
    """Run git in a folder and return what it prints."""
    command = ["git", "-c", "init.defaultBranch=main", *words]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | IDENTITY, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Somebody's repository with a commit, which ignores the environment in it."""
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text(".venv/\n")
    git(tmp_path, "add", ".gitignore")
    git(tmp_path, "commit", "-q", "-m", "x")
    return tmp_path


@pytest.mark.parametrize("place", [".venv/harness/data/guest_drivers", "vendored"])
def test_somebody_elses_revision_is_not_that_of_the_sources(repository: Path, place: str) -> None:
    """Sources that the repository around them does not have, ignored or not, are of no revision."""
    folder = repository / place
    folder.mkdir(parents=True)
    (folder / "driver.c").write_text("")
    assert "" == revision(folder, Deadline(30, "test"))


def test_sources_of_a_repository_have_its_revision(repository: Path) -> None:
    """Tracked sources carry the commit, and say when they differ from it."""
    folder = repository / "sources"
    folder.mkdir()
    (folder / "driver.c").write_text("")
    git(repository, "add", "sources")
    git(repository, "commit", "-q", "-m", "y")
    head = git(repository, "rev-parse", "HEAD")
    clean = revision(folder, Deadline(30, "test"))
    (folder / "driver.c").write_text("changed")
    assert [head, f"{head}-dirty"] == [clean, revision(folder, Deadline(30, "test"))]


def test_the_digest_is_that_of_the_sources_alone(tmp_path: Path) -> None:
    """A copy elsewhere has the same digest, also after an installer compiled its Python files; a change has another."""
    here = digest_of_folders(driver_folder(), ("src", "tools"))
    copy = tmp_path / "site-packages" / "hpnotify"
    shutil.copytree(driver_folder(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    compiled = copy / "tools" / "__pycache__"
    compiled.mkdir()
    (compiled / "manifest.cpython-311.pyc").write_bytes(b"x")
    there = digest_of_folders(copy, ("src", "tools"))
    (copy / "src" / "driver.c").write_text("")
    assert [here, True] == [there, here != digest_of_folders(copy, ("src", "tools"))]


@pytest.mark.parametrize(("place", "linked"), [("plain", False), ("John Doe", True)])
def test_make_works_where_the_package_lies(tmp_path: Path, place: str, linked: bool) -> None:
    """A path with a space, which make would take apart, is reached through a link, and there make builds."""
    folder = tmp_path / place / "hpnotify"
    for name in ("src", "nt", "host"):
        shutil.copytree(driver_folder() / name, folder / name)
    out = tmp_path / "out"
    out.mkdir()
    found = makefile(folder, "host", out)
    command = ["make", "-s", "-f", found, f"OUT={out}", "SANITIZE=", out / "src" / "line.o"]
    subprocess.run(command, check=True, capture_output=True)
    assert [linked, True] == [(out / "sources").is_symlink(), (out / "src" / "line.o").is_file()]
