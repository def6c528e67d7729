# SPDX-License-Identifier: MIT
"""SSH and SFTP, by paramiko, with the harness's own key and the host key pinned.

No agent, no known_hosts and no password are consulted: a run uses only the given key. One connection stays open and is
remade when it breaks. No terminal is requested: Windows' sshd would then always report exit status 0.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from harness.deadline import Deadline
from harness.errors import (
    GuestRefused,
    GuestUnreachable,
    InfrastructureError,
    MissingPart,
    UsageError,
)
from harness.transport.algorithms import limited_ssh
from harness.transport.bound import bounded, too_late
from harness.transport.dialect import Dialect
from harness.transport.pin import HostKeyPin, ssh_fingerprint
from harness.transport.powershell import Windows
from harness.transport.wire import ByteSink, RawResult

T = TypeVar("T")

PORT = 22
CHUNK = 32 * 1024
"""Bytes of one SFTP request; the largest that every server takes."""

BATCH = 64
"""Requests that may be outstanding. After each batch the guest is asked for the bytes that it has written."""

LINGER = 1.0
"""Seconds of waiting for a command's output after its exit status, if a process that it started keeps it open."""

_WORDS = 400


class SshWire:
    """The wire to the guest at ``address``; ``key`` is a private key without a passphrase.

    Nothing is sent yet. Raises MissingPart without paramiko, UsageError if the key cannot be read.
    """

    def __init__(
        self,
        address: str,
        *,
        user: str,
        key: Path,
        host_key: HostKeyPin,
        port: int = PORT,
        dialect: Dialect | None = None,
    ) -> None:
        try:
            import paramiko
        except ImportError as error:
            raise MissingPart(f"paramiko is not installed: {error}", hint="pip install paramiko") from error
        # paramiko also logs the errors that it raises. Without a handler, Python would print them to the user's terminal.
        logger = logging.getLogger("paramiko")
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
        self.name = f"SSH to {address}:{port}"
        self.dialect = dialect or Windows()
        self._address = address
        self._port = port
        self._user = user
        self._host_key = host_key
        self._client: Any = None
        self._stage = ""
        self._sent = False
        try:
            self._key = paramiko.PKey.from_path(key)
        except (OSError, paramiko.SSHException, ValueError, TypeError) as error:
            raise UsageError(
                f"cannot read the private key {key}: {error}", hint="It is a key without a passphrase."
            ) from error

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def execute(self, line: str, deadline: Deadline, *, limit: int) -> RawResult:
        """See Wire. A command that outlives its deadline keeps running in the guest."""
        answer = RawResult(limit)
        return self._bounded(lambda: self._execute(line, answer), deadline)

    def write(self, target: str, offset: int, source: BinaryIO, deadline: Deadline) -> None:
        """See Wire."""
        self._bounded(lambda: self._write(target, offset, source), deadline)

    def read(self, source: str, offset: int, length: int, sink: ByteSink, deadline: Deadline) -> None:
        """See Wire."""
        self._bounded(lambda: self._read(source, offset, length, sink), deadline)

    def close(self) -> None:
        """See Wire."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _bounded(self, work: Callable[[], T], deadline: Deadline) -> T:
        self._stage = "nothing sent"
        self._sent = False

        def translated() -> T:
            with self._translated():
                return work()

        return bounded(
            translated, deadline, abort=self.close, late=lambda: too_late(self.name, deadline, self._stage)
        )

    def _connected(self) -> Any:
        import paramiko

        if self._alive():
            return self._client
        self.close()
        self._stage = "connecting"
        client = paramiko.SSHClient()
        # Known keys make paramiko request a key of that type, so that a server with several shows the pinned one.
        name = self._address if self._port == PORT else f"[{self._address}]:{self._port}"
        pinned = paramiko.PKey.from_type_string(self._host_key.kind, self._host_key.blob)
        client.get_host_keys().add(name, self._host_key.kind, pinned)
        client.set_missing_host_key_policy(_Stranger(self.name, self._host_key))
        self._client = client
        client.connect(
            self._address,
            port=self._port,
            username=self._user,
            pkey=self._key,
            allow_agent=False,
            look_for_keys=False,
            transport_factory=limited_ssh,
        )
        self._stage = "authenticated"
        return client

    def _execute(self, line: str, answer: RawResult) -> RawResult:
        channel = self._connected().get_transport().open_session()
        try:
            self._sent = True
            channel.exec_command(line)
            channel.shutdown_write()
            self._stage = "command running, no output yet"
            self._drain(channel, answer)
            answer.exit_code = channel.recv_exit_status()
        finally:
            channel.close()
        if answer.exit_code == -1:
            if not channel.get_transport().is_active():
                raise GuestUnreachable(
                    f"{self.name}: connection lost, last stage reached {self._stage!r}", sent=True
                )
            answer.remarks.append("the command was ended by a signal, or without an exit status")
        return answer

    def _drain(self, channel: Any, answer: RawResult) -> None:
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        linger: Deadline | None = None
        while True:
            poll.poll(50)
            while channel.recv_ready():
                answer.stdout.add(channel.recv(CHUNK))
            while channel.recv_stderr_ready():
                answer.stderr.add(channel.recv_stderr(CHUNK))
            if answer.size:
                self._stage = f"command running, {answer.size} bytes of output"
            ended = channel.exit_status_ready()
            if channel.closed or (ended and channel.eof_received):
                # Data that arrived between the last read and the end is still unread.
                if not channel.recv_ready() and not channel.recv_stderr_ready():
                    return
            elif ended:
                linger = linger or Deadline(LINGER, "the rest of the output")
                if linger.expired:
                    answer.remarks.append(
                        "output may be missing: something the command started holds it open"
                    )
                    return

    def _write(self, target: str, offset: int, source: BinaryIO) -> None:
        with self._sftp() as sftp:
            mode = "r+b" if offset else "wb"
            self._sent = True
            with sftp.open(target, mode) as file:
                if offset:
                    file.truncate(offset)
                    file.seek(offset)
                file.set_pipelined(True)
                written = offset
                while chunk := source.read(CHUNK * BATCH):
                    file.write(chunk)
                    written += len(chunk)
                    # Pipelined writes report a failure only afterwards. The size shows it at once.
                    there = file.stat().st_size
                    if there != written:
                        raise GuestRefused(
                            f"{self.name}: cannot write {target}: {there} of {written} bytes are there",
                            hint="Is the guest's disk full?",
                        )
                    self._stage = f"{written} bytes written"

    def _read(self, source: str, offset: int, length: int, sink: ByteSink) -> None:
        with self._sftp() as sftp, sftp.open(source, "rb") as file:
            file.seek(offset)
            # paramiko's prefetch would be faster over a slow link, but its thread prints a traceback when the connection is cut.
            left = length
            while left and (chunk := file.read(min(CHUNK, left))):
                sink.write(chunk)
                left -= len(chunk)
                self._stage = f"{length - left} bytes read"

    @contextlib.contextmanager
    def _sftp(self) -> Iterator[Any]:
        sftp = self._connected().open_sftp()
        try:
            yield sftp
        finally:
            sftp.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn paramiko's errors into the harness's own."""
        import paramiko

        try:
            yield
        except paramiko.BadHostKeyException as error:
            self.close()
            raise _stranger(self.name, self._host_key, error.key) from error
        except paramiko.AuthenticationException as error:
            self.close()
            raise GuestRefused(
                f"{self.name}: the guest refuses the user or the key: {str(error)[:_WORDS]}",
                hint="Is the key in the guest's authorized_keys, and that file readable by its owner only?",
            ) from error
        except paramiko.ssh_exception.IncompatiblePeer as error:
            self.close()
            raise GuestRefused(
                f"{self.name}: the guest has no algorithm in common with the harness: {str(error)[:_WORDS]}",
                hint="docs/transports.md lists them. An old sshd needs an update.",
            ) from error
        except (EOFError, socket.gaierror, ConnectionError, TimeoutError, paramiko.SSHException) as error:
            raise self._lost(error) from error
        except OSError as error:
            if not self._alive():
                raise self._lost(error) from error
            # A refusal by the SFTP server: paramiko turns its answers into OSError.
            words = (error.strerror or str(error))[:_WORDS]
            raise GuestRefused(
                f"{self.name}: {self._stage}: {words}", hint="A full disk also gives 'Failure'."
            ) from error
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
            self.close()
            raise GuestRefused(
                f"{self.name}: {self._stage}: the guest's answer is not SSH ({str(error)[:_WORDS]})"
            ) from error

    def _alive(self) -> bool:
        client = self._client
        return (
            client is not None and client.get_transport() is not None and client.get_transport().is_active()
        )

    def _lost(self, error: Exception) -> GuestUnreachable:
        self.close()
        words = str(error)[:_WORDS] or type(error).__name__
        return GuestUnreachable(
            f"{self.name}: connection lost, last stage reached {self._stage!r}: {words}",
            sent=self._sent,
            hint="" if self._sent else "Is the guest up, its sshd running and the port forwarded?",
        )


class _Stranger:
    """paramiko's policy for a host key of a type that is not pinned: refuse it."""

    def __init__(self, name: str, pinned: HostKeyPin) -> None:
        self._name = name
        self._pinned = pinned

    def missing_host_key(self, _client: Any, _hostname: str, key: Any) -> None:
        raise _stranger(self._name, self._pinned, key)


def _stranger(name: str, pinned: HostKeyPin, key: Any) -> InfrastructureError:
    return InfrastructureError(
        f"{name}: the host key is {ssh_fingerprint(key.asbytes())} ({key.get_name()}), not the pinned one, "
        f"{pinned.fingerprint} ({pinned.kind})",
        hint="Another machine answers here, or the guest was rebuilt: its manifest has the right one.",
    )
