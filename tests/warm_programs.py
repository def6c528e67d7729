# SPDX-License-Identifier: MIT
"""The programs ``python`` and ``harness`` of a shell, as processes that are forked from one that has loaded what others wrote.

For commands in a copy of the project: the project's own modules come from the copy. Each program on PATH is a script that names
itself and waits. Its process (:func:`tests.warm_entry.program`) has the script's environment, directory and streams.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.deadline import Deadline
from harness.forking.fork_server import ForkServer
from tests.started_process import StartedProcess

ENTRY = "tests.warm_entry:program"
LOADING = "tests.warm_entry:load"
"""What the server of the processes is to call first."""

PIPES = ("asked", "answered")

SCRIPT = """#!/bin/sh
exec 3<&0 4>&1 5>&2
printf '%s\\0' $# $$ "$0" "$@" > {place}/asked
read -r code < {place}/answered
exit "$code"
"""
"""Its streams are also 3, 4 and 5: those that it begins with are others while it writes and waits."""


class WarmPrograms:
    """The programs, in the directory ``place``. One shell at a time runs them, and one after the other."""

    def __init__(self, place: Path, server: ForkServer) -> None:
        self._place = place
        self._server = server
        for name in ("python", "harness"):
            (place / name).write_text(SCRIPT.format(place=place), encoding="utf-8")
            (place / name).chmod(0o755)

    def run(self, command: str, cwd: Path, environment: Mapping[str, str]) -> tuple[int, str]:
        """Have bash execute a command line, with the programs first on PATH. Return its exit status and what it writes."""
        limit = Deadline(120, command)
        with contextlib.ExitStack() as stack:
            asked, answered = (stack.enter_context(_pipe(self._place / name)) for name in PIPES)
            said = stack.enter_context((self._place / "said").open("w+b"))
            fcntl.fcntl(said, fcntl.F_SETFL, os.O_RDWR | os.O_APPEND)
            path = f"{self._place}{os.pathsep}{environment['PATH']}"
            shell = subprocess.Popen(
                ["bash", "-c", command], cwd=cwd, env={**environment, "PATH": path},
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip
            stack.callback(shell.wait)
            stack.callback(shell.kill)
            ended = os.pidfd_open(shell.pid)
            stack.callback(os.close, ended)
            while asked in select.select([asked, ended], [], [], limit.remaining())[0]:
                os.write(answered, b"%d\n" % self._ended(_words(asked), limit))
            code = shell.wait(limit.remaining())
            said.seek(0)
            return code, said.read().decode()

    def _ended(self, words: list[str], limit: Deadline) -> int:
        process = StartedProcess(self._server.start(ENTRY, words))
        try:
            return process.wait(limit.remaining()) % 256
        finally:
            process.kill()


def _words(asked: int) -> list[str]:
    """Return what a program was called with, before which its script says how many words: it may write them in parts."""
    said = b""
    while said.count(b"\0") < int(said.partition(b"\0")[0] or b"0") + 3:
        said += os.read(asked, 65536)
    return said.decode().split("\0")[1:-1]


@contextlib.contextmanager
def _pipe(path: Path) -> Iterator[int]:
    """Make a named pipe. It is opened for both directions, so that it ends neither with a reader nor with a writer."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    opened = os.open(path, os.O_RDWR)
    try:
        yield opened
    finally:
        os.close(opened)
