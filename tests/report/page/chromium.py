# SPDX-License-Identifier: MIT
"""Pages in a real Chromium: Playwright from PyPI drives the one of the distribution, which may reach no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from part_markers import needs

from harness.setup.parts import part

WAIT = 30_000
"""Milliseconds that a page may take on a machine that others use too."""

Open = Callable[..., Any]


@pytest.fixture(scope="session")
@needs("browser")
def chromium() -> Iterator[Any]:
    """A headless Chromium."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: it comes with the extra 'dev'"
    )
    program = part("browser").needs[0].found()
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


class Watched:
    """What went wrong in a page: errors of its script, and what it asked the network for."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []


@pytest.fixture
@needs("browser")
def opened(chromium: Any) -> Iterator[Open]:
    """Opens a report, wide and light unless it is told otherwise; afterwards nothing may have gone wrong in it."""
    contexts = []
    watched = Watched()

    def open_(
        report: Path, *, width: int = 1200, height: int = 900, fragment: str = "", **options: Any
    ) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on(
            "console",
            lambda said: watched.errors.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.on("request", lambda asked: watched.requests.append(asked.url))
        page.goto(f"{report.as_uri()}{fragment}", timeout=WAIT)
        page.wait_for_selector("table.records td.what:not(:empty)")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [] == watched.errors
    assert [] == [url for url in watched.requests if not url.startswith("file:///")]
