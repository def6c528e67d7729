# SPDX-License-Identifier: MIT
"""docs/lab.md is executed: its example is the nightly run it says, and the table has the keys that there are."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from harness.cli.main import main
from harness.lab.matrix import LabDocument, decode_matrix, read_matrix

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
