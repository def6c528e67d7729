# SPDX-License-Identifier: MIT
"""docs/lab.md is executed: a new user types its first section, and the table has the keys that there are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.cli.main import main
from harness.lab.lab_document import LabDocument
from harness.lab.matrix import decode_matrix, read_matrix

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "lab.md").read_text(encoding="utf-8")


def example() -> str:
    """Return the page's lab.toml, its first block of TOML."""
    text, *_ = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    return str(text)


def test_example_is_five_runs() -> None:
    """As the page says, and what is skipped is skipped for its reason."""
    matrix = decode_matrix(example(), name="docs/lab.md", base=ROOT)
    points = sorted(cell.point for cell in matrix.cells)
    assert ["twin.debian.small.cpu-and-dimm"] * 2 + ["twin.debian.small.veto"] + [
        "twin.debian.two-nodes.cpu-and-dimm"
    ] * 2 == points
    assert ["https://bugs.example.org/1"] == [skipped.why for skipped in matrix.skipped]


def test_table_lists_every_key() -> None:
    """Each key of the document stands in the first column, tables in their brackets."""
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    named = {word.strip("[]") for row in rows for word in re.findall(r"`([^`]+)`", row)}
    assert {field.encode_name for field in msgspec.structs.fields(LabDocument)} - named == set()


def test_the_sample_in_the_root_is_a_nightly_run(capsys: pytest.CaptureFixture[str]) -> None:
    """lab.toml can be run as it is."""
    assert 0 == main(["nightly", "--dry-run", "--lab", str(ROOT / "lab.toml")])
    assert f"{len(read_matrix(ROOT / 'lab.toml').cells)} runs, 2 at once" in capsys.readouterr().out


def test_what_no_machine_can_execute_is_shown_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's messages are those about its own lab.toml, with the key that it names changed."""
    monkeypatch.chdir(tmp_path)
    assert "With `max_processors = 1` in the topology `small`:" in PAGE
    Path("lab.toml").write_text(example().replace("max_processors = 4", "max_processors = 1"))
    assert 64 == main(["nightly", "--dry-run"])
    assert f"```text\n{capsys.readouterr().err}```" in PAGE


SAID = {
    "harness nightly --dry-run": [r"5 runs, 2 at once"],
    "harness nightly --once": [r"Nightly run \d{8}(-2)? of twin: 5 of 5 runs", r"holds 5"],
    "harness history runs": [r"twin\.debian\.two-nodes\.cpu-and-dimm", r"twin\.debian\.small\.veto"],
    "harness history new": [r"\d{8}-2"],
}
"""What each command of the first section prints."""


@pytest.mark.qemu
@pytest.mark.timeout(1200)
def test_a_new_user_types_the_first_section(tmp_path: Path) -> None:
    """In a directory with the page's lab.toml alone, one command after the other, as they stand there."""
    (typed, *_) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "lab.toml").write_text(example())
    (tmp_path / "harness").write_text(f'#!/bin/sh\nexec {sys.executable} -m harness "$@"\n')
    (tmp_path / "harness").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "HOTPLUG_HARNESS_LEASES": str(tmp_path / "leases"),
    }
    environment.pop("HOTPLUG_HARNESS_STORE", None)
    assert set(SAID) == set(typed.splitlines())
    for line in typed.splitlines():
        ended = subprocess.run(
            line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=500,
        )  # fmt: skip
        missing = [words for words in SAID[line] if not re.search(words, ended.stdout)]
        assert (0, []) == (ended.returncode, missing), f"{line}:\n{ended.stdout}\n{ended.stderr}"
    (second,) = (tmp_path / "nightly").glob("*-2/morning.txt")
    lines = second.read_text().splitlines()
    assert ("holds 5", True) == (re.findall(r"holds \d+", lines[0])[0], len(lines) <= 10)
    assert "new 0: -" in lines
