# SPDX-License-Identifier: MIT
"""Fleets of real processes on this host: a scheduler, workers, and nightly runs."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harness.deadline import Deadline
from harness.fleet.engine import Engine
from harness.fleet.scheduler_probe import SchedulerLost
from harness.fleet.tls import TlsFiles
from harness.forking.fork_server import ForkServer
from tests.fleet.forked_entry import STORE
from tests.fleet.started import loaded_engine, start
from tests.processes_of import processes_of, words_of
from tests.started_process import StartedProcess

T = TypeVar("T")
FleetProcess = subprocess.Popen[bytes] | StartedProcess

PATIENCE = 120.0
SMALL_PIECES = (
    "import sys, harness.fleet.results_place as place; from harness.cli.main import main\n"
    "place.PIECE = {}\nsys.exit(main(sys.argv[1:]))"
)
"""A worker that sends run directories in pieces of so many bytes, since those of short runs fit into one."""


class Fleet:
    """A scheduler and workers as processes of their own, below ``place``; all are killed at the end.

    ``exchange`` is the address for ``results`` in lab.toml, ``environment`` the variables of all processes. ``piece`` is the
    size in bytes of the pieces that workers send, 0 for their own.
    """

    tls: TlsFiles | None = None
    """The files of this process and of the scheduler."""
    server: ForkServer | None = None
    """What commands are forked from; None for a new interpreter for each."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.exchange = f"file://{place / 'results'}"
        self.environment: dict[str, str] = {}
        self.piece = 0
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.url = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        self.processes: dict[str, FleetProcess] = {}
        self._numbers = itertools.count()

    def start(self, name: str, *words: str, **environment: str) -> FleetProcess:
        """Start a command of the harness; what it says goes to ``name``.log."""
        return self._python(name, ["-m", "harness"], words, environment)

    def before(self, name: str) -> list[str]:
        """Return the program that starts a process on its host, [] for this one."""
        return []

    def options(self, name: str) -> list[str]:
        """Return what a process is told about its connections."""
        return []

    def own(self, name: str) -> dict[str, str]:
        """Return the variables of one process."""
        return {}

    def inside(self, call: Callable[[], T]) -> T:
        """Call something where the scheduler is."""
        return call()

    def last(self, name: str) -> FleetProcess:
        """Return the last process that was started under a name."""
        return [one for known, one in self.processes.items() if known.rpartition(".")[0] == name][-1]

    def run_job(self, name: str, script: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a shell script, in which ``harness`` is this one."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return self._start(name, ["bash", script], {"PATH": path, **environment})

    def run_python(self, name: str, program: str, *words: str, **environment: str) -> FleetProcess:
        """Start a program of Python; what it says goes to ``name``.log."""
        return self._python(name, ["-c", program], words, environment)

    def _python(
        self, name: str, what: list[str], words: Sequence[str], environment: dict[str, str]
    ) -> FleetProcess:
        if self.server is None or self.before(name):
            return self._start(name, [*self.before(name), sys.executable, *what, *words], environment)
        kind, program = what
        process = start(
            self.server, list(words), self.place / f"{name}.log", place=self.place,
            environment=self._variables(name, environment), program=program if kind == "-c" else "",
        )  # fmt: skip
        self.processes[f"{name}.{next(self._numbers)}"] = process
        return process

    def _start(self, name: str, words: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.place / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.place,
                env=self._variables(name, environment),
            )  # fmt: skip
        self.processes[f"{name}.{next(self._numbers)}"] = process
        return process

    def _variables(self, name: str, environment: dict[str, str]) -> dict[str, str]:
        return {**os.environ, **self.environment, **self.own(name), **environment}

    def scheduler(self, *, heartbeat: float = 60.0) -> FleetProcess:
        """Start the scheduler and wait until it listens. A busy machine keeps a worker from a short ``heartbeat``."""
        words = ("--listen", self.url, "--heartbeat", f"{heartbeat:g}", *self.options("scheduler"))
        process = self.start("scheduler", "fleet", "scheduler", *words)
        began = sum(known.startswith("scheduler.") for known in self.processes)

        def listens() -> bool:
            said = self.said("scheduler")
            assert process.poll() is None, said
            return said.count("The scheduler listens at") == began

        Deadline(PATIENCE, "the scheduler").poll(listens, interval=0.1)
        return process

    def worker(self, name: str, **environment: str) -> FleetProcess:
        """Start a worker, without waiting for it."""
        words = (
            "worker",
            "--scheduler",
            self.url,
            "--name",
            name,
            "--work",
            str(self.place / f"work-{name}"),
            *self.options(name),
        )
        if self.piece:
            return self.run_python(name, SMALL_PIECES.format(self.piece), *words, **environment)
        return self.start(name, *words, **environment)

    def hosts(self, *names: str) -> None:
        """Wait until exactly these hosts are there."""
        deadline = Deadline(PATIENCE, f"the hosts {names}")

        def there() -> bool:
            try:
                with Engine.connect(self.url, self.tls, seconds=3) as engine:
                    return deadline.poll(
                        lambda: sorted(host.name for host in engine.hosts()) == sorted(names), interval=0.1
                    )
            except SchedulerLost:
                return False

        deadline.poll(lambda: self.inside(there), interval=0.2)

    def nightly(self, *words: str) -> FleetProcess:
        """Start the nightly run n of lab.toml."""
        return self.start(
            "nightly", "nightly", "--once", "--name", "n", "--scheduler", self.url, "--lab", "lab.toml", *words
        )  # fmt: skip

    def said(self, name: str) -> str:
        """Return what a process said."""
        return (self.place / f"{name}.log").read_text()

    def wait_said(self, name: str, words: str) -> None:
        """Wait until a process says something, but not longer than a nightly run lasts."""

        def said() -> bool:
            nightly = [one for known, one in self.processes.items() if known.startswith("nightly.")]
            over = bool(nightly) and all((one.poll() or 0) > 0 for one in nightly) and name != "nightly"
            found = words in self.said(name)
            assert found or not over, self.said("nightly")
            return found

        Deadline(PATIENCE, f"{name} says {words!r}").poll(said, interval=0.1)

    def outcomes(self) -> list[dict[str, Any]]:
        """Return every line of the journal but the first."""
        lines = (self.place / "nightly" / "n" / "state.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines[1:]]

    def runs(self) -> list[Path]:
        """Return the run directories of the nightly run."""
        return sorted(file.parent for file in (self.place / "nightly" / "n" / "runs").glob("*/run.json"))

    def lab(self, text: str) -> None:
        """Write lab.toml."""
        (self.place / "lab.toml").write_text(text)

    def cells(self) -> list[int]:
        """Return the processes of cells: those that run below the workers' folders."""
        return [pid for pid in processes_of(str(self.place / "work-")) if "worker" not in words_of(pid)]

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


@pytest.fixture(scope="session")
def engine_server() -> Iterator[ForkServer]:
    """What has loaded the engine."""
    with loaded_engine() as server:
        yield server


@pytest.fixture(scope="session")
def store_server() -> Iterator[ForkServer]:
    """What has loaded the engine and the result store."""
    with loaded_engine(*STORE) as server:
        yield server


@pytest.fixture(scope="module")
def fleet_server(request: pytest.FixtureRequest) -> ForkServer:
    """What the commands of a file's fleets are forked from: if one of its tests has runs, it has loaded the result store."""
    runs = any(
        item.nodeid.startswith(request.node.nodeid) and "fleet" in item.fixturenames and
        any(item.get_closest_marker(marker) for marker in ("host", "qemu"))
        for item in request.session.items if isinstance(item, pytest.Function)
    )  # fmt: skip
    server: ForkServer = request.getfixturevalue("store_server" if runs else "engine_server")
    return server


@pytest.fixture
def fleet(tmp_path: Path, fleet_server: ForkServer) -> Iterator[Fleet]:
    """A fleet without hosts yet."""
    made = Fleet(tmp_path)
    made.server = fleet_server
    yield made
    made.close()
