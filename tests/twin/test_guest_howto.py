# SPDX-License-Identifier: MIT
"""The page on guests is executed: its kind of guest boots, takes a processor, and labels the verdict."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from twin.running import Perform, plan_of

from harness.contract.verdict import Verdict
from harness.guest.guest_types import GUEST_TYPES

pytestmark = pytest.mark.qemu

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guests.md"


def test_guest_of_the_page_runs(perform_plan: Perform) -> None:
    """The loud twin is known by its name, holds, and prints what the quiet one does not."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(block, {})
    try:
        result = perform_plan(plan_of('[[do]]\nop = "add-cpu"\n'), guest="loud-twin")
    finally:
        del GUEST_TYPES["loud-twin"]
    assert (result.error, result.verdict.verdict, result.verdict.guest) == (None, Verdict.HOLDS, "loud-twin")
    assert "Linux version" in (result.directory / "console.log").read_text(errors="replace")
