# SPDX-License-Identifier: MIT
"""Reports look as they did: their first screens against kept pictures, with a tolerance for other fonts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps
from report.page.pictures import README, SHOTS, TOLERANCE, Shot, difference, report_of, taken


@pytest.mark.browser
@pytest.mark.parametrize("shot", SHOTS, ids=lambda shot: f"{shot.run}-{shot.scheme}-{shot.width}")
def test_the_first_screen_looks_as_it_did(chromium: Any, tmp_path: Path, shot: Shot) -> None:
    """``tox run -e pictures`` takes the pictures anew, to be looked at."""
    kept = Image.open(shot.file).convert("RGB")
    now = taken(chromium, shot, report_of(shot.run, tmp_path)).resize(kept.size)
    assert difference(now, kept) < TOLERANCE


def test_the_comparison_sees_another_theme_and_a_moved_block() -> None:
    """The tolerance is for fonts: neither the other theme nor a page that lost its head passes."""
    kept = Image.open(SHOTS[1].file).convert("RGB")
    moved = Image.new("RGB", kept.size, "white")
    moved.paste(kept, (0, 120))
    assert [True, True, True] == [
        difference(kept, kept) == 0,
        difference(kept, ImageOps.invert(kept)) > TOLERANCE,
        difference(kept, moved) > TOLERANCE,
    ]


def test_the_readme_shows_a_report() -> None:
    """The picture is there, and not too large to be cloned."""
    page = (README.parents[2] / "README.md").read_text(encoding="utf-8")
    assert ["docs/pictures/report.png" in page, README.stat().st_size < 200 << 10] == [True, True]
