# SPDX-License-Identifier: MIT
"""The job script of docs/fleet.md, with the variables that Slurm sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet.conftest import PATIENCE, Fleet

from harness.fleet.engine import Engine
from harness.fleet.scheduler import start_scheduler

PAGE = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text(encoding="utf-8")
(SCRIPT,) = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
"""The job script as it is printed."""
GIVEN = {
    "SLURM_CPUS_PER_TASK": "3",
    "SLURM_MEM_PER_NODE": "1280",
    "SLURM_JOB_ID": "7",
    "SLURMD_NODENAME": "node1",
}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet without hosts. Its scheduler is in this process, which has to load the engine anyway."""
    made = Fleet(tmp_path)
    scheduler = start_scheduler(made.url, None)
    yield made
    made.close()
    scheduler.close()


def test_a_job_is_a_worker_until_it_is_ended(fleet: Fleet) -> None:
    """It offers what the batch system gave it; SIGTERM ends it, and the host is gone at once."""
    (fleet.place / "worker.sh").write_text(SCRIPT)
    fleet.lab(f'[fleet]\nscheduler = "{fleet.url}"\n[[plan]]\nplan = "veto"\n')
    job = fleet.run_job("job", "worker.sh", HOME=str(fleet.place), TMPDIR=str(fleet.place), **GIVEN)
    fleet.wait_said("job", "is offered")
    with Engine.connect(fleet.url, None) as engine:
        (host,) = engine.hosts()
        assert "node1" == host.name
        assert [3.0, float(1 << 30)] == [host.resources[name] for name in ("vcpus", "memory")]
        job.terminate()
        assert 143 == job.wait(PATIENCE), fleet.said("job")
        assert [] == engine.hosts()
