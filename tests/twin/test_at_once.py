# SPDX-License-Identifier: MIT
"""Several runs started together: each waits for its lease, none is judged wrong for the others' sake.

``HOTPLUG_HARNESS_AT_ONCE=8`` starts eight.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from forked_command import Forked

from harness.history.reader import History
from harness.history.record import Qmp, Stage

AT_ONCE = int(os.environ.get("HOTPLUG_HARNESS_AT_ONCE", "3"))

VCPUS = 3
"""What PLAN counts: two processors at power-on and one that it adds."""


def spans(history: History) -> tuple[int, int]:
    """Return when a run was given its lease, and when its QEMU said its last word, in nanoseconds of the host's clock."""
    records = list(history)
    (granted,) = [
        one.host_ns for one in records if isinstance(one, Stage) and (one.name, one.phase) == ("lease", "end")
    ]
    return granted, max(one.host_ns for one in records if isinstance(one, Qmp))


def most_at_once(lives: list[tuple[int, int]]) -> int:
    """Return how many of the spans overlap where most of them do."""
    return max(sum(begin <= moment < end for begin, end in lives) for moment, _ in lives)


PLAN = """
name = "held"
[[do]]
op = "add-cpu"
[[do]]
op = "quiesce"
quiet = 1.5
"""
"""Demands as much as the demo, and holds its lease while the guest is silent, so that runs that begin together overlap."""


@pytest.mark.qemu
@pytest.mark.timeout(600)
@pytest.mark.parametrize("budget", [2 * VCPUS + 1, VCPUS * AT_ONCE], ids=["two fit", "all fit"])
def test_runs_at_once(start_forked: Callable[..., Forked], tmp_path: Path, budget: int) -> None:
    """All hold. As many as the budget bears run together, and the others have waited in a queue and said so."""
    environment = (
        f"HOTPLUG_HARNESS_LEASES={tmp_path / 'leases'}",
        f"HOTPLUG_HARNESS_BUDGET_VCPUS={budget}",
        "HOTPLUG_HARNESS_BUDGET_MEMORY=64 GiB",
    )
    plan = tmp_path / "held.toml"
    plan.write_text(PLAN)
    words = ["run", str(plan), "--restore", "--accel", "tcg", "--runs", str(tmp_path / "runs")]
    runs = [start_forked(*environment, *words) for _ in range(AT_ONCE)]
    said = [run.communicate(timeout=500)[1].decode() for run in runs]
    assert [0] * AT_ONCE == [run.returncode for run in runs], said
    directories = [path for path in (tmp_path / "runs").iterdir() if not path.is_symlink()]
    lives = [spans(History(path)) for path in directories]
    assert len(lives) == AT_ONCE
    assert most_at_once(lives) * VCPUS <= budget
    waited = sum("in the queue: needs 3 processors" in text for text in said)
    assert (budget < VCPUS * AT_ONCE) == (waited > 0)
    assert [] == list((tmp_path / "leases").iterdir())
