# SPDX-License-Identifier: MIT
"""docs/first-day.md: each failure in its tables is said in the harness's own words, and the page is found from where it is needed."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from harness.guest.windows.readiness import BootStage
from harness.template.diagnosis import Symptom, sentence
from harness.template.promise import PROMISES
from harness.template.provision import steps
from harness.template.stage import BuildStage
from harness.template.template import find_template

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "first-day.md").read_text(encoding="utf-8")
FAILURES = PAGE.partition("\n## What a failure most likely means\n")[2].partition("\n## ")[0]

MADE = [
    *(sentence(stage, symptom) for stage in BuildStage for symptom in Symptom),
    *(f"the last stage it reached is {str(stage)!r}" for stage in BootStage),
    *(f"BROKEN {promise.name}" for promise in PROMISES),
    *(f"({step.name}) failed: " for step in steps(find_template("windows-server-2022"))),
    "exit code 577",
    "class bug check",
    "accelerator: tcg",
    *("VIOLATED", "UNKNOWN", "preflight", "broken", "broke off"),
]
"""What the harness puts together from parts."""


def symptoms() -> list[str]:
    """What stands in backquotes in the first cell of each row."""
    cells = [line.split("|")[1] for line in FAILURES.splitlines() if line.startswith("| ")]
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell) + re.findall(r"broken", cell)]


@functools.cache
def said() -> str:
    """All texts of the harness; where a sentence is put together of several literals, without the seams."""
    sources = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "harness").rglob("*.py"))]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(sources))


def test_the_tables_are_of_some_size() -> None:
    """Each row says something in the harness's words."""
    rows = [line for line in FAILURES.splitlines() if line.startswith("| ")]
    heads = sum(line.startswith(("| it says", "| ---")) for line in rows)
    assert len(rows) - heads <= len(symptoms())


@pytest.mark.parametrize("symptom", symptoms())
def test_a_symptom_is_what_the_harness_says(symptom: str) -> None:
    """In one piece, or in the pieces between dots."""
    texts = said()
    pieces = [piece.strip() for piece in symptom.split("…") if len(piece.strip()) > 2]
    assert pieces
    missing = [piece for piece in pieces if piece not in texts and not any(piece in one for one in MADE)]
    assert [] == missing


@pytest.mark.parametrize("page", ["README.md", "docs/windows.md", "docs/template-build.md"])
def test_the_page_is_linked(page: str) -> None:
    """From where somebody begins."""
    assert "first-day.md" in (ROOT / page).read_text(encoding="utf-8")


def test_the_order_is_that_of_a_first_visit() -> None:
    """The least first, and each edition only after the one before it."""
    built = re.findall(r"template build (\S+) --iso \S+(?: --openssh (\S+))?", PAGE)
    assert [
        ("windows-server-2022", "none"), ("windows-server-2022", "OpenSSH-Win64.msi"), ("windows-server-2025", ""),
    ] == built  # fmt: skip
    assert PAGE.index("accept plug-and-play") > PAGE.index("template build windows-server-2025")
