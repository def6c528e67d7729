# SPDX-License-Identifier: MIT
"""The guest agent's protocol, with the real agent and with servers that keep no protocol at all."""

from __future__ import annotations

import json
import re
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transport.posix import Posix
from transport.servers import Agent

from harness.deadline import Deadline
from harness.errors import GuestHang, GuestRefused, GuestUnreachable
from harness.transport import qga
from harness.transport.link import WireTransport

pytestmark = pytest.mark.remote


def test_what_a_former_client_left_is_passed_over(
    over_qga: WireTransport, agent: Agent, within: Deadline
) -> None:
    """Half a request, and an answer that nobody read."""
    with socket.socket(socket.AF_UNIX) as former:
        former.connect(str(agent.path))
        former.sendall(b'{"execute": "guest-ping"}\n{"execute": "guest-')
        # An agent that answers whoever is gone already ends itself, for that is an error of its channel.
        former.shutdown(socket.SHUT_WR)
        left = select.poll()
        left.register(former, select.POLLHUP)
        assert left.poll(within.remaining() * 1000)
    assert "here\n" == over_qga.run("echo here", within).stdout


def test_a_command_the_agent_may_not_run_is_refused_in_its_words(agent: Agent, within: Deadline) -> None:
    """A program that is not there is the agent's own error."""

    class Nowhere(Posix):
        def arguments(self, line: str) -> list[str]:
            return ["/no/such/program", line]

    with pytest.raises(GuestRefused, match=r"guest-exec: .*No such file or directory"):
        WireTransport(qga.QgaWire(agent.path, dialect=Nowhere())).run("true", within)


def test_a_socket_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    """Until the deadline."""
    with pytest.raises(GuestHang, match=r"the last one: .*connection lost, last stage reached 'connecting'"):
        WireTransport(qga.QgaWire(tmp_path / "absent")).run("true", Deadline(0.3, "a command"))


class Liar:
    """Listens as an agent would; ``reply`` makes the answer from a request's line, with its id if it has one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reply: Callable[[int, bytes], bytes] = lambda _number, _line: b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, client.makefile("rb") as lines:
                try:
                    for number, line in enumerate(lines):
                        answer = self.reply(number, line)
                        client.sendall(answer)
                        if not answer:
                            break
                except OSError:
                    continue

    def stop(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def liar(tmp_path: Path) -> Iterator[Liar]:
    """An agent that says what a test wants."""
    server = Liar(tmp_path / "liar")
    yield server
    server.stop()


def in_step(line: bytes) -> bytes:
    """The right answer to guest-sync-delimited."""
    found = re.search(rb'"id": (\d+)', line)
    return b'\xff{"return": ' + (found[1] if found else b"0") + b"}\n"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answer=st.one_of(
        st.binary(max_size=60),
        st.sampled_from(
            [b'{"return": {}}', b'{"return": {"pid": true}}', b'{"error": {}}', b"[" * 100_000, b"1" * 5000]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5
        ).map(lambda value: json.dumps({"return": value}).encode()),
    )
)
def test_an_agent_may_answer_anything(liar: Liar, answer: bytes) -> None:
    """It is refused, or the channel is lost, or time runs out, in the harness's own errors."""
    liar.reply = lambda number, line: in_step(line) if number == 0 else answer + b"\n"
    with pytest.raises((GuestRefused, GuestUnreachable, GuestHang)):
        WireTransport(qga.QgaWire(liar.path, dialect=Posix())).run("true", Deadline(2, "a command"))


def test_an_agent_out_of_step_is_refused(liar: Liar, within: Deadline) -> None:
    """An answer to somebody else's question is not taken for ours."""
    liar.reply = lambda _number, _line: b'\xff{"return": -1}\n'
    with pytest.raises(GuestRefused, match="the agent answered -1 where"):
        WireTransport(qga.QgaWire(liar.path)).run("true", within)


def test_a_file_longer_than_it_was_is_not_swallowed(liar: Liar, within: Deadline) -> None:
    """More bytes than were asked for are refused."""
    answers = [
        b'{"return": 1}\n',
        b'{"return": {"position": 0, "eof": false}}\n',
        b'{"return": {"count": 9, "buf-b64": "eHh4eHh4eHh4"}}\n',
    ]
    liar.reply = lambda number, line: in_step(line) if number == 0 else answers[min(number, 3) - 1]
    taken = bytearray()

    class Sink:
        def write(self, data: bytes, /) -> int:
            taken.extend(data)
            return len(data)

    with pytest.raises(GuestRefused, match="more of the file than requested"):
        qga.QgaWire(liar.path, dialect=Posix()).read("/x", 0, 4, Sink(), within)
    assert b"" == taken
