# SPDX-License-Identifier: MIT
"""Fixtures: commands of the harness, and pytests, as processes of their own that are forked from one that has loaded them.

What a new interpreter loads takes it as much processor time as a restored run of the twin. Signals at the very start of an
interpreter are in ``tests/test_interrupts.py``.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO

import pytest

from harness.forking.fork_server import RUNS, ForkServer
from tests.started_process import StartedProcess
from tests.warm_programs import LOADING, WarmPrograms

ENTRIES = "tests.forked_entry"
"""The module that the processes begin in."""

ENVIRONMENT = ("HOME", "HOTPLUG_", "PYTEST_", "XDG_")
"""The beginnings of the names of variables that a test may set for its pytest."""


class Forked(StartedProcess):
    """A forked process, and what it writes."""

    def __init__(
        self, server: ForkServer, entry: str, words: tuple[str, ...], stdin: IO[bytes] | None = None
    ) -> None:
        self._files = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - close() does
        given = [stdin.fileno()] if stdin is not None else []
        super().__init__(server.start(f"{ENTRIES}:{entry}", words, output=self._files, descriptors=given))

    def communicate(self, timeout: float) -> tuple[bytes, bytes]:
        """Wait for its end, and return what it wrote to its standard output and error."""
        if self.returncode is None:
            self.wait(timeout)
        return self.written()

    def written(self) -> tuple[bytes, bytes]:
        """Return what it has written so far to its standard output and error."""
        out, err = (os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0) for file in self._files)
        return out, err

    def close(self) -> None:
        """End it, if it still runs."""
        self.kill()
        self.wait()
        for file in self._files:
            file.close()


@pytest.fixture(scope="session")
def command_server() -> Iterator[ForkServer]:
    """The process that commands are forked from."""
    with ForkServer((ENTRIES, *RUNS)) as server:
        yield server


@pytest.fixture(scope="session")
def suite_server() -> Iterator[ForkServer]:
    """The process that pytests are forked from."""
    with ForkServer((f"{ENTRIES}:load_suite", *RUNS)) as server:
        yield server


@pytest.fixture(scope="session")
def warm_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., tuple[int, str]]]:
    """A shell that starts ``python`` and ``harness`` without loading what others wrote each time."""
    with ForkServer([LOADING]) as server:
        yield WarmPrograms(tmp_path_factory.mktemp("programs"), server).run


@pytest.fixture
def start_forked(command_server: ForkServer) -> Iterator[Callable[..., Forked]]:
    """A function that starts a command, which has ended when the test has. ``NAME=value`` before it is for its environment."""
    with contextlib.ExitStack() as stack:

        def start(*words: str, entry: str = "command") -> Forked:
            process = Forked(command_server, entry, words)
            stack.callback(process.close)
            return process

        yield start


@pytest.fixture
def run_forked(start_forked: Callable[..., Forked]) -> Callable[..., tuple[int, str, str]]:
    """A function that runs a command, and returns its exit code, standard output and standard error."""

    def run(*words: str, seconds: float = 120, entry: str = "command") -> tuple[int, str, str]:
        process = start_forked(*words, entry=entry)
        out, err = (text.decode() for text in process.communicate(seconds))
        return process.returncode or 0, out, err

    return run


@pytest.fixture
def start_pytest(suite_server: ForkServer, pytester: pytest.Pytester) -> Iterator[Callable[..., Forked]]:
    """A function that starts a pytest in the test's directory, with what is ``typed`` for it. It has ended when the test has."""
    with contextlib.ExitStack() as stack:

        def start(*words: str, typed: str = "") -> Forked:
            base = tempfile.mkdtemp(prefix="runpytest-", dir=pytester.path)
            given = [f"{name}={value}" for name, value in os.environ.items() if name.startswith(ENVIRONMENT)]
            with tempfile.TemporaryFile() as stdin:
                stdin.write(typed.encode())
                stdin.seek(0)
                process = Forked(
                    suite_server,
                    "suite",
                    (f"PWD={pytester.path}", *given, f"--basetemp={base}", *words),
                    stdin,
                )
            stack.callback(process.close)
            return process

        yield start


@pytest.fixture
def run_pytest(start_pytest: Callable[..., Forked]) -> Callable[..., pytest.RunResult]:
    """A function that runs a pytest in the test's directory, as ``pytester.runpytest_subprocess`` does."""

    def run(*words: str, typed: str = "") -> pytest.RunResult:
        began = time.monotonic()
        process = start_pytest(*words, typed=typed)
        out, err = (text.decode().splitlines() for text in process.communicate(120))
        return pytest.RunResult(process.returncode or 0, out, err, time.monotonic() - began)

    return run
