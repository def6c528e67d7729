# SPDX-License-Identifier: MIT
"""Forked processes: what they have of their server, how they end, and that they end with whoever asked for them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.forking.fork_server import ForkServer
from harness.forking.forked_process import ForkedProcess

HERE = "tests.forking.entries"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """A server that has imported the entries of the tests, and serves all of them that leave it alone."""
    with ForkServer([HERE]) as one:
        yield one


@pytest.fixture
def own_server() -> Iterator[ForkServer]:
    """Such a server for one test."""
    with ForkServer([HERE]) as one:
        yield one


def told(server: ForkServer, *words: str) -> tuple[dict[str, Any], int]:
    """Return what a forked process says of itself, with its exit status."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe:
        process = server.start(f"{HERE}:describe", words, descriptors=[writing])
        os.close(writing)
        found: dict[str, Any] = json.loads(pipe.read())
    return found, process.wait()


def lasting(server: ForkServer, *words: str) -> ForkedProcess:
    """Return a forked process that waits for a signal, once it waits."""
    reading, writing = os.pipe()
    process = server.start(f"{HERE}:last", words, descriptors=[writing])
    os.close(writing)
    assert os.read(reading, 20) == str(process.pid).encode()
    os.close(reading)
    return process


def alive(pid: int) -> bool:
    """Return whether a process runs; one that nobody has reaped does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def ends(*pids: int) -> None:
    """Wait until processes have ended."""
    Deadline(30, f"the end of {pids}").poll(lambda: not any(map(alive, pids)))


def test_a_forked_process_is_like_a_new_one(server: ForkServer) -> None:
    """It has its own session, one thread, the descriptors that it was given, no blocked signal, and its exit status."""
    with lasting_closed(lasting(server)):
        found, status = told(server, "one", "two")
        other, _ = told(server)
    assert status == 7
    assert found["words"] == ["one", "two"]
    assert (found["parent"], found["session"]) == (server.pid, found["pid"])
    # The pipe to write to, and the folder that is being listed.
    assert len(found["descriptors"]) <= 2
    assert (found["threads"], found["blocked"]) == ([1, 1], [])
    assert found["random"] != other["random"]


@contextlib.contextmanager
def lasting_closed(process: ForkedProcess) -> Iterator[ForkedProcess]:
    """End a process at the end of the block."""
    yield process
    process.ask(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_it_has_what_the_server_imported() -> None:
    """So no process imports it again; and the server has no thread after it."""
    with ForkServer(["harness.run.run", HERE]) as server:
        found, _ = told(server)
        assert (found["loaded"], found["threads"]) == (True, [1, 1])
        tasks = list(Path(f"/proc/{server.pid}/task").iterdir())
        assert len(tasks) == 1


def sockets(place: Path) -> list[Path]:
    """Return the open sockets below a process's ``fd``."""
    found = []
    for each in place.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += [each] if str(each.readlink()).startswith("socket:") else []
    return found


@pytest.mark.host
def test_a_run_imports_nothing_again(tmp_path: Path) -> None:
    """All of the harness that it needs is in the server, which has no thread and no open socket but its client's."""
    reading, writing = os.pipe()
    words = ["run", "cpu-and-dimm", "--guest", "host", "--runs", str(tmp_path), "--json"]
    with ForkServer() as server, (tmp_path / "out").open("wb") as out, os.fdopen(reading) as pipe:
        # The driver is built once, by modules that no other run needs.
        assert server.start(words=words, output=(out, out)).wait() == 0
        process = server.start(f"{HERE}:run", words, output=(out, out), descriptors=[writing])
        os.close(writing)
        imported = json.loads(pipe.read())
        assert process.wait() == 0
        place = Path(f"/proc/{server.pid}")
        tasks = list((place / "task").iterdir())
        # The server closes what it had of a run when it has sent how that ended.
        Deadline(30, "one socket").poll(lambda: len(sockets(place / "fd")) == 1)
    assert [name for name in imported if name.startswith("harness.")] == []
    assert len(tasks) == 1


def test_output_goes_to_files(server: ForkServer, tmp_path: Path) -> None:
    """Each stream to its own."""
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = server.start(f"{HERE}:speak", output=(out, err))
    assert process.wait() == 0
    assert ((tmp_path / "out").read_text(), (tmp_path / "err").read_text()) == ("out\n", "err\n")


def test_signals_reach_it(server: ForkServer) -> None:
    """SIGTERM does; SIGKILL ends one that ignores it. A signal to one that has ended is nothing."""
    one, deaf = lasting(server), lasting(server, "deaf")
    one.ask(signal.SIGTERM)
    assert one.wait() == -signal.SIGTERM
    deaf.ask(signal.SIGTERM)
    assert not deaf.ended(0.05)
    deaf.ask(signal.SIGKILL)
    assert deaf.ended(30)
    assert (deaf.wait(), deaf.orphaned) == (-signal.SIGKILL, False)
    for number in (signal.SIGTERM, signal.SIGKILL):
        deaf.ask(number)


def test_its_descriptor_tells_the_end(server: ForkServer) -> None:
    """As a selector sees it."""
    process = lasting(server)
    watched = select.poll()
    watched.register(process.descriptor, select.POLLIN)
    assert watched.poll(0) == []
    process.ask(signal.SIGTERM)
    assert [descriptor for descriptor, _ in watched.poll(30_000)] == [process.descriptor]
    process.wait()


def test_the_end_of_the_block_ends_all(own_server: ForkServer) -> None:
    """Also what ignores SIGTERM is ended by who waits for it; the server goes, and its processes with it."""
    processes = [lasting(own_server) for _ in range(3)]
    pid = own_server.pid
    own_server.close()
    assert [one.wait() for one in processes] == [-signal.SIGTERM] * 3
    ends(pid)
    assert own_server.pid == 0


def test_a_server_that_dies_takes_its_processes_and_is_replaced(own_server: ForkServer) -> None:
    """Its processes are orphaned, not successful, and the next one has a new server."""
    process, first = lasting(own_server), own_server.pid
    os.kill(first, signal.SIGKILL)
    assert (process.wait(), process.orphaned) == (-signal.SIGKILL, True)
    ends(process.pid)
    found, status = told(own_server)
    assert (status, found["parent"] != first) == (7, True)


CLIENT = f"""
import os, sys, time
from harness.forking.fork_server import ForkServer
server = ForkServer(["{HERE}"])
reading, writing = os.pipe()
found = [server.start("{HERE}:last", descriptors=[writing]).pid for _ in range(2)]
for _ in found:
    os.read(reading, 1)
print(server.pid, *found, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_they_end_with_the_client(number: signal.Signals) -> None:
    """However it ends: nothing of it is left."""
    client = subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    with client:
        assert client.stdout is not None
        pids = [int(word) for word in client.stdout.readline().split()]
        assert (len(pids), all(map(alive, pids))) == (3, True)
        client.send_signal(number)
    ends(*pids)


def test_what_cannot_be_started_is_said(server: ForkServer, capfd: pytest.CaptureFixture[str]) -> None:
    """A command line that no message can have; and a server that cannot import what it is told to: it was not killed."""
    with pytest.raises(InfrastructureError, match="a command line that is too long"):
        server.start(f"{HERE}:speak", ["x" * 200_000])
    with (
        ForkServer(["tests.forking.nosuch"]) as broken,
        pytest.raises(InfrastructureError, match="ended twice, with exit status 1") as caught,
    ):
        broken.start(f"{HERE}:speak")
    assert "tests.forking.nosuch" in caught.value.hint
    assert "No module named 'tests.forking.nosuch'" in capfd.readouterr().err


def test_a_process_that_has_just_begun_can_be_killed(server: ForkServer) -> None:
    """SIGKILL goes to its session, which it may not lead yet."""
    reading, writing = os.pipe()
    for _ in range(40):
        process = server.start(f"{HERE}:last", descriptors=[writing])
        process.ask(signal.SIGKILL)
        assert process.ended(60)
        assert process.wait() == -signal.SIGKILL
    os.close(reading)
    os.close(writing)


def test_a_batch_systems_signal_takes_no_exit_status(server: ForkServer) -> None:
    """SIGTERM to the server, as to every process of a job: the server goes on, and its processes take the signal."""
    process = lasting(server)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(server.pid, number)
    os.kill(process.pid, signal.SIGTERM)
    assert (process.wait(), process.orphaned) == (-signal.SIGTERM, False)
    later = lasting(server)
    later.ask(signal.SIGTERM)
    assert (later.wait(), later.orphaned) == (-signal.SIGTERM, False)
