# SPDX-License-Identifier: MIT
"""The QEMU guest agent: JSON lines over a Unix socket, which QEMU joins to a virtio-serial port of the guest.

It works without a network and is the third transport. The channel has no connections: data that a former client
left in it comes first. So every exchange starts with ``guest-sync-delimited``, whose answer follows a byte 0xFF
(QEMU: qga/qapi-schema.json).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import itertools
import json
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from harness.deadline import Deadline
from harness.errors import GuestHang, GuestRefused, GuestUnreachable
from harness.transport.bound import too_late
from harness.transport.dialect import Dialect
from harness.transport.powershell import Windows
from harness.transport.wire import ByteSink, RawResult

T = TypeVar("T")

LONGEST_LINE = 48 * 1024 * 1024
"""Bytes of one answer: the agent keeps 16 MiB of each of a command's streams and sends both as Base64."""

CHUNK = 48 * 1024
"""Bytes of a file in one request."""

FIRST_INTERVAL, LONGEST_INTERVAL = 0.002, 0.05
"""Seconds between two queries whether a command has ended. The agent does not report it by itself."""

SENTINEL = b"\xff"
_WORDS = 400


class QgaWire:
    """The wire over the agent's socket ``path``. Nothing is sent yet."""

    def __init__(self, path: Path, *, dialect: Dialect | None = None) -> None:
        self.name = f"guest agent at {path}"
        self.dialect = dialect or Windows()
        self._path = path
        self._stage = ""
        self._sent = False

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def execute(self, line: str, deadline: Deadline, *, limit: int) -> RawResult:
        """See Wire. The agent keeps at most 16 MiB of output; a command past its deadline keeps running."""
        return self._talk(lambda agent: self._execute(agent, line, limit), deadline)

    def write(self, target: str, offset: int, source: BinaryIO, deadline: Deadline) -> None:
        """See Wire."""

        def work(agent: _Agent) -> None:
            # The agent opens like fopen: "r+" keeps the content, and a part is never longer than its offset.
            with agent.file(target, "r+b" if offset else "wb") as handle:
                agent.ask("guest-file-seek", handle=handle, offset=offset, whence=0)
                written = offset
                while chunk := source.read(CHUNK):
                    encoded = base64.b64encode(chunk).decode("ascii")
                    count = _field(
                        agent.ask("guest-file-write", **{"handle": handle, "buf-b64": encoded}), "count", int
                    )
                    if count != len(chunk):
                        raise GuestRefused(
                            f"{self.name}: cannot write {target}: {count} of {len(chunk)} bytes"
                        )
                    written += count
                    self._stage = f"{written} bytes written"
                agent.ask("guest-file-flush", handle=handle)

        self._talk(work, deadline)

    def read(self, source: str, offset: int, length: int, sink: ByteSink, deadline: Deadline) -> None:
        """See Wire."""

        def work(agent: _Agent) -> None:
            with agent.file(source, "rb") as handle:
                agent.ask("guest-file-seek", handle=handle, offset=offset, whence=0)
                left = length
                while left:
                    answer = agent.ask("guest-file-read", handle=handle, count=min(CHUNK, left))
                    content = _decoded(answer, "buf-b64")
                    if len(content) > left:
                        raise GuestRefused(f"{self.name}: the guest sent more of the file than requested")
                    sink.write(content)
                    left -= len(content)
                    self._stage = f"{length - left} bytes read"
                    if not content or answer.get("eof") is True:
                        break

        self._talk(work, deadline)

    def close(self) -> None:
        """See Wire. No connection stays open between commands: the agent serves one client at a time."""

    def _execute(self, agent: _Agent, line: str, limit: int) -> RawResult:
        program, *arguments = self.dialect.arguments(line)
        self._sent = True
        started = agent.ask("guest-exec", **{"path": program, "arg": arguments, "capture-output": True})
        pid = _field(started, "pid", int)
        self._stage = "command running"

        def ended() -> dict[str, Any] | None:
            status = agent.ask("guest-exec-status", pid=pid)
            return status if status.get("exited") is True else None

        status = agent.deadline.poll(
            ended, interval=FIRST_INTERVAL, longest=LONGEST_INTERVAL, error=agent.late
        )
        answer = RawResult(limit)
        for output, name in ((answer.stdout, "out"), (answer.stderr, "err")):
            if f"{name}-data" in status:
                output.add(_decoded(status, f"{name}-data"))
            if status.get(f"{name}-truncated") is True:
                answer.remarks.append(f"{output.name}: cut by the guest agent after {output.size} bytes")
        if "exitcode" in status:
            answer.exit_code = _field(status, "exitcode", int)
        else:
            answer.remarks.append(f"the command was ended by signal {status.get('signal')!r:.20}")
        return answer

    def _talk(self, work: Callable[[_Agent], T], deadline: Deadline) -> T:
        self._sent = False
        self._stage = "connecting"
        agent = _Agent(self, deadline)
        try:
            agent.connect(self._path)
            self._stage = "in step with the agent"
            return work(agent)
        except TimeoutError as error:
            raise agent.late() from error
        except OSError as error:
            raise GuestUnreachable(
                f"{self.name}: connection lost, last stage reached {self._stage!r}: {error.strerror or error}",
                sent=self._sent,
            ) from error
        finally:
            agent.close()


class _Agent:
    """One exchange with the agent. OSError means that the channel is broken, TimeoutError that the deadline passed."""

    def __init__(self, wire: QgaWire, deadline: Deadline) -> None:
        self.deadline = deadline
        self._wire = wire
        self._ids = itertools.count(secrets.randbelow(1 << 24))
        self._rest = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)

    def late(self) -> GuestHang:
        return too_late(self._wire.name, self.deadline, self._wire._stage)  # noqa: SLF001 (the two are one)

    def connect(self, path: Path) -> None:
        self._settimeout()
        self._socket.connect(str(path))
        nonce = next(self._ids)
        # The byte 0xFF, never part of JSON, makes the agent discard an incomplete request of a former client.
        self._send(SENTINEL + _request("guest-sync-delimited", {"id": nonce}))
        self._until(SENTINEL, keep=False)
        answer = self._answer("guest-sync-delimited")
        if answer != nonce:
            raise GuestRefused(
                f"{self._wire.name}: the agent answered {answer!r:.40} where {nonce} was requested"
            )

    def close(self) -> None:
        self._socket.close()

    @contextlib.contextmanager
    def file(self, path: str, mode: str) -> Any:
        handle = self._value("guest-file-open", {"path": path, "mode": mode})
        if not isinstance(handle, int):
            raise GuestRefused(f"{self._wire.name}: the agent's file handle is {handle!r:.40}")
        try:
            yield handle
        finally:
            # Files that a broken connection leaves open stay open in the agent.
            with contextlib.suppress(OSError, GuestRefused):
                self._value("guest-file-close", {"handle": handle})

    def ask(self, command: str, /, **arguments: Any) -> dict[str, Any]:
        answer = self._value(command, arguments)
        if not isinstance(answer, dict):
            raise GuestRefused(f"{self._wire.name}: {command} answered {answer!r:.60}")
        return answer

    def _value(self, command: str, arguments: dict[str, Any]) -> Any:
        self._send(_request(command, arguments))
        return self._answer(command)

    def _answer(self, command: str) -> Any:
        line = self._until(b"\n", keep=True)
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise GuestRefused(f"{self._wire.name}: {command}: not JSON: {line[:80]!r}") from error
        if isinstance(message, dict) and isinstance(message.get("error"), dict):
            raise GuestRefused(f"{self._wire.name}: {command}: {str(message['error'].get('desc'))[:_WORDS]}")
        if not isinstance(message, dict) or "return" not in message:
            raise GuestRefused(f"{self._wire.name}: {command}: neither an answer nor an error: {line[:80]!r}")
        return message["return"]

    def _send(self, data: bytes) -> None:
        self._settimeout()
        self._socket.sendall(data)

    def _until(self, end: bytes, *, keep: bool) -> bytes:
        """Read up to ``end`` and return the data before it. With ``keep`` false the data may be of any length."""
        collected = bytearray(self._rest)
        start = 0
        while (at := collected.find(end, start)) < 0:
            if keep and len(collected) > LONGEST_LINE:
                raise GuestRefused(f"{self._wire.name}: an answer of more than {LONGEST_LINE} bytes")
            if not keep:
                collected.clear()
            start = len(collected)
            self._settimeout()
            piece = self._socket.recv(1 << 16)
            if not piece:
                raise ConnectionResetError("the agent closed the channel")
            collected += piece
        self._rest = bytes(collected[at + len(end) :])
        return bytes(collected[:at])

    def _settimeout(self) -> None:
        left = self.deadline.remaining()
        if not left:
            raise TimeoutError
        self._socket.settimeout(left)


def _request(command: str, arguments: dict[str, Any]) -> bytes:
    body = {"execute": command, "arguments": arguments} if arguments else {"execute": command}
    return json.dumps(body).encode("ascii") + b"\n"


def _field(answer: dict[str, Any], name: str, kind: type[T]) -> T:
    value = answer.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise GuestRefused(f"the guest agent's {name} is {value!r:.40}")
    return value


def _decoded(answer: dict[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(_field(answer, name, str), validate=True)
    except (binascii.Error, ValueError) as error:
        raise GuestRefused(f"the guest agent's {name} is not Base64") from error
