# SPDX-License-Identifier: MIT
"""The control channel against a peer on a real socket that answers, stays silent, lies or leaves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.errors import GuestCrash, GuestHang, GuestRefused, MachineFailed
from harness.guest.twin.control import ControlChannel, parse_pairs

Answer = Callable[[str], bytes | None]


class Peer:
    """A guest's end of the port: answers each line with what ``answer`` returns; None closes the port."""

    def __init__(self, folder: Path, answer: Answer) -> None:
        self.path = folder / "control"
        self.lines: list[str] = []
        self._answer = answer
        self._connected = threading.Event()
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(self.path))
        self._server.listen(1)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Send bytes of the guest's own accord."""
        assert self._connected.wait(30)
        self._connection.sendall(data)

    def hang_up(self) -> None:
        """Close the port, as QEMU does when it ends."""
        self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Leave."""
        self._server.close()
        if self._connected.is_set():
            self._connection.close()

    _connection: socket.socket

    def _serve(self) -> None:
        try:
            self._connection, _ = self._server.accept()
        except OSError:
            return
        self._connected.set()
        with self._connection.makefile("rb") as stream:
            for line in stream:
                self.lines.append(line.decode().strip())
                answer = self._answer(self.lines[-1])
                if answer is None:
                    self._connection.shutdown(socket.SHUT_RDWR)
                    return
                self._connection.sendall(answer)


Connect = Callable[[Answer], tuple[Peer, ControlChannel, list[tuple[str, str]]]]


@pytest.fixture
def connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connect]:
    """A function that starts a peer with an answer and connects a channel to it."""
    open_things: list[Peer | ControlChannel] = []

    def start(answer: Answer) -> tuple[Peer, ControlChannel, list[tuple[str, str]]]:
        events: list[tuple[str, str]] = []
        peer = Peer(tmp_path_factory.mktemp("c"), answer)
        channel = ControlChannel(peer.path, lambda name, detail: events.append((name, detail)))
        open_things.extend([channel, peer])
        return peer, channel, events

    yield start
    for thing in open_things:
        thing.close()


def ok(line: str) -> bytes:
    """Answer every request with its own arguments."""
    number, _verb, *rest = line.split()
    return f"{number} ok {' '.join(rest)}\n".encode()


def test_answer_belongs_to_its_request(connect: Connect) -> None:
    """A request returns the values of its own answer."""
    peer, channel, _events = connect(ok)
    assert channel.request("ping", Deadline(30, "test"), nonce="abc") == {"nonce": "abc"}
    assert peer.lines == ["1 ping nonce=abc"]


def test_refusal_carries_the_guests_words(connect: Connect) -> None:
    """An ``err`` answer is raised with the guest's own words."""
    _peer, channel, _events = connect(lambda line: f"{line.split()[0]} err File exists\n".encode())
    with pytest.raises(GuestRefused, match="refused 'load': File exists"):
        channel.request("load", Deadline(30, "test"))


def test_silence_is_a_hang_with_the_last_line(connect: Connect) -> None:
    """A guest that does not answer is a hang, and its late answer is never taken for another request's."""
    late: list[bytes] = []

    def silent_first(line: str) -> bytes:
        if not late:
            late.append(b"1 ok processors=9\n")
            return b"! busy\n"
        return late[0] + ok(line)

    _peer, channel, events = connect(silent_first)
    with pytest.raises(GuestHang, match="did not answer 'counts'") as raised:
        channel.request("counts", Deadline(1, "test"))
    assert "! busy" in raised.value.hint
    assert channel.request("ping", Deadline(30, "test"), nonce="x") == {"nonce": "x"}
    assert events == [("busy", "")]


def test_closed_port_is_said_at_once(connect: Connect) -> None:
    """A port that closes ends the waiting at once, not at the deadline."""
    _peer, channel, _events = connect(lambda line: None)
    deadline = Deadline(300, "test")
    with pytest.raises(MachineFailed, match="closed by QEMU"):
        channel.request("ping", deadline, nonce="x")
    assert deadline.remaining() > 200


def test_forgotten_requests_end(connect: Connect) -> None:
    """When the guest starts anew, whoever waits for an answer is told."""
    channels: list[ControlChannel] = []

    def reset(line: str) -> bytes:
        channels[0].forget()
        return b""

    _peer, channel, _events = connect(reset)
    channels.append(channel)
    with pytest.raises(GuestCrash, match="reset while it was asked to ping"):
        channel.request("ping", Deadline(30, "test"), nonce="x")


def test_firmware_clearing_the_screen_hides_nothing(connect: Connect) -> None:
    """The guest's first line is read behind the escape sequences that UEFI firmware leaves without a newline."""
    peer, channel, events = connect(ok)
    peer.send(b"\x1b[2J\x1b[01;01H\x1b[=3h\x1b[2J\x1b[01;01H! ready processors=2\n")
    channel.request("ping", Deadline(30, "test"), nonce="x")
    assert events == [("ready", "processors=2")]


def test_a_line_goes_on_where_the_guest_does(connect: Connect, tmp_path: Path) -> None:
    """What came over the old socket is read to its end first; a line may begin in it and end in the new one."""
    old, channel, events = connect(lambda line: f"{line.split()[0]} ok from=old\n".encode())
    following = Peer(tmp_path, lambda line: f"{line.split()[0]} ok from=new\n".encode())
    assert {"from": "old"} == channel.request("ping", Deadline(30, "old"))
    channel.follow(following.path)
    following.send(b"ne cpu=7\n! later x=1\n")
    old.send(b"! first x=0\n! onli")
    old.hang_up()
    assert {"from": "new"} == channel.request("ping", Deadline(30, "new"))
    assert [("first", "x=0"), ("online", "cpu=7"), ("later", "x=1")] == events
    following.close()


def test_a_request_waits_for_the_old_socket_to_close(connect: Connect, tmp_path: Path) -> None:
    """Until then it would go to nobody; a deadline ends the wait."""
    _old, channel, _ = connect(lambda line: f"{line.split()[0]} ok from=old\n".encode())
    following = Peer(tmp_path, lambda line: f"{line.split()[0]} ok from=new\n".encode())
    channel.follow(following.path)
    with pytest.raises(GuestHang):
        channel.request("ping", Deadline(0.2, "too early"))
    assert [] == following.lines
    channel.close()
    following.close()


def test_a_port_that_is_not_there_is_not_followed(connect: Connect, tmp_path: Path) -> None:
    """The guest stays where it is, and so does the channel."""
    _peer, channel, _ = connect(lambda line: f"{line.split()[0]} ok from=old\n".encode())
    with pytest.raises(MachineFailed, match="cannot reach the guest's control port"):
        channel.follow(tmp_path / "none")
    assert {"from": "old"} == channel.request("ping", Deadline(30, "still there"))


def test_missing_port_is_named(tmp_path: Path) -> None:
    """A port that is not there is named."""
    with pytest.raises(MachineFailed, match="cannot reach the guest's control port"):
        ControlChannel(tmp_path / "nothing", lambda name, detail: None)


def test_value_that_would_break_a_line_is_refused(connect: Connect) -> None:
    """A value with a space or newline is never sent."""
    peer, channel, _events = connect(ok)
    with pytest.raises(ValueError, match="cannot be sent"):
        channel.request("ping", Deadline(30, "test"), nonce="a b\n2 panic")
    assert peer.lines == []


@given(noise=st.binary(max_size=1500))
def test_noise_does_not_hide_an_answer(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    """Whatever bytes come before an answer, the answer arrives and nothing breaks."""
    peer = Peer(tmp_path_factory.mktemp("n"), lambda line: noise + b"\n" + ok(line))
    events: list[tuple[str, str]] = []
    channel = ControlChannel(peer.path, lambda name, detail: events.append((name, detail)))
    try:
        if not any(line.startswith(b"1 ") for line in noise.split(b"\n")):
            assert channel.request("ping", Deadline(10, "test"), nonce="x") == {"nonce": "x"}
    finally:
        channel.close()
        peer.close()


@given(text=st.text())
def test_pairs_of_any_text(text: str) -> None:
    """Any text has its key=value words and nothing else."""
    assert all("=" not in key for key in parse_pairs(text))
