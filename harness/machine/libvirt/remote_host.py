# SPDX-License-Identifier: MIT
"""The remote host: where libvirt runs QEMU if its URI names one. Files are copied to it and back.

``qemu+ssh://`` uses the ``ssh`` program, and so does this module, with the same user, port and key that the URI gives to
libvirt. One connection carries everything: the guest's image to the host, once, and then the growing files of
its console and debug port back. Its control port's socket is forwarded.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, urlsplit

from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError, UsageError, system_errors
from harness.machine.process import Process
from harness.program import run_program

GRACE = 5.0
"""Seconds for each step of closing the connection."""

KEPT = 3
"""Images that stay in the user's cache on that host."""

LOOPBACK = "127.0.0.1"
TRIES = 5

PREFIX = "/tmp/hotplug-"  # noqa: S108  the name is random, the mode private
"""The prefix of a directory on that host."""


def ssh_words(uri: str) -> tuple[list[str], str]:
    """Return how ``ssh`` is called for a URI, as libvirt reads it (libvirt: uri.html#ssh-transport), and the host to call.

    Raises UsageError for a URI of another transport.
    """
    parts = urlsplit(uri)
    if not parts.scheme.endswith("+ssh") or not parts.hostname or parts.hostname.startswith("-"):
        raise UsageError(
            f"libvirt at {uri} cannot be used: the guest's files must be fetched from its host",
            hint="Use qemu+ssh://USER@HOST/system, or run the harness on that host.",
        )
    options = parse_qs(parts.query)
    command = [options.get("command", ["ssh"])[0], "-q", "-T", "-o", "BatchMode=yes"]
    if parts.port:
        command += ["-p", str(parts.port)]
    if parts.username:
        command += ["-l", parts.username]
    if key := options.get("keyfile"):
        command += ["-i", key[0]]
    if options.get("no_verify", ["0"])[0] != "0":
        command += ["-o", "StrictHostKeyChecking=no"]
    return command, parts.hostname


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    with (
        system_errors(f"cannot read {file}", hint="It is copied to the remote host."),
        file.open("rb") as data,
    ):
        yield data


class RemoteHost:
    """One machine's files on another host. ``runtime`` is the local directory for sockets, ``log`` gets ssh's messages.

    ``uid`` and ``gid`` are those of the user there, ``directory`` is the user's own for this machine.
    """

    def __init__(self, uri: str, runtime: Path, log: Path, *, channel_limit: int = 0) -> None:
        self._channel_limit = channel_limit
        self.uid = self.gid = 0
        self.directory = Path()
        self._ssh, self._host = ssh_words(uri)
        self._socket = runtime / "ssh"
        self._log = log
        self._master: Process | None = None
        self._followers: list[Process] = []
        self._pairs: list[tuple[Path, Path]] = []

    def connect(self, deadline: Deadline) -> None:
        """Connect and make the directory. Raises InfrastructureError with ssh's message."""
        command = [*self._ssh, "-M", "-N", "-S", str(self._socket), self._host]
        self._master = Process(command, self._log, ended=lambda: None)
        self._master.spawn()
        deadline.poll(
            lambda: self._socket.exists() or not (self._master and self._master.running),
            error=lambda: self._lost("connect", f"no answer within {deadline.seconds:.3g} s"),
        )
        answer = self.run(f"umask 077 && mktemp -d {PREFIX}XXXXXXXXXXXX && id -u && id -g", deadline).split()
        self.directory = Path(answer[0])
        self.uid, self.gid = int(answer[1]), int(answer[2])

    def _lost(self, doing: str, why: str) -> HarnessError:
        return InfrastructureError(
            f"ssh {self._host}: cannot {doing}: {why}",
            hint=f"'{shlex.join([*self._ssh, self._host, 'true'])}' must succeed without a question.",
        )

    def run(self, command: str, deadline: Deadline, *, data: IO[bytes] | None = None) -> str:
        """Run a shell command there and return its output. Raises InfrastructureError."""
        return self._call([self._host, command], command, deadline, data)

    def _call(self, words: list[str], doing: str, deadline: Deadline, data: IO[bytes] | None = None) -> str:
        try:
            ended = run_program(
                [*self._ssh, "-S", str(self._socket), *words], deadline, data=data, apart=True
            )
        except InfrastructureError as error:
            raise self._lost(doing, error.message) from error
        if ended.status:
            raise self._lost(doing, ended.failure())
        return ended.output

    def send(self, file: Path, name: str, deadline: Deadline) -> Path:
        """Copy a local file there; return its path there."""
        there = self.directory / name
        with _opened(file) as data:
            self.run(f"cat > {shlex.quote(str(there))}", deadline, data=data)
        return there

    def keep(self, file: Path, digest: str, deadline: Deadline, sending: Callable[[int], None]) -> Path:
        """Put an image that never changes into the user's cache there, and return its path; ``digest`` is its SHA-256.

        An image that is already there is not sent again; otherwise ``sending`` gets its size. The last :data:`KEPT` stay.
        """
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise InfrastructureError(f"{file} has no SHA-256 that identifies it on {self._host}: {digest!r}")
        cache = '"${XDG_CACHE_HOME:-$HOME/.cache}/hotplug-harness/images"'
        found = self.run(
            f"umask 077 && mkdir -p {cache} && cd {cache} && pwd && "
            f"if test -f {digest}; then touch {digest} && stat -c %s {digest}; else echo 0; fi",
            deadline,
        ).splitlines()
        size = file.stat().st_size
        there = Path(found[0])
        if int(found[-1]) == size:
            return there / digest
        sending(size)
        place = shlex.quote(str(there))
        draft = shlex.quote(f"{digest}.{self.directory.name}")
        with _opened(file) as data:
            arrived = self.run(f"cd {place} && cat > {draft} && sha256sum < {draft}", deadline, data=data)
        if arrived.split()[0] != digest:
            self.run(f"cd {place} && rm -f {draft}", deadline)
            raise self._lost(f"send {file}", f"SHA-256 {arrived.split()[0]} arrived, not {digest}")
        # A QEMU that has one of the older ones open keeps it.
        self.run(
            f"cd {place} && chmod 400 {draft} && mv {draft} {digest} && ls -1t | tail -n +{KEPT + 1} | "
            'while read -r old; do rm -f -- "$old"; done',
            deadline,
        )
        return there / digest

    def forward_port(self, port: int, deadline: Deadline) -> int:
        """Forward a free port of this host's loopback to ``port`` of the loopback there, and return it."""
        for left in reversed(range(TRIES)):
            with socket.socket() as probe:
                probe.bind((LOOPBACK, 0))
                here = int(probe.getsockname()[1])
            words = ["-O", "forward", "-L", f"{LOOPBACK}:{here}:{LOOPBACK}:{port}", self._host]
            try:
                self._call(words, f"forward port {port}", deadline)
            except InfrastructureError:
                # Another program may have taken it meanwhile.
                if not left or deadline.expired:
                    raise
                continue
            return here
        raise AssertionError

    def follow(self, there: Path, here: Path, deadline: Deadline) -> None:
        """Make the empty file ``there``. What is appended to it is appended to ``here``."""
        self.run(f": > {shlex.quote(str(there))}", deadline)
        tail = f"exec tail --pid=$PPID -c +1 -f {shlex.quote(str(there))} 2>/dev/null"
        command = [*self._ssh, "-S", str(self._socket), self._host, tail]
        # There it ends with the connection that it writes to. ssh's own messages must not mix with the guest's output.
        follower = Process(
            ["sh", "-c", 'log=$1; shift; exec "$@" 2>>"$log"', "sh", str(self._log), *command],
            here,
            ended=lambda: None,
        )
        follower.spawn()
        self._followers.append(follower)
        self._pairs.append((there, here))

    def forward(self, there: Path, here: Path, deadline: Deadline) -> None:
        """Forward a local unix socket to one there."""
        words = ["-O", "forward", "-L", f"{here}:{there}", self._host]
        self._call(words, f"forward {there}", deadline)

    def sync(self, deadline: Deadline) -> None:
        """Return once everything in the files there has arrived here. Raises InfrastructureError.

        Local files are cut back to the limit of a channel; then there is nothing to wait for.
        """
        files = " ".join(shlex.quote(str(there)) for there, _ in self._pairs)
        sizes = [int(word) for word in self.run(f"stat -c %s {files}", deadline).split()]
        deadline.poll(
            lambda: all(
                here.stat().st_size >= min(size, self._channel_limit or size)
                for (_, here), size in zip(self._pairs, sizes, strict=True)
            ),
            interval=0.002,
            error=lambda: self._lost("follow the guest's files", "they do not arrive"),
        )

    def close(self) -> None:
        """Fetch the remaining data, remove the directory there and end the connection; each step has its grace."""
        if self._master is None:
            return
        with contextlib.suppress(HarnessError):
            if self._pairs:
                self.sync(Deadline(GRACE, "fetch the guest's last words"))
        if str(self.directory).startswith(PREFIX):
            with contextlib.suppress(HarnessError):
                self.run(f"rm -rf {shlex.quote(str(self.directory))}", Deadline(GRACE, "tidy up there"))
        for process in [*self._followers, self._master]:
            process.end((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE))
