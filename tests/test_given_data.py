# SPDX-License-Identifier: MIT
"""A clone without the given data beside it, as a new user has it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from given_data import SHARED, given

from tests.linked_copy import link_or_copy

ROOT = Path(__file__).resolve().parents[1]
READS_IT = re.compile(r"\"shared\"|\bgiven_data\b|\bwindows51\b")


def test_what_is_given_is_a_parameter_each() -> None:
    """Named by its path in the folder; what is not there is one skipped parameter that names the place."""
    (none,) = given("nowhere", "*.man")
    assert "skip" == none.marks[0].name
    assert f"no given data: {SHARED}/data/nowhere/*.man is not there" == none.marks[0].kwargs["reason"]


def test_the_suite_is_collected_without_given_data(
    tmp_path: Path, warm_shell: Callable[..., tuple[int, str]]
) -> None:
    """No file that reads it fails before its tests are skipped."""
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "tests", clone / "tests", copy_function=link_or_copy)
    for other in ROOT.iterdir():
        if other.name not in ("tests", ".git"):
            (clone / other.name).symlink_to(other)
    files = [
        file
        for file in sorted((clone / "tests").rglob("test_*.py"))
        if READS_IT.search(file.read_text(encoding="utf-8"))
    ]
    assert len(files) > 10
    # Of the plugins that are installed the one whose marker tests have.
    words = ["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "pytest_timeout", *map(str, files)]
    code, said = warm_shell(
        shlex.join(["python", "-m", "pytest", *words]),
        clone,
        {**os.environ, "PYTHONPATH": f"{clone}:{clone / 'tests'}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert 0 == code, said[-3000:]
