# SPDX-License-Identifier: MIT
"""The release program: what it refuses, and that it builds the project twice to the same bytes."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from release import NotReady, build_twice, problems, version_of

import harness

ROOT = Path(__file__).resolve().parents[1]

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "hotplug-harness"
version = "{version}"
[tool.hatch.build.targets.wheel]
packages = ["harness"]
[tool.hatch.build.targets.sdist]
only-include = ["harness", "CHANGELOG.md"]
"""


def git(folder: Path, *words: str) -> str:
    """Run git in ``folder`` as somebody."""
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    return subprocess.run(
        ["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small project of all tests, committed once."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "harness").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT.format(version="1.2.3"))
    (folder / "harness" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (folder / "CHANGELOG.md").write_text(
        "# Changelog\n\n## 1.2.3, 2026-11-29\n\n- new\n\n## 1.2.2, 2026-10-01\n"
    )
    git(folder, "init", "-q", "--template=")  # without git's examples of hooks
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "all")
    return folder


@pytest.fixture
def tree(made: Path, tmp_path: Path) -> Path:
    """A small project that is ready to be released as 1.2.3."""
    return shutil.copytree(made, tmp_path / "tree")


def test_a_tree_that_is_ready(tree: Path) -> None:
    """Nothing is said, also when its own commit has the tag already."""
    assert [] == problems(tree)
    git(tree, "tag", "v1.2.3")
    assert [] == problems(tree)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("CHANGELOG.md", "## 1.2.3, not released\n", "says 'not released' of 1.2.3: write the date"),
        ("CHANGELOG.md", "## 1.2.2, 2026-10-01\n", "begins with 1.2.2: begin it with 1.2.3"),
        ("CHANGELOG.md", "", "begins with no version"),
        ("harness/__init__.py", '__version__ = "1.2.2"\n', "has version 1.2.3, harness/__init__.py 1.2.2"),
        ("harness/new.py", "", "not committed (harness/new.py)"),
    ],
)
def test_a_tree_that_is_not_ready(file: str, text: str, said: str, tree: Path) -> None:
    """Each reason is said with what to do."""
    (tree / file).write_text(text)
    if "new" not in file:
        git(tree, "commit", "-qam", "change")
    (reason,) = problems(tree)
    assert said in reason


def test_a_version_that_was_released_before(tree: Path) -> None:
    """A tag on another commit keeps its meaning."""
    git(tree, "tag", "v1.2.3")
    git(tree, "commit", "-q", "--allow-empty", "-m", "more")
    (reason,) = problems(tree)
    assert "the tag v1.2.3 is on" in reason


def test_a_tree_is_built_twice_to_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    """Its sdist and wheel are of the commit, not of what lies in the tree besides. test_wheel.py builds the project so."""
    (tree / "harness" / "new.py").touch()
    sdist, wheel = build_twice(tree, tmp_path / "dist")
    with zipfile.ZipFile(wheel) as archive, tarfile.open(sdist) as packed:
        names = [*archive.namelist(), *(name.partition("/")[2] for name in packed.getnames())]
    assert [2, 0] == [names.count(f"harness/{name}.py") for name in ("__init__", "new")]
    assert {sdist, wheel} == set((tmp_path / "dist").iterdir())


def test_a_build_that_differs_is_refused(tree: Path, tmp_path: Path) -> None:
    """A file that has the path of the build in it is noticed."""
    (tree / "hatch_build.py").write_text(
        "from hatchling.builders.hooks.plugin.interface import BuildHookInterface\n"
        "class Hook(BuildHookInterface):\n"
        "    PLUGIN_NAME = 'custom'\n"
        "    def initialize(self, version, build_data):\n"
        "        open(self.root + '/harness/where.txt', 'w').write(self.root)\n"
    )
    with (tree / "pyproject.toml").open("a") as file:
        file.write("[tool.hatch.build.hooks.custom]\n")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "hook")
    with pytest.raises(NotReady, match=r"differ|not the same"):
        build_twice(tree, tmp_path / "dist")


def test_the_version_stands_in_two_places_that_agree() -> None:
    """The metadata's version is the code's."""
    assert version_of(ROOT) == harness.__version__
