# SPDX-License-Identifier: MIT
"""The scheduler of a fleet: the engine's own, without its web pages and its retries."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from harness.fleet.engine import check_address, require_engine, settle_engine
from harness.fleet.engine_server import EngineServer
from harness.fleet.scheduler_probe import check_name
from harness.fleet.tls import TlsFiles, security

START_S = 60.0
HEARTBEAT_S = 60.0
"""Seconds without a heartbeat after which a worker counts as lost."""


def start_scheduler(url: str, tls: TlsFiles | None, *, heartbeat: float = HEARTBEAT_S) -> EngineServer:
    """Start a scheduler that listens at ``url``. Raises UsageError for the address, InfrastructureError if it cannot
    listen, at once if its name does not resolve."""
    require_engine()
    check_address(url, tls)
    check_name(url, tls)
    settle_engine()
    import dask
    from distributed import Scheduler

    dask.config.set({"distributed.scheduler.worker-ttl": f"{heartbeat:g}s"})
    parts = urlsplit(url)

    async def make() -> Any:
        return await Scheduler(
            host=parts.hostname, port=parts.port, protocol=parts.scheme, security=security(tls),
            dashboard=False, dashboard_address="127.0.0.1:0", jupyter=False,
        )  # fmt: skip

    server = EngineServer("scheduler", make)
    server.start(START_S)
    return server
