# SPDX-License-Identifier: MIT
"""A program: the one place that starts child processes, each without input unless it is given some.

:func:`run_program` runs a program to its end, within a deadline and with everything that it started.
:func:`start_program` starts one that lives on; its caller ends it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import selectors
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Literal, NamedTuple, TypeAlias

from harness.deadline import Deadline
from harness.errors import GuestHang, InfrastructureError, MissingPart, shortage_hint
from harness.interrupts import uninterrupted

ChildProcess: TypeAlias = "subprocess.Popen[bytes]"
DEVNULL = subprocess.DEVNULL
PIPE = subprocess.PIPE
MERGED = subprocess.STDOUT
"""As standard error: where standard output goes."""

PACKAGES = {
    "dpkg-deb": "dpkg",
    "fusermount3": "fuse3",
    "lld-link": "lld",
    "llvm-pdbutil": "llvm",
    "qemu-img": "qemu-utils",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "strip": "binutils",
    "x86_64-w64-mingw32-dlltool": "gcc-mingw-w64-x86-64",
    "x86_64-w64-mingw32-gcc": "gcc-mingw-w64-x86-64",
}
"""The Debian package of each program whose package has another name."""

LARGEST_OUTPUT = 16 << 20
"""Bytes of a program's output that are kept, the last ones."""
LEASH = ("setpriv", "--pdeathsig", "TERM", "--")
"""Before a command: the kernel sends it SIGTERM when this process dies; only the thread that starts it counts, the main one."""
GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL."""
LAST_LINES = 12
"""How much of a failed program's output its message shows."""
FRAMES = re.compile(r"^([ \t]*)Traceback \(most recent call last\):\n(?:\1[ \t]+.*\n)*", re.MULTILINE)
"""The frames of a traceback, which tell a user nothing; the line after them says what happened."""


def describe(status: int) -> str:
    """Return an exit status in words: *exit status 1*, *killed by SIGKILL*."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


class ProgramResult(NamedTuple):
    """How a program ended: its exit status, negative for a signal, and its output. ``errors`` only if kept apart."""

    status: int
    output: str
    errors: str = ""

    def last_words(self, count: int = LAST_LINES) -> str:
        """Return the last lines of the output, indented, without blank ones, after a line break; "" for none."""
        output = f"{self.output}\n{self.errors}"
        lines = [line.rstrip() for line in FRAMES.sub("", output).splitlines() if line.strip()]
        return "".join(f"\n    {line[:300]}" for line in lines[-count:])

    def failure(self) -> str:
        """Return how it failed, for an error message: exit status and last words."""
        return f"{describe(self.status)}{self.last_words()}"

    def says(self, *words: str) -> bool:
        """Tell whether any of ``words`` is in the output."""
        return any(word in self.output for word in words)


def run_program(
    command: Sequence[str | Path],
    deadline: Deadline,
    *,
    supply: str = "",
    slow: str = "Try again when the machine is less busy.",
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    data: IO[bytes] | None = None,
    log: IO[bytes] | None = None,
    apart: bool = False,
    descriptors: Sequence[int] = (),
    finish: bool = False,
    terminal: bool = False,
) -> ProgramResult:
    """Run a program to its end and return how it ended, whatever its exit status was.

    The environment is this process's in the C locale. ``data`` is its input and ``log`` takes its output, of which
    nothing is returned then; ``apart`` keeps the two output streams apart. ``supply`` is the hint if it is not
    installed, ``slow`` if it takes too long. With ``terminal`` it asks the user.

    With ``finish``, which needs a log, Ctrl-C does not reach it and is raised only when it has ended: a package manager
    stopped half-way leaves the machine broken. It stays in this session, since sudo knows its users by their terminal.

    Raises MissingPart if there is no such program, InfrastructureError if it cannot be run or does not end in time;
    nothing that it started is left running then, except with ``finish`` what does not obey SIGTERM.
    """
    said: dict[IO[bytes] | None, bytearray] = defaultdict(bytearray)
    output = None if terminal else log or PIPE
    child: ChildProcess | None = None
    try:
        # A signal in the midst of it would leave a program that nobody knows.
        with uninterrupted():
            child = start_program(
                command, deadline.what, supply=supply, cwd=cwd, environment=environment or {**os.environ, "LC_ALL": "C"},
                stdin=None if terminal else data or DEVNULL, stdout=output,
                stderr=PIPE if apart else None if terminal else MERGED, descriptors=descriptors,
                leads="" if terminal else "group" if finish else "session",
            )  # fmt: skip
        for pipe, piece in read_pipes(child, deadline):
            said[pipe] += piece
            if len(said[pipe]) > 2 * LARGEST_OUTPUT:
                del said[pipe][:-LARGEST_OUTPUT]
    except KeyboardInterrupt:
        if finish and child is not None:
            child.wait()
        raise
    except TimeoutError as error:
        if finish and child is not None:
            with contextlib.suppress(PermissionError):
                child.terminate()
                child.wait()
        raise InfrastructureError(
            f"{deadline.what}: '{command[0]}' did not end within {deadline.seconds:g} s", hint=slow
        ) from error
    finally:
        if not finish and child is not None:
            end_program(child)
    texts = [said[pipe][-LARGEST_OUTPUT:].decode(errors="replace") for pipe in (child.stdout, child.stderr)]
    return ProgramResult(child.returncode, texts[0], texts[1] if apart else "")


def start_program(
    command: Sequence[str | Path],
    what: str,
    *,
    supply: str = "",
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = DEVNULL,
    stdout: int | IO[bytes] | None = PIPE,
    stderr: int | IO[bytes] | None = MERGED,
    descriptors: Sequence[int] = (),
    leads: Literal["session", "group", ""] = "session",
) -> ChildProcess:
    """Start a program, which ``what`` needs, at the head of a session or process group of its own.

    Raises MissingPart if there is no such program, InfrastructureError if it cannot be run.
    """
    name = str(command[0])
    try:
        return subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=descriptors,
            start_new_session=leads == "session", process_group=0 if leads == "group" else None,
        )  # fmt: skip
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise InfrastructureError(f"{what}: there is no directory {cwd}") from error
        hint = supply or f"Install it with: sudo apt-get install {PACKAGES.get(name, name)}"
        if "/" in name and Path(name).exists():
            raise MissingPart(f"cannot run '{name}': its interpreter is missing", hint=hint) from error
        raise MissingPart(f"{what} needs '{name}', which is not installed", hint=hint) from error
    except (OSError, ValueError) as error:
        # A ValueError is about a null byte in a word.
        raise InfrastructureError(
            f"cannot run '{name}': {getattr(error, 'strerror', error)}", hint=shortage_hint(error, supply)
        ) from error


def read_pipes(child: ChildProcess, deadline: Deadline) -> Iterator[tuple[IO[bytes], bytes]]:
    """Yield what a child writes, with the pipe it came from, until the child has ended. Raises TimeoutError."""
    with selectors.DefaultSelector() as selector:
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, pipe)
        while selector.get_map():
            for key, _ in selector.select(deadline.remaining()):
                piece = os.read(key.fd, 1 << 16)
                if piece:
                    yield key.data, piece
                else:
                    selector.unregister(key.data)
            if deadline.expired and selector.get_map():
                raise TimeoutError
    try:
        child.wait(max(0.001, deadline.remaining()))
    except subprocess.TimeoutExpired as error:
        raise TimeoutError from error


def readable(descriptor: int, seconds: float) -> bool:
    """Return whether a descriptor becomes readable in time, whatever its number: select() takes none above 1023."""
    watched = select.poll()
    watched.register(descriptor, select.POLLIN)
    return bool(watched.poll(seconds * 1000))


def _ended(pid: int, seconds: float) -> None:
    """Wait until a child has ended, without reaping it, at most so long."""
    try:
        watch = os.pidfd_open(pid)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        # Even a harness that may open nothing more ends what it started.
        deadline = Deadline(seconds, "the end of a program")
        with contextlib.suppress(GuestHang):
            deadline.poll(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG))
        return
    try:
        readable(watch, seconds)
    finally:
        os.close(watch)


def end_program(child: ChildProcess, *, patience: float = 0.0) -> None:
    """End a child and what it started, by SIGTERM before SIGKILL, after ``patience`` seconds to end by itself."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            # Not reaped, so neither its number nor its group's can be another's.
            target = -child.pid if os.getpgid(child.pid) == child.pid else child.pid
            for number, seconds in ((0, patience), (signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
                with contextlib.suppress(PermissionError):
                    os.kill(target, number)
                _ended(child.pid, seconds)
        child.poll()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
