# SPDX-License-Identifier: MIT
"""Pictures of reports of recorded runs: those that tests compare with, and the README's. ``python -m tests.report.page.pictures``."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageChops, ImageStat

from harness.contract.checker import judge_history
from harness.history.reader import History
from harness.report.page.writing import write_report
from harness.setup.parts import part
from tests.recorded.kept import RUNS

PICTURES = Path(__file__).with_name("pictures")
README = Path(__file__).resolve().parents[3] / "docs" / "pictures" / "report.png"

SMALLER = 8
"""How much smaller the pictures are that are compared: fonts differ between machines, layout and colours do not."""

TOLERANCE = 9.0
"""Mean difference of a colour, of 255, that is taken for the same."""


class Shot(NamedTuple):
    """A picture of a run's report: the theme and the size of the window."""

    run: str
    scheme: str
    width: int
    height: int

    @property
    def file(self) -> Path:
        """Where it is kept, in half its size."""
        return PICTURES / f"{self.run}-{self.scheme}-{self.width}.png"


SHOTS = [
    Shot("twin-demo", "dark", 1600, 1000),
    Shot("twin-violated", "light", 1024, 900),
    Shot("twin-unknown", "light", 390, 844),
    Shot("twin-hangs", "dark", 1024, 768),
]


def taken(browser: Any, shot: Shot, report: Path) -> Image.Image:
    """Return the first screen of a report."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height}, color_scheme=shot.scheme
    )
    page = context.new_page()
    page.goto(report.as_uri())
    page.wait_for_selector("table.records td.what:not(:empty)")
    data = page.screenshot()
    context.close()
    return Image.open(io.BytesIO(data)).convert("RGB")


def report_of(run: str, folder: Path) -> Path:
    """Write the report of a recorded run and return it."""
    history = History(RUNS / "03691fe" / run)
    write_report(history, judge_history(history), folder / f"{run}.html")
    return folder / f"{run}.html"


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return how much two pictures differ on average, of 255, when they are made small and all alike."""
    size = max(1, one.width // SMALLER), max(1, one.height // SMALLER)
    apart = ImageChops.difference(*(picture.resize(size, Image.Resampling.BOX) for picture in (one, other)))
    return max(ImageStat.Stat(apart).mean)


def main() -> int:
    """Write all of them."""
    from playwright.sync_api import sync_playwright

    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        program = part("browser").needs[0].found()
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for shot in SHOTS:
            picture = taken(browser, shot, report_of(shot.run, Path(folder)))
            half = picture.resize((shot.width // 2, shot.height // 2), Image.Resampling.LANCZOS)
            half.quantize(64).save(shot.file, optimize=True)
        page = browser.new_page(viewport={"width": 1280, "height": 1240})
        page.goto(report_of("twin-violated", Path(folder)).as_uri())
        page.wait_for_selector("table.records td.what:not(:empty)")
        readme = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        readme.quantize(128).save(README, optimize=True)
        browser.close()
    for file in (*(shot.file for shot in SHOTS), README):
        sys.stdout.write(f"{file}: {file.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
