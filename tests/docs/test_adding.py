# SPDX-License-Identifier: MIT
"""The how-to pages are followed to the letter in a copy of the project, and their commands print what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs.howto import ProjectCopy, steps

PAGES = [
    pytest.param("rules.md", "## How to add a rule", id="rule"),
]


@pytest.mark.parametrize(("page", "heading"), PAGES)
def test_the_page_leads_to_a_working_addition(page: str, heading: str, tmp_path: Path) -> None:
    """Every step can be taken, and the page's commands and tests find a complete addition."""
    ProjectCopy(tmp_path / "copy").follow(steps(page, heading))
