# SPDX-License-Identifier: MIT
"""docs/rules.md: what it says of verdicts and levels is complete; tests/docs/test_adding.py follows its how-to."""

from __future__ import annotations

import re

from contract.mutations import DOCUMENT

from harness.contract.verdict import Level, Verdict


def test_every_verdict_and_level_is_explained() -> None:
    """The page has a row for each."""
    explained = DOCUMENT.read_text().split("## A run's verdict")[0]
    rows = set(re.findall(r"^\| ([a-z() ]+) \|", explained, re.MULTILINE)) - {"verdict", "level"}
    assert {*map(str, Verdict), *map(str, Level)} == rows
