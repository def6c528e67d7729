# SPDX-License-Identifier: MIT
"""A program: the only place that starts child processes. They have no input unless the caller gives some.

:func:`run_program` runs a program to its end, within a deadline, and ends all processes that it started.
:func:`start_program` starts a program that continues to run. Its caller ends it.
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
"""Standard error is merged into standard output."""

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
"""The Debian packages of programs whose package has another name."""

LARGEST_OUTPUT = 16 << 20
"""Bytes of a program's output that are kept, from the end."""
GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL."""
LAST_LINES = 12
"""The lines of a failed program's output in its message."""
FRAMES = re.compile(r"^([ \t]*)Traceback \(most recent call last\):\n(?:\1[ \t]+.*\n)*", re.MULTILINE)
"""The frames of a traceback, which are useless to a user. The line after them says what happened."""


def describe(status: int) -> str:
    """Return an exit status as text: *exit status 1*, *killed by SIGKILL*."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


class ProgramResult(NamedTuple):
    """How a program ended: its exit status, negative for a signal, and its output. ``errors`` only if separate."""

    status: int
    output: str
    errors: str = ""

    def last_words(self, count: int = LAST_LINES) -> str:
        """Return the last lines of the output, indented, without blank ones, after a line break; "" for none."""
        output = f"{self.output}\n{self.errors}"
        lines = [line.rstrip() for line in FRAMES.sub("", output).splitlines() if line.strip()]
        return "".join(f"\n    {line[:300]}" for line in lines[-count:])

    @property
    def first_line(self) -> str:
        """The first line of the output, "" for none: what a program says of its version."""
        return self.output.partition("\n")[0].strip()

    def failure(self) -> str:
        """Return how it failed, for an error message: exit status and last output."""
        return f"{describe(self.status)}{self.last_words()}"

    def says(self, *words: str) -> bool:
        """Return whether any of ``words`` is in the output."""
        return any(word in self.output for word in words)


def printed_last(log: Path, most: int, *, start: int = 0) -> str:
    """Return the end of what was printed to a file since byte ``start``: at most ``most`` bytes. Raises OSError."""
    with log.open("rb") as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - most))
        return file.read(most).decode("utf-8", "replace")


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
    """Run a program to its end and return its result, for every exit status.

    The environment is this process's in the C locale. ``data`` is its input. ``log`` receives its output, of which
    nothing is then returned. ``apart`` separates the two output streams. ``supply`` is the hint if the program is not
    installed, ``slow`` if it takes too long. With ``terminal`` it may ask the user.

    With ``finish``, which needs a log, Ctrl-C does not reach the program and is raised only when it has ended: a package
    manager stopped half-way leaves the machine broken. It stays in this session, since sudo identifies users by their terminal.

    Raises MissingPart if there is no such program, InfrastructureError if it cannot be run or does not end in time.
    It then leaves no process running, except with ``finish`` those that ignore SIGTERM.
    """
    said: dict[IO[bytes] | None, bytearray] = defaultdict(bytearray)
    output = None if terminal else log or PIPE
    child: ChildProcess | None = None
    try:
        # A signal during the start would leave an unknown process.
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
    """Start a program, which ``what`` needs, as the leader of its own session or process group.

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
        # A ValueError means a null byte in a word.
        raise InfrastructureError(
            f"cannot run '{name}': {getattr(error, 'strerror', error)}", hint=shortage_hint(error, supply)
        ) from error


def read_pipes(child: ChildProcess, deadline: Deadline) -> Iterator[tuple[IO[bytes], bytes]]:
    """Yield a child's output, each piece with its pipe, until the child has ended. Raises TimeoutError."""
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
    """Return whether a descriptor becomes readable in time, whatever its number: select() fails above 1023."""
    watched = select.poll()
    watched.register(descriptor, select.POLLIN)
    return bool(watched.poll(seconds * 1000))


def _ended(pid: int, seconds: float) -> None:
    """Wait at most ``seconds`` until a child has ended, without reaping it."""
    try:
        watch = os.pidfd_open(pid)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        # This also ends child processes if the harness cannot open another file.
        deadline = Deadline(seconds, "the end of a program")
        with contextlib.suppress(GuestHang):
            deadline.poll(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG))
        return
    try:
        readable(watch, seconds)
    finally:
        os.close(watch)


def end_program(child: ChildProcess, *, patience: float = 0.0) -> None:
    """End a child and its processes: wait ``patience`` seconds, then send SIGTERM, then SIGKILL."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            # The child is not reaped, so neither its id nor its group's id can be reused.
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
