# SPDX-License-Identifier: MIT
"""The pages about several runs in a real Chromium: what they show first, where their links lead, and for everyone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from report.page.chromium import WAIT
from report.page.test_document import NEWEST

from harness.cli.main import main

pytestmark = pytest.mark.browser


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A directory with runs that hold, do not, and are not known."""
    place = tmp_path / "some runs"
    for name in ("host-cpu-and-dimm", "twin-violated", "twin-unknown", "twin-hangs"):
        shutil.copytree(NEWEST / name, place / name)
    return place


@pytest.fixture
def comparison(runs: Path) -> Path:
    """The page of a good and a bad run."""
    assert 0 == main(["report", "--compare", str(runs / "host-cpu-and-dimm"), str(runs / "twin-violated")])
    return runs / "twin-violated" / "comparison.html"


@pytest.fixture
def many(runs: Path) -> Path:
    """The page of all of them."""
    assert 0 == main(["report", "--set", str(runs)])
    return runs / "report.html"


def shown(chromium: Any, page: Path, **options: Any) -> Any:
    """Open a page about several runs; what goes wrong in it, or is asked of the network, ends up in its list ``wrong``."""
    opened = chromium.new_context(viewport={"width": 1280, "height": 900}, **options).new_page()
    opened.set_default_timeout(WAIT)
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    opened.on("request", lambda asked: None if asked.url.startswith("file:///") else wrong.append(asked.url))
    opened.goto(page.as_uri())
    opened.wait_for_selector("footer")
    return opened, wrong


def test_the_first_difference_stands_on_the_first_screen_and_leads_to_its_record(
    chromium: Any, comparison: Path
) -> None:
    """One click from the second Start to that record in the report of its run."""
    page, wrong = shown(chromium, comparison)
    row = page.locator("#first tr.differs")
    assert row.bounding_box()["y"] < 900
    assert ["nothing", "6. Start of processor 2 record 68"] == row.locator("td").all_inner_texts()
    row.get_by_text("record 68").click()
    page.wait_for_selector(".detail h3")
    assert page.locator(".detail h3").inner_text().startswith("Record 68")
    assert page.url.endswith("twin-violated/report.html#r=68")
    assert [] == wrong
    page.context.close()


def test_from_the_matrix_one_gets_to_each_run(chromium: Any, many: Path) -> None:
    """Also if the directory's name has a blank; the page names the rules that broke, and in which run."""
    page, wrong = shown(chromium, many)
    assert 4 == page.locator("table.matrix .cell a").count()
    assert "SYNC-EXACTLY-TWO" in page.locator("#broke").inner_text()
    page.locator(".cell.violated a").click()
    page.wait_for_selector("header.verdict.violated #timeline, #timeline .plot canvas")
    assert page.url.endswith("/some%20runs/twin-violated/report.html")
    assert [] == wrong
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.node
def test_axe_finds_nothing(chromium: Any, comparison: Path, many: Path, project: Path, scheme: str) -> None:
    """Both pages in both themes, with everything folded out; on a small screen nothing is cut off."""
    axe = (project / "node_modules" / "axe-core" / "axe.min.js").read_text()
    for file in (comparison, many):
        page, wrong = shown(chromium, file, color_scheme=scheme, bypass_csp=True)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        page.evaluate(axe)
        found = page.evaluate(
            "async () => (await axe.run()).violations.map((v) => [v.id, v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200))])"
        )
        assert [[], []] == [found, wrong]
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
        page.context.close()
