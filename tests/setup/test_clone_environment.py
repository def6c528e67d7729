# SPDX-License-Identifier: MIT
"""The clone environment: two clones over one real environment, each with its own code, entry points and programs."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import subprocess
import sys
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
dependencies = ["{dependency}"]
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


def project(directory: Path, *, version: str = "1", dependency: str = "msgspec", length: int = 100) -> Path:
    """Write a clone: its pyproject.toml, its package and its tox.ini."""
    (directory / "harness").mkdir(parents=True, exist_ok=True)
    text = PROJECT.format(version=version, dependency=dependency, length=length)
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


class TwoClones(NamedTuple):
    """Two clones over the same packages, with what setting them up said."""

    root: Path
    places: dict[str, Path]
    """Where the clone of each version is set up."""
    said: dict[str, str]

    def clone(self, version: str) -> Path:
        """Return the directory of a clone."""
        return self.root / f"clone{version}"

    @property
    def cache(self) -> Path:
        """The cache that they share."""
        return self.root / "cache"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> TwoClones:
    """Clone 1.5 is set up on a CI service. Clone 2.5 is set up by a user, and asks for a package that is not locked."""
    made = TwoClones(tmp_path_factory.mktemp("two"), {}, {})
    project(made.clone("1.5"), version="1.5")
    project(made.clone("2.5"), version="2.5", dependency="no-such-package>=1")
    for version, service in (("1.5", "true"), ("2.5", "")):
        said = io.StringIO()
        variables = {**dict.fromkeys(SERVICES, ""), "CI": service}
        made.places[version] = clone_environment(made.clone(version), made.cache, said, **variables)
        made.said[version] = said.getvalue()
    return made


def test_two_clones_share_the_packages_and_nothing_else(two: TwoClones, tmp_path: Path) -> None:
    """Each has its own code under every way to start it, its own plugin and version; the packages are the same files."""
    (tmp_path / "test_one.py").write_text("def test_one(): pass\n")
    for version, place in two.places.items():
        code = two.clone(version) / "harness" / "__init__.py"
        for command in (["harness"], ["python", "-m", "harness"], ["python", "-I", "-m", "harness"]):
            assert f"{code} {place}" == output(place / "bin" / command[0], *command[1:], cwd=tmp_path)
        header = output(place / "bin" / "pytest", "-p", "no:cacheprovider", "test_one.py", cwd=tmp_path)
        assert f"the plugin of {code}" in header
        asks = "import importlib.metadata as m, importlib.util as u; print(m.version('hotplug-harness'), u.find_spec('tox').origin)"
        assert f"{version} {TOX.origin}" == output(place / "bin" / "python", "-c", asks, cwd=tmp_path)
        assert {"py", "lint"} <= {path.name for path in (place / "tox").iterdir()}
    assert two.places["1.5"] == clone_environment(two.clone("1.5"), two.cache)


def test_a_clone_is_used_on_a_ci_service(two: TwoClones) -> None:
    """There tox lists what is installed before it runs anything, when it makes its environment and in each run after.

    By which variable tox knows the service is its own matter (tox: util/ci.py, is_ci). This is the one that it passes on.
    """
    place = two.places["1.5"]
    service = {**dict.fromkeys(SERVICES, ""), "CI": "true", "VIRTUALENV_NO_SEED": "1"}
    ended = subprocess.run(
        [place / "bin" / "tox", "run", "--recreate", "-e", "py", "--", "--version"],
        cwd=two.clone("1.5"),
        env={**variables(place, os.environ), **service},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert "hotplug-harness==1.5" in ended.stdout


def test_a_dependency_that_is_not_locked_is_said(two: TwoClones) -> None:
    """The clone is set up all the same, since ./lab runs the command that locks it."""
    assert "requires no-such-package, which is not installed" in two.said["2.5"]
    assert "./lab shell -c 'tox run -e lock'" in two.said["2.5"]
    assert "which is not installed" not in two.said["1.5"]


def test_a_clone_that_was_moved_is_set_up_anew(tmp_path: Path) -> None:
    """Another path, dependency or shared environment is another clone environment; another setting of a linter is not."""
    here = key(project(tmp_path / "here"), BASE)
    assert here == key(project(tmp_path / "here", length=80), BASE)
    others = {
        key(project(tmp_path / "here", dependency="rich"), BASE),
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
