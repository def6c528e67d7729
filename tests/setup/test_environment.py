# SPDX-License-Identifier: MIT
"""The environment: what its key depends on, and building one for real from a small lock file, without an index."""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.deadline import Deadline
from harness.errors import InfrastructureError, UsageError
from harness.setup.cache import Cache
from harness.setup.environment import (
    KIND,
    Environment,
    _pip_hint,
    base_python,
    expect,
    key,
    stage,
    usable,
)
from harness.setup.progress import Progress
from harness.setup.step import run

CLONE = Path(__file__).parents[2]


def wheel(folder: Path, name: str) -> Path:
    """Make a wheel of one module, whose version is 1.0."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(
            f"{about}/RECORD", f"{name}.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n"
        )
    return path


class Index(NamedTuple):
    """A folder of wheels, and a lock file for them."""

    folder: Path
    lock: Path

    @property
    def environment(self) -> dict[str, str]:
        """This process's variables, with pip led to the folder alone."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        only = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.folder), "PIP_CONFIG_FILE": os.devnull}
        return kept | only


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Two made packages, and the pip that the Python under test brings itself."""
    folder = tmp_path_factory.mktemp("index") / "wheels"
    folder.mkdir()
    program = "import ensurepip, os; print(os.path.dirname(ensurepip.__file__)); print(ensurepip._WHEEL_PKG_DIR or '')"
    asked = subprocess.run([base_python(), "-c", program], capture_output=True, text=True, check=False)
    places = [Path(line) for line in asked.stdout.splitlines() if line]
    own = [file for place in places for file in (*place.glob("pip-*.whl"), *place.glob("_bundled/pip-*.whl"))]
    if not own:
        pytest.skip(f"{base_python()} has no ensurepip with a pip of its own: apt-get install python3-venv")
    (folder / own[0].name).write_bytes(own[0].read_bytes())
    files = [folder / own[0].name, wheel(folder, "setuptools"), wheel(folder, "measured")]
    lock = folder.parent / "python.txt"
    lock.write_text(locked(*files))
    return Index(folder, lock)


def locked(*files: Path) -> str:
    """The text of a lock file for wheels."""
    return "# a comment\n" + "".join(
        "{}=={} \\\n    --hash=sha256:{}\n".format(
            *file.name.split("-")[:2], hashlib.sha256(file.read_bytes()).hexdigest()
        )
        for file in files
    )


class Built(NamedTuple):
    """An environment, the cache that it is in, and what building it said."""

    place: Path
    cache: Path
    said: str


@pytest.fixture(scope="module")
def built(index: Index, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The environment of the index, built for real."""
    cache = tmp_path_factory.mktemp("built") / "cache"
    said = io.StringIO()
    place = environment(index, cache, said).place()
    return Built(place, cache, said.getvalue())


def environment(index: Index, root: Path, said: io.StringIO | None = None) -> Environment:
    """An environment in the cache at ``root``."""
    progress = Progress(said or io.StringIO())
    return Environment(index.lock, Cache(root, progress.say, space=0), index.environment, progress)


def test_the_key_has_the_lock_and_the_python_and_no_path_of_a_clone(tmp_path: Path) -> None:
    """Two clones with the same lock file share; another version, hash or Python is another environment."""
    for name, text in (("here", "a==1"), ("there", "a==1"), ("newer", "a==2")):
        (tmp_path / name).write_text(text)
    here = key(tmp_path / "here", sys.executable)
    assert here == key(tmp_path / "there", sys.executable)
    assert len({here, key(tmp_path / "newer", sys.executable), key(tmp_path / "here", "/usr/bin/other")}) == 3


def test_an_environment_holds_what_is_locked_and_is_built_once(
    index: Index, built: Built, tmp_path: Path
) -> None:
    """Another clone's copy of the lock file leads to the same place, and nothing is said or built for it."""
    found = subprocess.run(
        [built.place / "bin" / "python", "-c", "import measured, setuptools; print(setuptools.__file__)"],
        env={"PATH": os.defpath}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert built.place in Path(found.stdout).parents
    assert f"lab: building the Python environment in {built.place}" in built.said
    again = io.StringIO()
    copy = index._replace(lock=tmp_path / "copy.txt")
    copy.lock.write_bytes(index.lock.read_bytes())
    assert (built.place, "") == (environment(copy, built.cache, again).place(), again.getvalue())


def test_an_environment_that_was_moved_is_none(built: Built, tmp_path: Path) -> None:
    """Its programs name the path that it was built at."""
    assert built.place == usable(Cache(built.cache, print), KIND, built.place.name)
    marker = (built.place / "complete.json").read_bytes()
    moved = Cache(built.cache.rename(tmp_path / "elsewhere"), print)
    try:
        assert (None, None) == (usable(moved, KIND, built.place.name), moved.ready(KIND, built.place.name))
    finally:
        moved.root.rename(built.cache)
        (built.place / "complete.json").write_bytes(marker)


def test_a_file_that_is_not_the_locked_one_is_refused(index: Index, built: Built, tmp_path: Path) -> None:
    """What installed the packages installs none that the index serves in another file under the same name and version.

    That an environment without its packages is none is seen in ``test_lab.py``.
    """
    other = wheel(tmp_path, "other")
    lock = tmp_path / "other.txt"
    lock.write_text(locked(other))
    other.open("ab").write(b"more")
    (log,) = (built.cache / "log").glob(f"{KIND}-*.log")
    *_, last = (line[2:] for line in log.read_text().splitlines() if line.startswith("$ "))
    command = [str(lock) if word == str(index.lock) else word for word in shlex.split(last)]
    assert str(lock) in command
    asked = index.environment | {"PIP_FIND_LINKS": str(tmp_path)}
    ended = run(command, tmp_path / "log", Deadline(60, "a test"), environment=asked)
    with pytest.raises(InfrastructureError, match="pip could not install") as caught:
        expect(ended, "pip could not install", _pip_hint(ended), tmp_path / "log")
    assert "not the one that was locked" in caught.value.hint
    assert [] == list(built.place.glob("lib/*/site-packages/other*"))


def test_a_lock_file_that_is_none_is_said_so(index: Index, tmp_path: Path) -> None:
    """Without the packages that install the others, it is wrong usage."""
    none = index._replace(lock=tmp_path / "python.txt")
    none.lock.write_text("measured==1.0\n")
    with pytest.raises(UsageError, match="is not a lock file of this project: 'pip'"):
        environment(none, tmp_path / "cache").place()


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("", "starting pip"),
        ("Collecting a==1 (from -r x)\n  Downloading a\nCollecting b-c==2\n", "downloading b-c, 2 of 9"),
        ("Collecting a==1\n  Building wheel for a (pyproject.toml): started\n", "building a"),
        ("Collecting a==1\nInstalling collected packages: a, b\n", "installing 9 packages"),
    ],
)
def test_what_pip_does_is_told(printed: str, words: str) -> None:
    """The last thing that pip began counts."""
    assert words == stage(printed, 9)
