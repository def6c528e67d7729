# SPDX-License-Identifier: MIT
"""The report of each injected fault: its first screen says what went wrong to somebody who has nothing but the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from report.page.chromium import Open
from report.page.examples import report_of

from harness.guest.fault_injection import INJECTED_FAULTS, UNPLUG_FAULTS, InjectedFault

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 1280, 900

SHOWN = """(height) => {
  const seen = (one) => one.getBoundingClientRect().bottom <= height;
  const text = (one) => (one ? one.innerText : "");
  const card = document.querySelector("#broke .card");
  return {
    verdict: text(document.querySelector("header.verdict")),
    whole: seen(card),
    cards: [...document.querySelectorAll("#broke .card")].filter(seen).map(text),
    rules: text(document.querySelector("#broke .broken")),
    first: text(card.querySelector("h3")),
    fault: text(card.querySelector(".fault")),
    witnesses: [...card.querySelectorAll(".witness")].map(text),
  };
}"""

ENDED_EARLY = {"reset-mid-attempt"}
"""Faults that end the run. Their first card is the stage that failed, and the rule's card is the next one."""

SHARED = {"missing-failure": "SYNC-START-CLOSED", "thread-before-complete": "ADDEX-ONE-START-EACH"}
"""Faults whose first violation is one of another rule: one loses Complete before Failure, one repeats Start for the driver."""


def first_screen(opened: Open, name: str, fault: InjectedFault, runs: Path) -> dict[str, object]:
    """Return what the first screen of a fault's report shows, after what holds for each of them."""
    page = opened(report_of(name, fault, runs), width=WIDTH, height=HEIGHT)
    seen: dict[str, object] = page.evaluate(SHOWN, HEIGHT)
    cards = "\n".join(seen["cards"])  # type: ignore[call-overload]
    assert [True, True, True] == [
        fault.verdict.upper() in str(seen["verdict"]),
        seen["whole"],
        fault.rule in f"{seen['rules']}\n{cards}",
    ], seen
    return seen


@pytest.mark.host
@pytest.mark.parametrize("name", INJECTED_FAULTS)
def test_the_first_screen_says_what_went_wrong(opened: Open, tmp_path: Path, name: str) -> None:
    """The first card is of the rule that the fault breaks. It shows what is at fault, and the records."""
    seen = first_screen(opened, name, INJECTED_FAULTS[name], tmp_path)
    assert seen["witnesses"]
    if name not in ENDED_EARLY:
        rule = SHARED.get(name, INJECTED_FAULTS[name].rule)
        assert [True, True] == [str(seen["first"]).startswith(rule), bool(seen["fault"])], seen


@pytest.mark.qemu
@pytest.mark.parametrize("name", UNPLUG_FAULTS)
def test_the_first_screen_says_what_was_not_given_back(opened: Open, tmp_path: Path, name: str) -> None:
    """It names the request, what is at fault, and the record of the disagreement."""
    seen = first_screen(opened, name, UNPLUG_FAULTS[name], tmp_path)
    assert [True, True] == ["unplug-" in "\n".join(seen["cards"]), bool(seen["witnesses"])], seen  # type: ignore[call-overload]
