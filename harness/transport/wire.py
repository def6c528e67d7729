# SPDX-License-Identifier: MIT
"""The wire protocol: the operations of one kind of connection, each done once, without retries.

The features of a transport (retry, resume, checksums, jobs) are built on these four operations in one place,
:class:`harness.transport.link.WireTransport`, so that they are the same on every wire.
"""

from __future__ import annotations

from typing import BinaryIO, Protocol

from harness.deadline import Deadline
from harness.transport.dialect import Dialect
from harness.transport.output import Output


class RawResult:
    """The result of one command, before decoding."""

    def __init__(self, limit: int) -> None:
        self.exit_code = -1
        self.stdout = Output("stdout", limit)
        self.stderr = Output("stderr", limit)
        self.remarks: list[str] = []

    @property
    def size(self) -> int:
        """Bytes received so far on both streams."""
        return self.stdout.size + self.stderr.size


class ByteSink(Protocol):
    """The target of bytes from the guest. Errors of the host's disk are InfrastructureError, never OSError."""

    def write(self, data: bytes, /) -> int:
        """Write all of ``data``."""


class Wire(Protocol):
    """One kind of connection into one guest.

    Every method raises GuestUnreachable when the connection cannot be made or breaks, with ``sent`` false if nothing
    can have happened in the guest; GuestHang, naming the stage reached, when the deadline passes; GuestRefused with
    the guest's message; InfrastructureError when the server's identity is not the pinned one.
    """

    name: str

    @property
    def dialect(self) -> Dialect:
        """The language of the guest's shell."""

    def execute(self, line: str, deadline: Deadline, *, limit: int) -> RawResult:
        """Run one command line in the guest's own shell and wait for its end; keep ``limit`` bytes of each stream."""

    def write(self, target: str, offset: int, source: BinaryIO, deadline: Deadline) -> None:
        """Write the rest of ``source`` to the guest's file ``target`` from ``offset``, and truncate the file after it."""

    def read(self, source: str, offset: int, length: int, sink: ByteSink, deadline: Deadline) -> None:
        """Append at most ``length`` bytes of the guest's file ``source`` from ``offset`` to ``sink``."""

    def close(self) -> None:
        """Close the connection, if there is one."""
