# SPDX-License-Identifier: MIT
"""The environment: what its key depends on, and building one for real from a small lock file, without an index."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.errors import InfrastructureError, UsageError
from harness.setup.cache import Cache
from harness.setup.environment import KIND, Environment, base_python, key, stage, usable
from harness.setup.progress import Progress

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


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Two made packages, and the pip that the Python under test brings itself."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    program = "import ensurepip, os; print(os.path.dirname(ensurepip.__file__)); print(ensurepip._WHEEL_PKG_DIR or '')"
    asked = subprocess.run([base_python(), "-c", program], capture_output=True, text=True, check=False)
    places = [Path(line) for line in asked.stdout.splitlines() if line]
    own = [file for place in places for file in (*place.glob("pip-*.whl"), *place.glob("_bundled/pip-*.whl"))]
    if not own:
        pytest.skip(f"{base_python()} has no ensurepip with a pip of its own: apt-get install python3-venv")
    (folder / own[0].name).write_bytes(own[0].read_bytes())
    files = [folder / own[0].name, wheel(folder, "setuptools"), wheel(folder, "measured")]
    lock = tmp_path / "python.txt"
    lock.write_text(
        "# a comment\n"
        + "".join(
            "{}=={} \\\n    --hash=sha256:{}\n".format(
                *file.name.split("-")[:2], hashlib.sha256(file.read_bytes()).hexdigest()
            )
            for file in files
        )
    )
    return Index(folder, lock)


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


def test_an_environment_holds_what_is_locked_and_is_built_once(index: Index, tmp_path: Path) -> None:
    """Another clone's copy of the lock file leads to the same place, and nothing is said or built for it."""
    said = io.StringIO()
    place = environment(index, tmp_path / "cache", said).place()
    found = subprocess.run(
        [place / "bin" / "python", "-c", "import measured, setuptools; print(setuptools.__file__)"],
        env={"PATH": os.defpath}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert place in Path(found.stdout).parents
    assert f"lab: building the Python environment in {place}" in said.getvalue()
    again = io.StringIO()
    copy = index._replace(lock=tmp_path / "copy.txt")
    copy.lock.write_bytes(index.lock.read_bytes())
    assert (place, "") == (environment(copy, tmp_path / "cache", again).place(), again.getvalue())
    # Moved away, it is none any more: its programs name the path that it was built at.
    (tmp_path / "cache").rename(tmp_path / "elsewhere")
    moved = Cache(tmp_path / "elsewhere", print)
    assert (None, None) == (usable(moved, KIND, place.name), moved.ready(KIND, place.name))


def test_a_file_that_is_not_the_locked_one_is_refused(index: Index, tmp_path: Path) -> None:
    """An index that serves another file under the same name and version gets nothing installed."""
    wheel(index.folder, "setuptools").open("ab").write(b"more")
    with pytest.raises(InfrastructureError, match="pip could not install") as caught:
        environment(index, tmp_path / "cache").place()
    assert "not the one that was locked" in caught.value.hint
    assert [] == list((tmp_path / "cache" / KIND).glob("*/complete.json"))


def test_a_lock_file_that_is_none_is_said_so(index: Index, tmp_path: Path) -> None:
    """Without the packages that install the others, it is wrong usage."""
    index.lock.write_text("measured==1.0\n")
    with pytest.raises(UsageError, match="is not a lock file of this project: 'pip'"):
        environment(index, tmp_path / "cache").place()


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
