# SPDX-License-Identifier: MIT
"""The worker of a fleet: it offers this host to a scheduler, and offers it again whenever the scheduler was lost.

Each offer has a new session, and an order for an earlier session is refused. So no order of an earlier session is
executed twice.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.errors import InfrastructureError, UsageError, system_errors
from harness.fleet.engine import (
    CONNECT_S,
    ENDING,
    Engine,
    check_address,
    engine_version,
    is_loopback,
    require_engine,
    settle_engine,
)
from harness.fleet.engine_server import EngineServer
from harness.fleet.scheduler_probe import greet, probe
from harness.fleet.tls import TlsFiles, security
from harness.fleet.worker_service import WorkerService, offered
from harness.host.budget import host_budget
from harness.run.say import Say

START_S = 60.0
PAUSE_S = 2.0
"""Seconds between two attempts to reach a scheduler."""
ALIVE_S = 3.0
"""Seconds for another worker of this name to answer. One that accepts a connection and does not answer is stopped, not gone."""
LEFT_S = 60.0
"""Seconds between two attempts to send what could not be sent."""


class NameTaken(InfrastructureError):
    """The scheduler has a worker of this name."""


@dataclasses.dataclass(eq=False)
class FleetWorker:
    """Offers this host, called ``host``, to the scheduler at ``url``. ``harness`` is the version that it reports.
    ``instance`` tells several workers of one host apart, such as jobs of a batch system.

    It listens at ``listen``, "" for the interface that reaches the scheduler, and at ``port``, 0 for any.
    """

    url: str
    tls: TlsFiles | None
    _: dataclasses.KW_ONLY
    host: str
    instance: str = ""
    work: Path
    harness: str
    listen: str = ""
    port: int = 0
    say: Say

    def __post_init__(self) -> None:
        require_engine()
        check_address(self.url, self.tls)
        self._told: list[str] = []

    def serve(self, *, once: bool = False) -> None:
        """Offer the host until interrupted. With ``once``, only until the scheduler is lost.

        Raises KeyboardInterrupt after its cells have ended. Raises UsageError if a live worker has this name. Raises
        InfrastructureError if the working directory cannot be made or, with ``once``, if the scheduler cannot be reached.
        """
        settle_engine()
        with system_errors(
            f"cannot make the working directory {self.work}", hint="Give one with --work DIR."
        ):
            self.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        last = ""
        while True:
            service = WorkerService(self.work, host=self.host, session=secrets.token_hex(6), say=self.say)
            WorkerService.current = service
            self._send_left(service)
            server = None
            taken = False
            try:
                probe(self.url, self.tls, CONNECT_S)
                self._check_name()
                server = EngineServer(f"worker for {self.url}", functools.partial(self._make, service))
                server.start(START_S)
                last = ""
                self.say(f"{self.host} is offered to {self.url}")
                self._attend(server, service)
                self.say(
                    f"the scheduler {self.url} is lost; the cells of this host are ended, and it is offered again"
                )
            except KeyboardInterrupt:
                if server is not None:
                    server.tell(ENDING, service.session)
                raise
            except NameTaken:
                # Another worker was as fast. The next check names it, if it is still there.
                taken = True
            except InfrastructureError as error:
                if once:
                    raise
                if error.message != last:
                    self.say(f"{error.message}. {error.hint}".rstrip())
                    self.say("trying again until it can be reached")
                last = error.message
            finally:
                service.drain()
                if server is not None:
                    server.close()
                service.close()
            if once and not taken:
                return
            threading.Event().wait(PAUSE_S)

    def _check_name(self) -> None:
        """Raise UsageError if a live worker of this name is at the scheduler. One whose address refuses connections was
        killed: the scheduler has not noticed it yet, and is told. Of two that start at once, the scheduler takes one."""
        with Engine.connect(self.url, self.tls) as engine:
            for other in engine.hosts():
                if (other.name, other.instance) != (self.host, self.instance):
                    continue
                try:
                    greet(other.address, self.tls, ALIVE_S)
                except TimeoutError:
                    pass
                except OSError:
                    engine.forget(other)
                    continue
                one = f"{self.host}, instance {self.instance}," if self.instance else self.host
                raise UsageError(
                    f"a worker named {one} is at this scheduler already, at {other.address}",
                    hint="Give another name with --name HOST, or end that worker. Several workers of one host, such as jobs of "
                    "a batch system, need --instance ID. The scheduler forgets a host that is switched off after its "
                    "--heartbeat.",
                )

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
                self.say(f"not sent yet: {line}")
        self._told = left

    async def _make(self, service: WorkerService) -> Any:
        from distributed import Worker

        budget = host_budget(os.environ, self.work)
        host = urlsplit(self.url).hostname or ""
        listen = self.listen or ("127.0.0.1" if is_loopback(host) else None)
        worker = Worker(
            self.url,
            # The scheduler refuses a name that it has, in one step: two that start at once cannot both get it.
            name=f"{self.host}/{self.instance}",
            # A cell is a process of its own and waits for its lease. One thread waits for that process.
            nthreads=budget.vcpus + 2,
            resources=offered(budget, harness=self.harness, engine=engine_version(), session=service.session),
            memory_limit=0,
            host=listen,
            port=self.port,
            security=security(self.tls),
            local_directory=str(self.work / ".engine"),
            death_timeout=CONNECT_S,
            dashboard=False,
            dashboard_address="127.0.0.1:0",
            nanny=None,
        )
        try:
            return await worker
        except RuntimeError as error:
            # The engine has no type for this answer of Scheduler.add_worker.
            if "name taken" in str(error.__cause__):
                raise NameTaken(f"the scheduler {self.url} has a worker named {self.host}") from error
            raise
