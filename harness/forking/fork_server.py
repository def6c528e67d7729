# SPDX-License-Identifier: MIT
"""A fork server: forks processes from one that has imported the harness once and has no thread.

The standard library's (``multiprocessing``, start method ``forkserver``) is one for the whole program, with the environment of
its first use. It dies of a terminal's signals, its processes stay in its session, and their output cannot be a file. Its
processes outlive a parent that was killed.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Sequence
from typing import IO, Self

from harness import locks
from harness.errors import InfrastructureError, shortage_hint
from harness.forking.forked_process import ForkedProcess
from harness.forking.message import Forked, Request, receive, send
from harness.interrupts import uninterrupted
from harness.program import DEVNULL, ChildProcess, end_program, start_program

RUNS = ("harness.cli.readiness:make_ready",)
"""What a server of runs by the command line does first, named here because this room is below the command line's."""

COMMAND = "harness.__main__:main"
"""The entry of a process that is a command of the harness."""

START_S = 60.0
"""Seconds that a server gets to import its modules. It takes 0.3 s on an idle processor."""

END_S = 60.0
"""Seconds that a server gets to end its processes, which get 45 s of it."""


class ForkServer:
    """A server that has imported ``modules``, and has called what is named after a colon.

    It is started for its first process, or to replace one that died. Its processes have the environment, the working directory
    and the ignored signals that this process had then.

    Leaving the block ends all its processes, each with SIGTERM first. So does the end of this process, however it ends.
    """

    def __init__(self, modules: Sequence[str] = RUNS) -> None:
        self._modules = modules
        self._turn = locks.turn("fork server")
        self._server: ChildProcess | None = None
        self._control: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server, and the processes that still run, each with SIGTERM first."""
        with uninterrupted():
            self._forget(self._control)

    @property
    def pid(self) -> int:
        """The number of the server's process, 0 if none runs."""
        return self._server.pid if self._server is not None else 0

    def start(
        self,
        entry: str = COMMAND,
        words: Sequence[str] = (),
        *,
        output: tuple[IO[bytes], IO[bytes]] | None = None,
        descriptors: Sequence[int] = (),
    ) -> ForkedProcess:
        """Fork a process that calls ``entry``, ``module:function``, with ``descriptors``, and ends with the exit status that it
        returns. ``words`` are its command line. ``output`` are its standard output and error.

        A server that died is replaced. Raises InfrastructureError if no process can be started.
        """
        request = Request(entry, list(words), output=output is not None)
        given = [*(file.fileno() for file in output or ()), *descriptors]
        status = None
        for _ in range(2):
            control = self._current()
            started = self._ask(control, request, given)
            if started is not None:
                return started
            status = self._forget(control)
        if status is not None and status > 0:
            raise InfrastructureError(
                f"the process that forks others ended twice, with exit status {status}",
                hint="It wrote the reason to stderr. It loads " + ", ".join(self._modules) + ".",
            )
        raise InfrastructureError(
            "the process that forks others died twice", hint="The kernel may have killed it: see 'dmesg'."
        )

    def _ask(self, control: socket.socket, request: Request, given: list[int]) -> ForkedProcess | None:
        """Return the process, None if the server is dead."""
        channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        keep = False
        try:
            with theirs:
                send(control, request, [theirs.fileno(), *given])
            channel.settimeout(START_S)
            started, found = receive(channel, Forked)
            if started is None:
                return None
            failure = started.failure or (0 if found else errno.EMFILE)
            if failure:
                raise OSError(failure, os.strerror(failure))
            channel.settimeout(None)
            keep = True
            return ForkedProcess(started.pid, found[0], channel)
        except ConnectionError:
            return None
        except TimeoutError as error:
            raise InfrastructureError(
                f"the process that forks others did not answer within {START_S:g} s",
                hint="Try again when the machine is less busy.",
            ) from error
        except OSError as error:
            raise InfrastructureError(
                f"cannot start a process: {error.strerror}", hint=shortage_hint(error, "")
            ) from error
        finally:
            if not keep:
                channel.close()

    def _current(self) -> socket.socket:
        """Return the control socket of the server. Start one if there is none."""
        with self._turn:
            if self._control is None:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs, uninterrupted():
                    command = [sys.executable, "-m", "harness.forking", str(theirs.fileno()), *self._modules]
                    self._server = start_program(
                        command, "a fork server", stdout=DEVNULL, stderr=None, descriptors=[theirs.fileno()]
                    )
                    self._control = ours
            return self._control

    def _forget(self, control: socket.socket | None) -> int | None:
        """End the server of ``control`` and its processes, unless another thread has done it. Return its exit status, if known."""
        with self._turn:
            if control is None or self._control is not control:
                return None
            server, self._server, self._control = self._server, None, None
        control.close()
        if server is None:
            return None
        end_program(server, patience=END_S)
        return server.returncode
