# SPDX-License-Identifier: MIT
"""One report for each fault that can be injected, made by real runs: ``python -m tests.report.page.examples DIR``.

The faults of the NT layer are shown by the guest ``host``, which takes a second; those of the twin's Linux by the twin.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec.structs import replace

from harness.errors import HarnessError
from harness.guest.fault_injection import ALL_FAULTS, INJECTED_FAULTS, InjectedFault
from harness.history.run_directory import REPORT
from harness.run.operation import Unplug
from harness.run.options import Timeouts
from harness.run.plan import built_in_plans
from harness.run.request import RunRequest
from harness.run.run import perform
from harness.setup.cache import cache_directory

QUICK = Timeouts(operation=10.0, consequence=0.5, quiet=0.03)
"""A process answers at once."""

UNANSWERED = {"unplug-ignored", "unplug-slow"}
"""Faults by which no answer to a request comes in time."""
IN_VAIN = 3.0
"""Seconds for which such an answer is waited for. The plans wait longer, for guests that do answer."""


def report_of(name: str, fault: InjectedFault, runs: Path) -> Path:
    """Run the fault's plan with it, and return the report of the run. Raises HarnessError."""
    on_host = name in INJECTED_FAULTS
    plan = built_in_plans()[fault.plan]
    if name in UNANSWERED:
        steps = [replace(one, timeout=IN_VAIN) if isinstance(one, Unplug) else one for one in plan.do]
        plan = replace(plan, do=steps)
    request = RunRequest(
        plan=plan, guest="host" if on_host else "twin", inject_fault=name, report="always", restore=not on_host,
        runs=runs, cache=cache_directory(os.environ), argv=["harness", "run", fault.plan, "--inject-fault", name],
        budget=QUICK if on_host else Timeouts(),
    )  # fmt: skip
    return perform(request).directory / REPORT


def written(into: Path, faults: Mapping[str, InjectedFault]) -> Iterator[tuple[str, str]]:
    """Write the reports into a directory, each called after its fault; yield each name, and why it could not be made."""
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as runs:
        for name, fault in faults.items():
            try:
                data = report_of(name, fault, Path(runs)).read_bytes()
            except HarnessError as error:
                yield name, error.message
                continue
            (into / f"{name}.html").write_bytes(data)
            yield name, ""


def main(words: list[str]) -> int:
    """Write all of them into the directory that is named, ``examples`` if none is."""
    into = Path(words[0] if words else "examples")
    failed = 0
    for name, why in written(into, ALL_FAULTS):
        failed += bool(why)
        sys.stdout.write(f"{into / name}.html{f': {why}' if why else ''}\n")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
