# SPDX-License-Identifier: MIT
"""The worker of a fleet: it offers this host to a scheduler, and offers it again whenever the scheduler was lost.

Each offer has a new session, and an order for an earlier session is refused. So no order of an earlier session is
executed twice.
"""

from __future__ import annotations

import functools
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.errors import InfrastructureError
from harness.fleet.engine import (
    CONNECT_S,
    TlsFiles,
    check_address,
    engine_version,
    is_loopback,
    require_engine,
    security,
    settle_engine,
)
from harness.fleet.engine_server import EngineServer
from harness.fleet.worker_service import SayLine, WorkerService, offered
from harness.host.budget import host_budget

START_S = 60.0
PAUSE_S = 2.0
"""Seconds between two attempts to reach a scheduler."""
LEFT_S = 60.0
"""Seconds between two attempts to send what could not be sent."""


class FleetWorker:
    """Offers this host, called ``host``, to the scheduler at ``url``. ``harness`` is the version that it reports."""

    def __init__(
        self,
        url: str,
        tls: TlsFiles | None,
        *,
        host: str,
        work: Path,
        harness: str,
        listen: str = "",
        say: SayLine,
    ) -> None:
        require_engine()
        self.url = check_address(url, tls)
        self.host = host
        self._tls = tls
        self._work = work
        self._harness = harness
        self._listen = listen
        self._say = say
        self._told: list[str] = []

    def serve(self, *, once: bool = False) -> None:
        """Offer the host until interrupted. With ``once``, only until the scheduler is lost.

        Raises KeyboardInterrupt after its cells have ended. Raises InfrastructureError if the working directory cannot
        be made or, with ``once``, if the scheduler cannot be reached.
        """
        settle_engine()
        try:
            self._work.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InfrastructureError(
                f"cannot make the working directory {self._work}: {error.strerror}",
                hint="Give one with --work DIR.",
            ) from error
        last = ""
        while True:
            service = WorkerService(self._work, host=self.host, session=secrets.token_hex(6), say=self._say)
            WorkerService.current = service
            self._send_left(service)
            server = EngineServer(f"worker for {self.url}", functools.partial(self._make, service))
            try:
                server.start(START_S)
                last = ""
                self._say(f"{self.host} is offered to {self.url}")
                self._attend(server, service)
                self._say(
                    f"the scheduler {self.url} is lost; the cells of this host are ended, and it is offered again"
                )
            except InfrastructureError as error:
                if once:
                    raise
                if error.message != last:
                    self._say(f"{error.message}; trying again")
                last = error.message
            finally:
                service.drained = True
                server.close()
            if once:
                return
            threading.Event().wait(PAUSE_S)

    def _attend(self, server: EngineServer, service: WorkerService) -> None:
        due = time.monotonic() + LEFT_S
        while not server.wait(1.0):
            if time.monotonic() > due:
                self._send_left(service)
                due = time.monotonic() + LEFT_S

    def _send_left(self, service: WorkerService) -> None:
        left = service.send_left()
        for line in left:
            if line not in self._told:
                self._say(f"not sent yet: {line}")
        self._told = left

    async def _make(self, service: WorkerService) -> Any:
        from distributed import Worker

        budget = host_budget(os.environ, self._work)
        host = urlsplit(self.url).hostname or ""
        listen = self._listen or ("127.0.0.1" if is_loopback(host) else None)
        return await Worker(
            self.url,
            name=f"{service.host}/{service.session}",
            # A cell is a process of its own and waits for its lease. One thread waits for that process.
            nthreads=budget.vcpus + 2,
            resources=offered(budget, harness=self._harness, engine=engine_version()),
            memory_limit=0,
            host=listen,
            security=security(self._tls),
            local_directory=str(self._work / ".engine"),
            death_timeout=CONNECT_S,
            dashboard=False,
            dashboard_address="127.0.0.1:0",
            nanny=None,
        )
