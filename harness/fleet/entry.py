# SPDX-License-Identifier: MIT
"""The only function that a scheduler makes hosts execute. Its module imports nothing until it is called."""

from __future__ import annotations


def perform(order: str) -> str:
    """Execute an order on this host and return the answer, both as JSON. Raises RuntimeError outside ``harness
    worker``."""
    from distributed import get_worker

    from harness.fleet.engine import BEGUN
    from harness.fleet.worker_service import WorkerService

    service = WorkerService.current
    if service is None:
        raise RuntimeError("this process is not 'harness worker'")
    worker = get_worker()
    key = worker.get_current_task()
    # An order may have waited here behind those of another nightly run: its time begins now.
    worker.log_event(BEGUN, key)

    def wanted() -> bool:
        """Return whether the scheduler still wants this task. The engine only forgets a released task and never ends
        it."""
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing" and worker.status.name in ("running", "paused")

    return service.perform(order, wanted)
