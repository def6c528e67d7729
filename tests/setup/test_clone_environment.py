# SPDX-License-Identifier: MIT
"""The clone environment: a clone over a real environment, with its own code, entry points and programs."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.errors import UsageError
from harness.setup.cache import Cache
from harness.setup.clone_environment import CloneEnvironment, key, variables
from harness.setup.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
TOX = importlib.util.find_spec("tox")
assert TOX is not None
assert TOX.origin is not None
BASE = Path(TOX.origin).parents[4]
"""The environment that holds the packages of this one, by a virtual environment of its own under ./lab."""

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "hotplug-harness"
version = "{version}"
dependencies = {dependencies}
[project.scripts]
harness = "harness:main"
[project.entry-points.pytest11]
hotplug_harness = "harness"
[tool.hatch.build.targets.wheel]
packages = ["harness"]
[tool.ruff]
line-length = {length}
"""

CODE = """
import sys

def main():
    print(__file__, sys.prefix)

def pytest_report_header():
    return f"the plugin of {__file__}"
"""


def project(
    directory: Path, *, version: str = "1", dependencies: Sequence[str] = ("msgspec",), length: int = 100
) -> Path:
    """Write a clone: its pyproject.toml, its package and its tox.ini."""
    (directory / "harness").mkdir(parents=True, exist_ok=True)
    text = PROJECT.format(version=version, dependencies=json.dumps(dependencies), length=length)
    (directory / "pyproject.toml").write_text(text)
    (directory / "harness" / "__init__.py").write_text(CODE)
    (directory / "harness" / "__main__.py").write_text("from harness import main\nmain()\n")
    shutil.copy(ROOT / "tox.ini", directory)
    return directory


STARTED_BY_TOX = {
    **os.environ,
    "TOX_WORK_DIR": "/nowhere",
    "TOX_ENV_NAME": "py",
    "TOX_ENV_DIR": "/nowhere/py",
}


def clone_environment(clone: Path, root: Path, said: io.StringIO | None = None, **more: str) -> Path:
    """Return the place of a clone's environment, set up by who was started by tox, with variables more."""
    progress = Progress(said or io.StringIO())
    environment = {**STARTED_BY_TOX, **more}
    return CloneEnvironment(clone, BASE, Cache(root, progress.say, space=0), environment, progress).place()


def output(*command: str | Path, cwd: Path) -> str:
    """Return what a program prints that a user starts without any variable of this process."""
    environment = {"PATH": os.defpath, "HOME": str(cwd)}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


SERVICES = ("CI", "GITHUB_ACTIONS", "TF_BUILD")
"""Variables by which tox knows a CI service."""


class Clone(NamedTuple):
    """A clone that was set up, with what setting it up said. ``shared`` is what the environment below held before."""

    directory: Path
    cache: Path
    place: Path
    said: str
    shared: dict[str, int]


def held() -> dict[str, int]:
    """Return what lies in the environment that clones share: its programs, packages and their metadata, by their times."""
    found = {}
    for folder in (BASE / "bin", Path(TOX.origin or "").parents[1]):
        for each in folder.iterdir():
            # What Python compiles changes the time of a package's directory.
            whole = each.is_file() or each.suffix == ".dist-info"
            found[str(each)] = each.lstat().st_mtime_ns if whole else 0
    return found


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone that asks for a package that is not locked besides one that is."""
    root = tmp_path_factory.mktemp("one")
    clone = project(root / "clone", version="1.5", dependencies=("msgspec", "no-such-package>=1"))
    shared, said = held(), io.StringIO()
    place = clone_environment(clone, root / "cache", said, **dict.fromkeys(SERVICES, ""))
    return Clone(clone, root / "cache", place, said.getvalue(), shared)


FOUND = """
import importlib.metadata as metadata, importlib.util as util
(plugin,) = metadata.entry_points(group="pytest11", name="hotplug_harness")
print(metadata.version("hotplug-harness"), util.find_spec("tox").origin, plugin.load().__file__)
"""


def test_a_clone_shares_the_packages_and_nothing_else(one: Clone, tmp_path: Path) -> None:
    """It has its own code under every way to start it, its own plugin and version, and the packages are the same files.

    Other clones have theirs in the same way: what they share holds what it held before, and their places differ.
    """
    place, code = one.place, one.directory / "harness" / "__init__.py"
    for command in (["harness"], ["python", "-m", "harness"], ["python", "-I", "-m", "harness"]):
        assert f"{code} {place}" == output(place / "bin" / command[0], *command[1:], cwd=tmp_path)
    (tmp_path / "test_one.py").write_text("def test_one(): pass\n")
    # Plugins that it would find as well, and that take as long as pytest itself.
    without = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist")
    header = output(place / "bin" / "pytest", *without, "test_one.py", cwd=tmp_path)
    assert f"the plugin of {code}" in header
    asked = output(place / "bin" / "python", "-c", FOUND, cwd=tmp_path)
    assert f"1.5 {TOX.origin} {code}" == asked
    assert {"py", "lint"} <= {path.name for path in (place / "tox").iterdir()}
    assert place == clone_environment(one.directory, one.cache)
    assert one.shared == held()


def test_a_clone_is_used_on_a_ci_service(one: Clone) -> None:
    """There tox lists what is installed before it runs anything, when it makes its environment as here and in each run after.

    By which variable tox knows the service is its own matter (tox: util/ci.py, is_ci). This is the one that it passes on.
    """
    service = {**dict.fromkeys(SERVICES, ""), "CI": "true", "VIRTUALENV_NO_SEED": "1"}
    ended = subprocess.run(
        [one.place / "bin" / "tox", "run", "--recreate", "-e", "py", "--notest"],
        cwd=one.directory,
        env={**variables(one.place, os.environ), **service},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert "hotplug-harness==1.5" in ended.stdout


def test_a_dependency_that_is_not_locked_is_said(one: Clone) -> None:
    """The clone is set up all the same, since ./lab runs the command that locks it. What is locked is not named."""
    assert "requires no-such-package, which is not installed" in one.said
    assert "./lab shell -c 'tox run -e lock'" in one.said
    assert 1 == one.said.count("which is not installed")


def test_a_clone_that_was_moved_is_set_up_anew(tmp_path: Path) -> None:
    """Another path, dependency or shared environment is another clone environment; another setting of a linter is not."""
    here = key(project(tmp_path / "here"), BASE)
    assert here == key(project(tmp_path / "here", length=80), BASE)
    others = {
        key(project(tmp_path / "here", dependencies=("rich",)), BASE),
        key(project(tmp_path / "there"), BASE),
        key(project(tmp_path / "here"), tmp_path / "environment"),
    }
    assert len(others | {here}) == 4


@pytest.mark.parametrize(("text", "message"), [(None, r"pyproject\.toml"), ("[project\n", "line 1")])
def test_a_checkout_with_a_broken_pyproject_is_said_so(
    text: str | None, message: str, tmp_path: Path
) -> None:
    """The message names the file that should be there, or the line with the merge conflict."""
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        key(tmp_path, Path(sys.prefix))


def test_what_leads_python_or_pip_astray_is_hidden_and_nothing_else(tmp_path: Path) -> None:
    """The user's index stays; a PYTHONPATH, a pip target or a constraint does not reach the environment."""
    seen = variables(
        tmp_path,
        {"PATH": "/bin", "PIP_INDEX_URL": "i", "PYTHONPATH": "p", "PIP_TARGET": "t", "PIP_CONSTRAINT": "c"},
    )
    assert f"{tmp_path}/bin:/bin" == seen["PATH"]
    assert "i" == seen["PIP_INDEX_URL"]
    assert not {"PYTHONPATH", "PIP_TARGET", "PIP_CONSTRAINT"} & set(seen)
