# SPDX-License-Identifier: MIT
"""The virtual environment: what its key depends on, what its programs see, and building one for real."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.setup.environment import key, variables

PROJECT = """
[build-system]
requires = ["hatchling"]
[project]
name = "x"
dependencies = ["{dependency}"]
[tool.ruff]
line-length = {length}
"""


def project(directory: Path, *, dependency: str = "msgspec", length: int = 100) -> Path:
    """Write a clone's pyproject.toml."""
    directory.mkdir(exist_ok=True)
    (directory / "pyproject.toml").write_text(PROJECT.format(dependency=dependency, length=length))
    return directory


def test_the_key_has_what_is_installed_and_for_whom(tmp_path: Path) -> None:
    """Another dependency, clone or Python is another environment; another setting of a linter is not."""
    here = key(project(tmp_path / "here"), sys.executable)
    assert here == key(project(tmp_path / "here", length=80), sys.executable)
    others = {
        key(project(tmp_path / "here", dependency="rich"), sys.executable),
        key(project(tmp_path / "there"), sys.executable),
        key(project(tmp_path / "here"), "/usr/bin/another-python"),
    }
    assert len(others | {here}) == 4


def test_a_checkout_without_pyproject_is_said_so(tmp_path: Path) -> None:
    """The message names the file that should be there."""
    with pytest.raises(UsageError, match=r"pyproject\.toml"):
        key(tmp_path, sys.executable)


def test_what_leads_python_or_pip_astray_is_hidden_and_nothing_else(tmp_path: Path) -> None:
    """The user's index stays; a PYTHONPATH or a pip target does not reach the environment."""
    seen = variables(tmp_path, {"PATH": "/bin", "PIP_INDEX_URL": "i", "PYTHONPATH": "p", "PIP_TARGET": "t"})
    assert f"{tmp_path}/bin:/bin" == seen["PATH"]
    assert "i" == seen["PIP_INDEX_URL"]
    assert not {"PYTHONPATH", "PIP_TARGET"} & set(seen)
