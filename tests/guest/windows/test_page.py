# SPDX-License-Identifier: MIT
"""docs/windows.md names every stage, check and script that there is, and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
from guest.windows.scripted_windows import FACTS
from guest.windows.test_preflight import SPEC, VIEW

from harness.guest.windows.answer import decode
from harness.guest.windows.clock import CHECK as CLOCK
from harness.guest.windows.facts import Facts
from harness.guest.windows.preflight import judge
from harness.guest.windows.readiness import BootStage
from harness.guest.windows.script import names

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "windows.md").read_text()


def rows(heading: str) -> list[str]:
    """The first cells of the tables below a heading, up to the next one."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [
        line.strip().split("|")[1].strip() for line in section.splitlines() if line.strip().startswith("|")
    ][2:]


def test_every_stage_is_on_the_page() -> None:
    """In their order."""
    assert [f"`{stage}`" for stage in BootStage] == rows("What a run does")


def test_every_check_is_on_the_page() -> None:
    """Those of a guest on which none is left out."""
    facts = decode(json.dumps({**FACTS, "build": "14393"}), Facts, what="preflight")
    made = {check.name for check in judge(facts, VIEW, msgspec.structs.replace(SPEC, nodes=2))}
    assert {*made, CLOCK} == {name for row in rows("Preflight") for name in row.split(", ")}


def test_every_script_has_its_source() -> None:
    """A script that nobody checked against a page would be a guess."""
    named = re.findall(r"`([a-z-]+)\.ps1`", "\n".join(rows("Every statement on Windows, and its page")))
    assert names() == sorted(named)
