# SPDX-License-Identifier: MIT
"""Fixtures of the tests that boot the twin."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from part_markers import needs
from twin.running import Perform

from harness.errors import GuestHang
from harness.history.record import Record
from harness.run.plan import Plan, find_plan
from harness.run.request import RunRequest
from harness.run.run import RunResult, perform
from harness.setup.cache import cache_directory


@pytest.fixture
def request_run(tmp_path: Path) -> Callable[..., RunRequest]:
    """A function that makes the request of a run of a plan, in a directory of the test's own."""

    def make(plan: Plan | str, **options: Any) -> RunRequest:
        return RunRequest(
            plan=find_plan(plan) if isinstance(plan, str) else plan,
            runs=tmp_path / "runs",
            cache=cache_directory(os.environ),
            argv=["test"],
            accelerator="tcg",
            **options,
        )

    return make


@pytest.fixture
@needs("qemu")
def perform_plan(request_run: Callable[..., RunRequest]) -> Perform:
    """A function that runs a plan on a fresh twin and returns its result.

    The kernel of the twin now and then hangs under TCG before its first word (docs/reliability.md). A run of which nothing
    but the boot was seen is made once more, with a warning that names it, unless the test has times of its own.
    """

    def run(
        plan: Plan | str, *, listeners: tuple[Callable[[Record], None], ...] = (), **options: Any
    ) -> RunResult:
        result = perform(request_run(plan, **options), listeners=listeners)
        if "budget" not in options and result.stage == "boot" and isinstance(result.error, GuestHang):
            warnings.warn(f"the twin's kernel hung while it booted: {result.directory}", stacklevel=2)
            result = perform(request_run(plan, **options), listeners=listeners)
        return result

    return run


@pytest.fixture
@needs("qemu")
def perform_restored(perform_plan: Perform) -> Perform:
    """The same on a twin that begins from its ready snapshot, for tests in which the boot is not the matter."""

    def run(plan: Plan | str, **options: Any) -> RunResult:
        return perform_plan(plan, restore=True, **options)

    return run
