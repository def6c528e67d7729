# SPDX-License-Identifier: MIT
"""The sources of the report's script as an npm project of its own, with what package-lock.json names beside them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from part_markers import needs

SOURCES = Path(__file__).resolve().parents[3] / "harness" / "report" / "web"


def npm(*words: str, place: Path) -> str:
    """Run npm in a directory and return what it printed; what it complains about fails the test."""
    done = subprocess.run(
        ["npm", *words], cwd=place, capture_output=True, text=True, timeout=600, check=False
    )
    assert 0 == done.returncode, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
@needs("node")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the sources, in which the locked versions are installed; no script of a package is run."""
    place = tmp_path_factory.mktemp("npm") / "web"
    shutil.copytree(SOURCES, place, ignore=shutil.ignore_patterns("node_modules", ".tests"))
    npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", place=place)
    yield place
    shutil.rmtree(place)
