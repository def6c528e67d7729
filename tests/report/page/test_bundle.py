# SPDX-License-Identifier: MIT
"""The script and style of the report: built from the sources here, checked, small, and with every licence that they owe."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from report.page.npm_project import SOURCES, npm

from harness.report.page import html

BUILT = ("report.css", "report.js")


def test_the_page_is_made_of_what_was_built() -> None:
    """The files that a report gets are the built ones, whole."""
    assert [(SOURCES / "built" / name).read_text().strip() for name in BUILT] == [
        html._built(name) for name in BUILT
    ]


def test_the_bundle_is_small() -> None:
    """Style and script together are under 150 KiB."""
    assert sum((SOURCES / "built" / name).stat().st_size for name in BUILT) < 150 << 10


def test_nothing_in_the_bundle_can_end_its_element() -> None:
    """Neither file holds an end tag, nor the beginning of a comment that hides one."""
    for name in BUILT:
        assert [] == re.findall(
            r"</(?:script|style)|<!--|<script", (SOURCES / "built" / name).read_text(), re.IGNORECASE
        )


def test_the_bundle_carries_the_licence_of_d3() -> None:
    """ISC asks for its text and the copyright in all copies."""
    text = (SOURCES / "built" / "report.js").read_text()
    assert "Mike Bostock" in text
    assert "Permission to use, copy, modify, and/or distribute this software for any purpose" in text


def test_the_lock_file_names_no_host() -> None:
    """Each package has its version and its digest, and no address that it would be fetched from."""
    packages = json.loads((SOURCES / "package-lock.json").read_text())["packages"]
    fetched = {name: package for name, package in packages.items() if name}
    assert fetched
    assert [] == [name for name, package in fetched.items() if "resolved" in package]
    assert [] == [name for name, package in fetched.items() if "integrity" not in package]


def test_every_source_begins_with_its_licence() -> None:
    """As those in Python do."""
    files = [one for kind in ("src/*.ts", "src/*.css", "test/*.ts", "*.mjs") for one in SOURCES.glob(kind)]
    assert files
    assert [] == [one.name for one in files if "SPDX-License-Identifier: MIT" not in one.read_text()[:120]]


@pytest.mark.node
def test_the_sources_give_the_same_bytes(project: Path, tmp_path: Path) -> None:
    """What is committed in built/ is what the sources and the locked versions make."""
    npm("run", "build", "--", "--into", str(tmp_path), place=project)
    assert sorted(BUILT) == sorted(file.name for file in tmp_path.iterdir())
    for name in BUILT:
        assert (SOURCES / "built" / name).read_bytes() == (tmp_path / name).read_bytes(), (
            f"{name}: npm run build"
        )


def node_version() -> int:
    """Return the major version of node."""
    said = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    return int(said.removeprefix("v").partition(".")[0])


@pytest.mark.node
@pytest.mark.parametrize("script", ["check", "test"])
def test_the_sources_are_well(project: Path, script: str) -> None:
    """Types, the linter's rules and the unit tests."""
    if node_version() < 20:
        pytest.skip("to check and test the sources takes Node.js 20; 18 builds them")
    npm("run", script, place=project)
