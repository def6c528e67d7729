# SPDX-License-Identifier: MIT
"""What .ci/run runs: between the fresh root and the machine, every test that needs no Windows."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from harness.setup.parts import REQUIRABLE

ROOT = Path(__file__).resolve().parents[1]
IN_THE_ROOT = {"qemu", "host"}
"""Markers of what ``./lab`` always installs."""

STAND_IN = """#!/bin/bash
printf '%s|' "$@" >> asked
echo >> asked
case "$*" in *"FAILING"*) exit 3;; esac
"""


def asked(place: Path, *, powershell: bool, failing: str = "nothing") -> tuple[int, list[list[str]], str]:
    """Execute .ci/run in a clone whose ``./lab`` only notes its words; return status, words and the last lines."""
    clone = place / "clone"
    (clone / ".ci").mkdir(parents=True)
    (clone / ".ci" / "run").write_text((ROOT / ".ci" / "run").read_text())
    (clone / "lab").write_text(STAND_IN.replace("FAILING", failing))
    (clone / "lab").chmod(0o755)
    if powershell:
        pwsh = place / "shared" / "tools" / "powershell" / "pwsh"
        pwsh.parent.mkdir(parents=True)
        pwsh.touch(0o755)
    ended = subprocess.run(
        ["bash", ".ci/run"], cwd=clone, capture_output=True, text=True, timeout=60, check=False
    )
    lines = (clone / "asked").read_text().splitlines()
    return ended.returncode, [line.split("|")[:-1] for line in lines], ended.stderr


def test_every_marker_is_run_somewhere(tmp_path: Path) -> None:
    """Every part is required and selected on the machine; what is left runs in the fresh root, except with real Windows or KVM."""
    _, commands, _ = asked(tmp_path, powershell=True)
    last = commands[-1]
    assert ["test", "--require", ",".join(REQUIRABLE), "--", "--require", "root,powershell", "-m"] == last[
        :-1
    ]
    selected = last[-1].split(" or ")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    markers = {line.partition(":")[0] for line in project["tool"]["pytest"]["ini_options"]["markers"]}
    assert markers - IN_THE_ROOT - {"hardware", "kvm"} == set(selected)
    assert {*REQUIRABLE, "root", "powershell"} == set(selected)


def test_powershell_is_asked_for_where_it_is(tmp_path: Path) -> None:
    """No package supplies it, so that a machine without it cannot require it."""
    _, commands, _ = asked(tmp_path, powershell=False)
    assert "powershell" not in " ".join(commands[-1])


@pytest.mark.parametrize("name", ["lint", "fuzz", "fresh", "parts"])
def test_every_step_runs_and_any_failure_counts(tmp_path: Path, name: str) -> None:
    """The exit status is that of the first step that failed, and the last lines name each."""
    failing = {"parts": "--require"}.get(name, f"-e {name}")
    status, commands, told = asked(tmp_path, powershell=False, failing=failing)
    assert (3, 4) == (status, len(commands))
    assert [("lint"), ("fuzz"), ("fresh"), ("parts")] == re.findall(
        r"^(\w+): exit status", told, re.MULTILINE
    )
    assert [name] == re.findall(r"^(\w+): exit status 3 after \d+ s$", told, re.MULTILINE)
