# SPDX-License-Identifier: MIT
"""QEMU's process: spawned so that it cannot outlive the harness, watched by one thread, ended in steps.

The kernel kills a child with PR_SET_PDEATHSIG when the *thread* that spawned it ends. So the thread that spawns QEMU
is the thread that waits for it. ``setpriv`` sets the signal between fork and exec, where Python code must not run in
a program with threads. The shell then checks that the parent had not died before the signal was set.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from signal import Signals

import msgspec

from harness import locks
from harness.errors import HarnessError, of_shortage, system_errors
from harness.history.private import open_private
from harness.machine import file_limit
from harness.program import DEVNULL, describe, printed_last, start_program


def leash(largest_file: int = 0) -> list[str]:
    """Return the words before a command that tie it to this process, and bound its files in bytes, 0 for no bound."""
    bound = f"ulimit -f {file_limit.blocks(largest_file)} && " if largest_file else ""
    run = f'test "$PPID" = "$0" && {bound}exec "$@"'
    return ["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", run, str(os.getpid())]


LONGEST_WORDS = 4096
"""Bytes of QEMU's last output that an error carries."""


SPAWN_GRACE = 5.0
"""Seconds that fork and exec get; they take one or two milliseconds."""


class ExitReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended. ``asked`` distinguishes a requested end from a crash. A negative ``status`` is a signal.

    ``by`` is what ended it: ``quit``, ``SIGTERM``, ``SIGKILL``, or ``itself``.
    """

    asked: bool
    status: int
    by: str

    def __str__(self) -> str:
        return f"ended by {self.by}, {describe(self.status)}"


class Process:
    """One child in a session of its own, its output in ``log``. ``ended`` is called once, on the watching thread.

    ``stdin`` is a descriptor that it reads from, to be kept open until :meth:`spawn` returns; None for no input. The kernel
    ends it if it makes a file larger than ``largest_file`` bytes, 0 for no limit.

    Raises InfrastructureError when the log cannot be written, :meth:`spawn` when the command cannot be run.
    """

    def __init__(
        self,
        command: list[str],
        log: Path,
        *,
        ended: Callable[[], None],
        stdin: int | None = None,
        largest_file: int = 0,
    ) -> None:
        self.command = command
        self._largest_file = largest_file
        self.log = log
        self.pid = 0
        self._ended = ended
        self._stdin = DEVNULL if stdin is None else stdin
        self._lock = locks.lock("process")
        self._asked = ""
        self._status: int | None = None
        self._spawned = threading.Event()
        self._gone = threading.Event()
        self._failure: HarnessError | None = None
        with system_errors(f"cannot write {log}", hint="Give another place with --runs DIR.", shortage=True):
            self._output = os.fdopen(open_private(log, os.O_WRONLY | os.O_APPEND), "ab")
        self._log_start = self._output.tell()
        self._launched = False

    def spawn(self) -> None:
        """Run the command. If interrupted, the process still starts, and :meth:`settle` finds it."""
        try:
            threading.Thread(target=self._watch, name=f"watch {self.command[0]}", daemon=True).start()
        except RuntimeError as error:
            self._output.close()
            raise of_shortage(error) or error from error
        self._launched = True
        self._spawned.wait()
        if self._failure is not None:
            raise self._failure

    def settle(self) -> None:
        """Wait until an interrupted spawn has succeeded or failed."""
        if self._launched:
            self._spawned.wait(SPAWN_GRACE)

    def _watch(self) -> None:
        try:
            child = start_program(
                [*leash(self._largest_file), *self.command],
                self.command[0],
                stdin=self._stdin,
                stdout=self._output,
            )
        except HarnessError as error:
            self._failure = error
            self._gone.set()
            self._spawned.set()
            return
        finally:
            self._output.close()
        self.pid = child.pid
        self._spawned.set()
        # Wait for the end without reaping. Until the zombie is reaped, no other process can get its number, so
        # the rest of its group (a wrapper's children) can be ended without hitting another process.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            self._status = child.wait()
        self._gone.set()
        self._ended()

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._status

    @property
    def running(self) -> bool:
        """Whether it was spawned and has not ended."""
        return self._launched and not self._gone.is_set()

    def ask(self, by: str) -> None:
        """Note that ``by`` is about to ask it to end: an end from now on is not a crash."""
        with self._lock:
            if self._status is None:
                self._asked = by

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its whole process group. Do nothing if it ended."""
        with self._lock:
            if self._status is None and self.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Return True as soon as it has ended and is reaped, False after ``seconds``."""
        return self._gone.wait(seconds)

    def end(self, *graces: tuple[Signals, float]) -> None:
        """Send one signal after the other until it has ended, with the seconds that each gets. See :meth:`settle`."""
        self.settle()
        for number, grace in graces:
            if self.running:
                self.ask(number.name)
                self.signal(number)
                self.wait(grace)

    def report(self) -> ExitReport | None:
        """Return how it ended; None while it runs, or if it never ran."""
        if self._status is None:
            return None
        return ExitReport(asked=bool(self._asked), status=self._status, by=self._asked or "itself")

    def words(self) -> str:
        """Return the process's last output, at most 4 KiB, control characters replaced."""
        try:
            text = printed_last(self.log, LONGEST_WORDS, start=self._log_start)
        except OSError:
            return ""
        return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text).strip()
