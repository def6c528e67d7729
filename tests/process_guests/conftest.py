# SPDX-License-Identifier: MIT
"""Fixtures of the tests on guests whose machine is a process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from process_guests.rule_table import HostRuns

from harness.run.plan import Plan, find_plan
from harness.run.request import RunRequest
from harness.run.run import RunResult, perform
from harness.setup.cache import cache_directory

Perform = Callable[..., RunResult]


@pytest.fixture
def request_run(tmp_path: Path) -> Callable[..., RunRequest]:
    """A function that makes the request of a run of a plan on a guest, in a directory of the test's own."""

    def make(plan: Plan | str, guest: str, **options: Any) -> RunRequest:
        return RunRequest(
            plan=find_plan(plan) if isinstance(plan, str) else plan,
            guest=guest,
            runs=tmp_path / "runs",
            cache=cache_directory(os.environ),
            argv=["test"],
            **options,
        )

    return make


@pytest.fixture(scope="session")
def host_runs(tmp_path_factory: pytest.TempPathFactory) -> HostRuns:
    """The verdicts of built-in plans and injected faults on the guest ``host``, each run made once."""
    return HostRuns(tmp_path_factory.mktemp("host-runs"))


@pytest.fixture
def perform_on(request_run: Callable[..., RunRequest]) -> Perform:
    """A function that runs a plan on a guest and returns its result."""

    def run(plan: Plan | str, guest: str, **options: Any) -> RunResult:
        return perform(request_run(plan, guest, **options))

    return run
