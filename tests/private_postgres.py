# SPDX-License-Identifier: MIT
"""A PostgreSQL server of the tests' own: a cluster in a private directory, reached by a Unix socket only."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from part_markers import needs
from unprivileged import Unprivileged

from harness.setup.parts import part


class PrivatePostgres:
    """One cluster, whose user ``lab`` may do everything and needs no password.

    ``durable`` is for measurements: the server waits for the disk, as a server in use does.
    """

    def __init__(self, owner: Unprivileged, *, durable: bool = False) -> None:
        self.directory = owner.directory
        self._durable = durable
        self._owner = owner
        self._programs = Path(part("postgres").needs[0].found()).resolve().parent
        self._data = self.directory / "data"
        self._numbers = itertools.count(1)
        self._run("initdb", "--pgdata", str(self._data), "--username", "lab", "--auth", "trust", "--no-sync")

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        sync = "on" if self._durable else "off"
        options = f"-k {self.directory} -c listen_addresses= -c fsync={sync} -c shared_buffers=256MB"
        log = str(self.directory / "log")
        self._control("--log", log, "--options", options, "start")

    def stop(self) -> None:
        """End the server at once, as if its host had lost its power: connections break off."""
        self._control("--mode", "immediate", "stop")

    def restart(self) -> None:
        """Start the server if it is not up."""
        if not (self._data / "postmaster.pid").exists():
            self.start()

    def pause(self) -> None:
        """Stop the server's processes, so that it answers nobody."""
        os.kill(self.number, signal.SIGSTOP)

    def proceed(self) -> None:
        """Let the server go on."""
        os.kill(self.number, signal.SIGCONT)

    @property
    def number(self) -> int:
        """The process number of the server."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def database(self) -> str:
        """Make an empty database and return its address."""
        name = f"lab{next(self._numbers)}"
        self.ask("postgres", f"CREATE DATABASE {name}")
        return self.address(name)

    def address(self, name: str, user: str = "lab") -> str:
        """Return the address of a database."""
        return f"postgresql://{user}@/{name}?host={quote(str(self.directory))}"

    def ask(self, name: str, words: str) -> str:
        """Return what psql prints for a statement."""
        return self._run("psql", "-X", "-qtA", "-h", str(self.directory), "-U", "lab", "-c", words, name)

    def _control(self, *words: str) -> None:
        self._run("pg_ctl", "--pgdata", str(self._data), "--wait", *words)

    def _run(self, program: str, *words: str) -> str:
        # Into a file: the server inherits it, and a pipe would stay open for as long as the server runs.
        output = self.directory / f"{program}.out"
        with output.open("wb") as file:
            ended = subprocess.run(
                [self._programs / program, *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=120,
                check=False,
                **self._owner.popen,
            )
        text = output.read_text(errors="replace")
        assert ended.returncode == 0, text
        return text


@contextlib.contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[PrivatePostgres]:
    """Yield a server in a directory of its own. Both are removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="hh-"))
    try:
        server = PrivatePostgres(Unprivileged(directory), durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
@needs("postgres")
def postgres_server() -> Iterator[PrivatePostgres]:
    """The server of this session."""
    with running_postgres() as server:
        yield server
