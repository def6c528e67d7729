# SPDX-License-Identifier: MIT
"""The report of each injected fault: its first screen says what went wrong to somebody who has nothing but the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from report.page.chromium import Open
from report.page.examples import report_of

from harness.guest.fault_injection import INJECTED_FAULTS

pytestmark = [pytest.mark.browser, pytest.mark.host]

WIDTH, HEIGHT = 1280, 900


@pytest.mark.parametrize("name", INJECTED_FAULTS)
def test_the_first_screen_says_what_went_wrong(opened: Open, tmp_path: Path, name: str) -> None:
    """It names the rule that the fault must break, a record that shows it, and what is at fault."""
    fault = INJECTED_FAULTS[name]
    page = opened(report_of(name, fault, tmp_path), width=WIDTH, height=HEIGHT)
    seen = page.evaluate(
        "(height) => [...document.querySelectorAll('header.verdict, #broke .card h3, #broke .broken, #broke .fault, #broke .witness, #broke .reasons')]"
        ".filter((one) => one.getBoundingClientRect().bottom <= height).map((one) => [one.className, one.innerText])",
        HEIGHT,
    )
    text = "\n".join(said for _, said in seen)
    assert [fault.verdict.upper() in text, fault.rule in text] == [True, True], text
    if fault.verdict == "violated":
        kinds = {kind.split()[0] for kind, _ in seen if kind}
        assert {"witness", "fault"} <= kinds, text
