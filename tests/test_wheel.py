# SPDX-License-Identifier: MIT
"""The wheel is the product: it has all that git has, and does the harness's work where there is no clone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pip
import pytest
from release import HOOKS, build, build_again

from harness.deadline import Deadline
from harness.guest.twin import image
from harness.package import data_folder
from harness.setup.cache import cache_directory

ROOT = Path(__file__).resolve().parents[1]
PIP = Path(pip.__file__).parent
DATA = ("guest_drivers", "vm_templates")


WHEN = "1796000000"
"""The time that files are built as of, in seconds."""

LITTLE_PACKED = f"""
import functools, gzip
gzip.GzipFile = functools.partial(gzip.GzipFile, compresslevel=1)
{HOOKS}"""
"""Builds an sdist of the same files, compressed the least. To compress it the most takes as long as the rest of a build.

``tests/release.py`` builds as the project's files are built, by ``tox run -e release`` and in ``test_release.py``.
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sdist of the clone, and the wheel that pip makes of it offline."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: it comes with the extra 'dev'")
    folder = tmp_path_factory.mktemp("built")
    (sdist,) = build(ROOT, folder / "sdist", WHEN, ["sdist"], hooks=LITTLE_PACKED)
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-deps",
         "--no-build-isolation", "--no-index", "--wheel-dir", folder, ROOT],
        env={**os.environ, "SOURCE_DATE_EPOCH": WHEN}, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return [sdist, wheel]


@pytest.fixture(scope="module")
def wheel(built: list[Path]) -> Path:
    """The wheel of the clone."""
    return built[1]


@pytest.fixture(scope="module")
def python(wheel: Path) -> Iterator[Path]:
    """The Python of a fresh environment, without libvirt, in which the wheel is installed and can only be read.

    What it depends on is that of this environment. Nearly all that pip would compile is used by none of the tests.
    """
    place = Path(tempfile.mkdtemp(prefix="hh-"))
    try:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], check=True)
        found = place / "venv" / "bin" / "python"
        (packages,) = (place / "venv").glob("lib/python*/site-packages")
        dependencies = place / "dependencies"
        dependencies.mkdir()
        for each in Path(pytest.__file__).parents[1].iterdir():
            if not each.name.startswith(("libvirt", "hotplug_harness", "_hotplug_harness", "__")):
                (dependencies / each.name).symlink_to(each)
        (packages / "dependencies.pth").write_text(f"{dependencies}\n")
        subprocess.run(
            # As pip's option --python has another Python run it, which takes two processes.
            [found, PIP, "--quiet", "--disable-pip-version-check", "install",
             "--no-compile", "--no-deps", "--no-index", wheel],
            check=True, capture_output=True,
        )  # fmt: skip
        before = state(packages)
        subprocess.run(["chmod", "-R", "a-w", packages], check=True)
        yield found
        assert before == state(packages), "something was written into the installed package"
    finally:
        subprocess.run(["chmod", "-R", "u+w", place], check=True)
        shutil.rmtree(place)


def state(folder: Path) -> dict[str, int]:
    """Return every file of a folder with the time of its last change, what Python compiles left out."""
    return {
        str(path.relative_to(folder)): path.lstat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def run(
    python: Path, *words: str | Path, place: Path, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a module of the installed package in a directory of the user's own, with the programs of ``path``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "PYTHON", "HOTPLUG_DRIVER", "VIRTUAL_ENV"))
    }
    if path is not None:
        kept["PATH"] = path
    return subprocess.run(
        [python, "-m", *words], cwd=place, env=kept, capture_output=True, text=True, timeout=170, check=False
    )


def in_git(*folders: str) -> set[str]:
    """Return the files of the project that git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *folders],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("this copy of the project is not a git checkout: there is nothing to compare with")
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the package's files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


def test_wheel_has_what_git_has(wheel: Path) -> None:
    """No file of the package or of its data is missing, none that git ignores is there, and their bytes are the same."""
    expected = {name: (ROOT / name).read_bytes() for name in in_git("harness")}
    expected |= {f"harness/data/{name}": (ROOT / name).read_bytes() for name in in_git(*DATA)}
    found = contents(wheel)
    assert found.pop("harness/revision.txt")  # which commit it was built from: written by the build
    assert sorted(expected) == sorted(found)
    assert [] == [name for name in expected if expected[name] != found[name]]


def test_both_files_are_the_same_when_they_are_built_again(built: list[Path], tmp_path: Path) -> None:
    """The sdist is enough, in another place, with another umask and time zone. It names the commit, and its links are files."""
    sdist, wheel = built
    with tarfile.open(sdist) as packed:
        names = [name.partition("/")[2] for name in packed.getnames()]
        assert [] == [member.name for member in packed.getmembers() if not member.isfile()]
    assert [1, 1] == [names.count(name) for name in ("hatch_build.py", "CHANGELOG.md")]
    build_again(built, tmp_path, WHEN, LITTLE_PACKED)
    if (ROOT / ".git").exists():
        assert 1 == names.count("revision.txt")
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout[:12]
        with zipfile.ZipFile(wheel) as archive:
            revision = archive.read("harness/revision.txt").decode()
        assert revision in (f"{commit}\n", f"{commit}, with changes that are not committed\n")


def test_libvirt_is_an_extra(wheel: Path) -> None:
    """The wheel requires libvirt-python with its extra alone."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    (required,) = (line for line in lines if line.startswith("Requires-Dist: libvirt-python"))
    assert required.endswith("; extra == 'libvirt'")


def test_templates_are_listed(python: Path, tmp_path: Path) -> None:
    """The wheel has the templates of the clone."""
    done = run(python, "harness", "template", "list", place=tmp_path)
    names = sorted(path.parent.name for path in data_folder("vm_templates").glob("*/template.toml"))
    assert (0, names) == (done.returncode, [line.split()[0] for line in done.stdout.splitlines()])


def test_doctor_says_what_is_missing(python: Path, tmp_path: Path) -> None:
    """It runs from the wheel, and names the extra for libvirt, which does not keep the main job from running.

    Only the programs that it finds for the main job are on PATH: it would ask each of all others for its version, too.
    """
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("qemu-system-x86_64", "gcc", "make", "apt-get", "dpkg-deb"):
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    done = run(python, "harness", "doctor", "--json", place=tmp_path, path=str(programs))
    document = json.loads(done.stdout)
    parts = {part["name"]: part for part in document["parts"]}
    assert document["ready"] == (done.returncode == 0)
    assert ["missing", False, "pip install 'hotplug-harness[libvirt]'"] == [
        parts["libvirt-python"][key] for key in ("state", "needed", "supply")
    ]


def test_what_needs_libvirt_names_the_extra(python: Path, tmp_path: Path) -> None:
    """The run stops before it builds or starts anything."""
    done = run(python, "harness", "run", "veto", "--backend", "libvirt", place=tmp_path)
    assert (69, True) == (
        done.returncode,
        "Install it with: pip install 'hotplug-harness[libvirt]'" in done.stderr,
    )
    assert "image" not in done.stderr


@pytest.mark.host
def test_veto_runs_in_a_process(python: Path, tmp_path: Path) -> None:
    """The driver is compiled from the wheel's sources into the cache, and the run holds."""
    done = run(python, "harness", "run", "veto", "--guest", "host", place=tmp_path)
    assert (0, True) == (done.returncode, "HOLDS" in done.stdout), done.stderr
    assert ["runs"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.qemu
def test_demo_runs_on_the_twin(python: Path, tmp_path: Path) -> None:
    """The main job holds, and the image is that of the clone: its digest does not depend on where the sources lie."""
    done = run(python, "harness", "demo", "--accel", "tcg", "--restore", place=tmp_path)
    assert (0, True) == (done.returncode, "HOLDS" in done.stdout), done.stderr
    written = json.loads((tmp_path / "runs" / "latest" / "run.json").read_text())
    ours = image.build(cache_directory(os.environ), Deadline(170, "build the twin's image"))
    assert ours.digest == written["image_digest"]


@pytest.mark.qemu
def test_a_strangers_project_has_its_driver_judged(python: Path, tmp_path: Path) -> None:
    """pytest finds the plugin of the wheel, and the project's own driver, tiny, runs on the twin."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "tests" / "sample_project", project)
    shutil.copytree(ROOT / "guest_drivers" / "tiny", project / "tiny")
    done = run(
        python, "pytest", "-p", "no:cacheprovider", "--hotplug-accel=tcg", "--hotplug-boot=restore", "--hotplug-runs=runs", "--hotplug-driver=tiny", "--hotplug-driver-map=tiny/harness.toml", f"--basetemp={tmp_path / 'base'}", place=project,
    )  # fmt: skip
    assert (0, True) == (done.returncode, "1 passed" in done.stdout), done.stdout + done.stderr
    (history,) = project.glob("runs/2*/history.jsonl")
    assert '"driver":"tiny"' in history.read_text()
