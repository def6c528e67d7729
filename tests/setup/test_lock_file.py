# SPDX-License-Identifier: MIT
"""The lock files: what stands in them, and that they satisfy pyproject.toml."""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from harness.errors import UsageError
from harness.setup.environment import BUILDERS
from harness.setup.lock_file import lock_file, requirements

CLONE = Path(__file__).parents[2]
LOCKS = sorted((CLONE / "locks").iterdir())
PROJECT = tomllib.loads((CLONE / "pyproject.toml").read_text(encoding="utf-8"))

LINE = re.compile(
    r"(?:#.*|[a-z0-9][a-z0-9._-]*==[0-9][a-z0-9.+]*(?: ; [^\\\n]+)? \\|    --hash=sha256:[0-9a-f]{64}(?: \\)?)"
)
"""A comment, a name with its version and marker, or a hash; so no option, index, link or path."""


def wanted(environment: dict[str, str]) -> Iterator[Requirement]:
    """Every requirement in pyproject.toml that holds in ``environment``."""
    optional = PROJECT["project"]["optional-dependencies"].values()
    groups = PROJECT["dependency-groups"].values()
    for texts in (
        PROJECT["build-system"]["requires"],
        PROJECT["project"]["dependencies"],
        *optional,
        *groups,
    ):
        for text in texts:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(environment):
                yield requirement


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_file_has_names_versions_markers_and_hashes_only(lock: Path) -> None:
    """No line names an index, a folder of files or a place on somebody's machine, and each package has a hash."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    assert [] == [line for line in lines if not LINE.fullmatch(line)]
    locked = requirements(lock.read_text(encoding="utf-8"))
    assert [] == [name for name, text in locked.items() if "--hash=sha256:" not in text]
    assert set(BUILDERS) <= set(locked)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_file_satisfies_pyproject(lock: Path) -> None:
    """Every package that pyproject.toml asks for is locked, in a version that it allows."""
    version = lock.stem.removeprefix("python-")
    locked = requirements(lock.read_text(encoding="utf-8"))
    wrong = []
    count = 0
    for requirement in wanted({"python_version": version, "python_full_version": f"{version}.0"}):
        count += 1
        pinned = locked.get(canonicalize_name(requirement.name), "").partition("==")[2].split()
        if not pinned or not requirement.specifier.contains(pinned[0], prereleases=True):
            wrong.append(f"{requirement}: {pinned[:1]}")
    assert ([], True) == (wrong, count > 20), "./lab shell -c 'tox run -e lock' and commit locks/"


def test_each_supported_python_has_its_lock_file() -> None:
    """tox makes those that are there, and they are of Pythons that pyproject.toml allows and names."""
    document = configparser.RawConfigParser()
    document.read(CLONE / "tox.ini", encoding="utf-8")
    made = re.findall(
        r"--python-version (\S+) --output-file locks/python-(\S+)\.txt", document["testenv:lock"]["commands"]
    )
    there = [lock.stem.removeprefix("python-") for lock in LOCKS]
    assert [(version, version) for version in there] == made
    assert all(SpecifierSet(PROJECT["project"]["requires-python"]).contains(version) for version in there)
    named = [each.rpartition(" :: ")[2] for each in PROJECT["project"]["classifiers"]]
    assert there == [each for each in named if re.fullmatch(r"3\.\d+", each)]


def test_a_requirement_goes_on_after_a_backslash() -> None:
    """Hashes belong to the package above them."""
    text = "# made by x\na==1 \\\n    --hash=sha256:0\nb-c==2 ; sys_platform == 'linux' \\\n    --hash=sha256:1\n"
    found = requirements(text)
    assert ["a", "b-c"] == list(found)
    assert ("--hash=sha256:0" in found["a"], "--hash=sha256:1" in found["a"]) == (True, False)


def test_a_checkout_without_lock_files_is_said_so(tmp_path: Path) -> None:
    """The message names the folder."""
    with pytest.raises(UsageError, match="locks holds no lock file"):
        lock_file(tmp_path)
