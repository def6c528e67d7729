# SPDX-License-Identifier: MIT
"""docs/windows.md names every stage, check and script that there is, and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from guest.windows.scripted_windows import FACTS
from guest.windows.test_preflight import SPEC, VIEW

from harness.guest.windows.answer import decode
from harness.guest.windows.clock import CHECK as CLOCK
from harness.guest.windows.facts import Facts
from harness.guest.windows.preflight import judge
from harness.guest.windows.readiness import BootStage
from harness.guest.windows.script import names
from harness.template.answer import COMMON
from harness.template.provision import FOLDER
from harness.template.template import templates_directory

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


CITED = re.compile(r"Microsoft Learn[^:\"]*:\s(.*)")
QUOTED = re.compile(r'"([^"]+)"')
ISSUE = re.compile(r"/issues/(\d+)|pull request (\d+)| and (\d{4})\)")


def pages_cited(text: str) -> set[str]:
    """The titles of the pages, and the numbers of the issues, that a script's comments name."""
    found: set[str] = set()
    block = ""
    for line in [*text.splitlines(), ""]:
        if line.lstrip().startswith("#"):
            block += " " + line.lstrip().removeprefix("#").strip()
            continue
        for cited in CITED.findall(block):
            found |= {title.rstrip(",") for title in QUOTED.findall(cited)}
        found |= {number for numbers in ISSUE.findall(block) for number in numbers if number}
        block = ""
    return found


HERE = templates_directory() / COMMON
STATEMENTS = {
    path.relative_to(HERE).as_posix(): path
    for folder in (FOLDER, *sorted({path.parent.name for path in HERE.glob("*/*.ps1")} - {FOLDER}))
    for path in sorted((HERE / folder).glob("*.ps1"))
    if path.name != "start.ps1"
}


def test_every_step_and_the_promises_have_a_row() -> None:
    """What a template's guest is told relies on Windows as much as what a run tells it."""
    named = re.findall(r"`([a-z]+/[^`]+)`", "\n".join(rows("Every statement on Windows, and its page")))
    assert list(STATEMENTS) == named


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_page_that_a_step_cites_is_in_its_row(name: str) -> None:
    """A script that relies on another page needs a row that says so."""
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    cited = pages_cited(STATEMENTS[name].read_text(encoding="utf-8"))
    assert cited
    assert set() == {title for title in cited if title not in row.rpartition(" | ")[2]}


def test_every_row_has_a_page() -> None:
    """Or says that there is none, and why that does no harm."""
    section = PAGE.split("\n## Every statement on Windows, and its page\n", 1)[1].split("\n## ", 1)[0]
    cells = [
        line.strip("| ").split(" | ")
        for line in section.splitlines()
        if line.startswith("| `") or line[:2] == "| "
    ]
    pages = [cell[2] for cell in cells if cell[0] not in ("where", "---")]
    assert len(pages) > len(STATEMENTS) + len(names())
    assert [] == [
        page
        for page in pages
        if not re.search(r"\b(WD|DDI|W32|ML|QEMU|MS-[A-Z]+)\b|^no (page|reference)", page)
    ]
