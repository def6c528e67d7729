# SPDX-License-Identifier: MIT
"""The acceptance cases, each on a guest of its own: on the twin daily, on Windows with ``-m hardware``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harness.acceptance.acceptance import unsuited
from harness.acceptance.case import Case, all_cases
from harness.acceptance.migration import migrate
from harness.acceptance.result import CaseOutcome, result_of
from harness.run.options import Timeouts
from harness.run.request import RunRequest
from harness.run.run import perform
from harness.setup.cache import cache_directory


def named(case: Case) -> str:
    """What the case is called in the list of tests."""
    return f"{case.number:02}-{case.name}"


@pytest.mark.parametrize("case", all_cases(), ids=named)
def test_case(case: Case, guest_name: str, tmp_path: Path) -> None:
    """The plan runs to its end, nothing documented is violated, and what the case is about was put to the test."""
    if why := unsuited(case, guest_name):
        pytest.skip(why)
    request = RunRequest(
        plan=case.plan,
        guest=guest_name,
        accelerator="tcg" if guest_name == "twin" else "auto",
        # A plan that begins before the boot leaves nothing to restore.
        restore=case.plan.machine.started == "running",
        runs=tmp_path / "runs",
        cache=cache_directory(os.environ),
        argv=sys.argv,
        budget=Timeouts(boot=90.0 if guest_name == "twin" else 1800.0, operation=60.0),
    )
    found = migrate(case, request) if case.procedure else result_of(case, guest_name, perform(request))
    assert (CaseOutcome.PASSED, []) == (found.outcome, found.why), found.seen
