# SPDX-License-Identifier: MIT
"""The runs whose lines are damaged: those that are kept, those that the guest ``host`` makes, and the rules' examples."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from harness.contract.notation import trace
from harness.contract.rules.catalogue import all_rules
from harness.contract.verdict import Verdict
from harness.guest.fault_injection import INJECTED_FAULTS
from harness.run.plan import built_in_plans, find_plan
from harness.run.request import RunRequest
from harness.run.run import perform
from harness.setup.cache import cache_directory
from tests.contract.wired_run import WiredRun, wired, wired_directory
from tests.recorded.kept import kept_runs


def recorded_runs(only: str = "") -> Iterator[WiredRun]:
    """Yield the runs that are kept; ``only`` those whose name contains it."""
    for kept in kept_runs():
        if only in str(kept):
            yield wired_directory(str(kept), kept.directory)


def live_runs(place: Path, only: str = "") -> Iterator[WiredRun]:
    """Make each built-in plan and each injected fault on the guest ``host`` and yield the runs; ``only`` those so named."""
    shown = [name for name in built_in_plans() if not name.startswith(("unplug", "found"))]
    wanted = [(name, "") for name in sorted(shown)]
    wanted += [(fault.plan, name) for name, fault in INJECTED_FAULTS.items()]
    for plan, fault in wanted:
        name = f"{plan}, {fault} (live)" if fault else f"{plan} (live)"
        if only not in name:
            continue
        request = RunRequest(
            plan=find_plan(plan), guest="host", runs=place, cache=cache_directory(os.environ), argv=["loss"],
            inject_fault=fault or None,
        )  # fmt: skip
        yield wired_directory(name, perform(request).directory)


def violating_examples(only: str = "") -> Iterator[WiredRun]:
    """Yield the example of each rule that makes a run violated, where it has exactly one channel with an account.

    ``only`` yields those whose name contains it.
    """
    for rule in all_rules():
        name = f"violates {rule.id}"
        if only not in name:
            continue
        with contextlib.suppress(ValueError):
            run = wired(name, trace(rule.violates), Path(rule.id))
            if run.verdict.verdict is Verdict.VIOLATED:
                yield run
