# SPDX-License-Identifier: MIT
"""Fixtures of the tests that boot the twin."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from part_markers import needs
from twin.running import Perform

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
    """A function that runs a plan on a fresh twin and returns its result."""

    def run(
        plan: Plan | str, *, listeners: tuple[Callable[[Record], None], ...] = (), **options: Any
    ) -> RunResult:
        return perform(request_run(plan, **options), listeners=listeners)

    return run


@pytest.fixture
@needs("qemu")
def perform_restored(perform_plan: Perform) -> Perform:
    """The same on a twin that begins from its ready snapshot, for tests in which the boot is not the matter."""

    def run(plan: Plan | str, **options: Any) -> RunResult:
        return perform_plan(plan, restore=True, **options)

    return run
