# SPDX-License-Identifier: MIT
"""The messages between a fork server and its client: JSON in the packets of a Unix socket, descriptors beside them.

A request has a channel of its own, whose end travels with it. On the channel the server answers with :class:`Forked`, later
with :class:`Ended`. A signal's number in one byte travels the other way.
"""

from __future__ import annotations

import errno
import socket
from typing import TypeVar

import msgspec

LARGEST = 128 << 10
"""The most bytes of a message. A socket's buffer has at least 200 KiB (Linux: net/core/sock.c, SK_WMEM_MAX)."""
MOST_DESCRIPTORS = 8

Message = TypeVar("Message")


class Request(msgspec.Struct, frozen=True):
    """Fork a process that calls ``entry``, ``module:function``, with ``words`` as its command line.

    The descriptors beside it are: the channel, standard output and error if there is ``output``, and what ``entry`` gets.
    """

    entry: str
    words: list[str]
    output: bool


class Forked(msgspec.Struct, frozen=True):
    """A process was forked, with its pidfd beside. ``failure`` is the error's number if the system refused, else 0."""

    pid: int
    failure: int = 0


class Ended(msgspec.Struct, frozen=True):
    """It has ended, with this exit status, negative for a signal."""

    status: int


def send(to: socket.socket, message: msgspec.Struct, descriptors: list[int]) -> None:
    """Send a message. Raises OSError, of which ConnectionError means that the other end is gone."""
    data = msgspec.json.encode(message)
    if len(data) > LARGEST:
        raise OSError(errno.E2BIG, "a command line that is too long")
    socket.send_fds(to, [data], descriptors)


def receive(of: socket.socket, kind: type[Message]) -> tuple[Message | None, list[int]]:
    """Return the next message with its descriptors, None if the other end is gone. Raises TimeoutError."""
    try:
        data, descriptors, _, _ = socket.recv_fds(of, LARGEST, MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None, []
    return (msgspec.json.decode(data, type=kind) if data else None), descriptors
