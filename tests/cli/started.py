# SPDX-License-Identifier: MIT
"""Commands with standard streams as asked for, one after the other in an interpreter which has loaded the harness.

A new interpreter for each would take longer than the command. This one gives the command what an interpreter gives it at its
start: no stream object for a number that is closed (Python: Python/pylifecycle.c, create_stdio), and a last flush. Each
command has streams of its own, and only the first can import a module while a stream is closed. Real shells close and
break streams in ``test_main.py``.

``python started.py`` reads a line: whether the commands have a process of their own, which is forked then, and an array of
words and what each stream is. It answers with an array of ends.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from harness.deadline import Deadline
    from harness.program import ProgramResult

Stream = Literal["file", "closed", "gone", "full"]
"""A file; closed from the start; a pipe whose reader went away; a disk without room."""

STREAMS = ("stdin", "stdout", "stderr")

FLUSH_FAILED = 120
"""The exit code of an interpreter whose last flush failed (Python: sys.exit)."""


class Ended(NamedTuple):
    """How a command ended, and what it wrote to files, "" to anything else."""

    code: int
    out: str
    err: str


class Asked(NamedTuple):
    """A command, and what its standard streams are."""

    words: Sequence[str]
    stdin: Stream = "file"
    stdout: Stream = "file"
    stderr: Stream = "file"


class Starter:
    """The interpreter that commands are called in, in the directory ``place``."""

    def __init__(self, place: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=place, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip

    def run(self, *asked: Asked, apart: bool = False) -> list[Ended]:
        """Run commands to their ends, one after the other. ``apart`` is whether they have a process of their own."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([apart, asked]) + "\n")
        self._process.stdin.flush()
        return [Ended(*one) for one in json.loads(self._process.stdout.readline())]

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def main() -> None:
    """Answer each line."""
    from harness.cli.main import main as command

    # What no command should do again: the signatures of all commands, and a search for what can be freed.
    with contextlib.redirect_stdout(sys.stderr):
        command(["--help"])
    gc.disable()
    _ask_once()
    # The standard streams are the commands'.
    with open(os.dup(0)) as lines, open(os.dup(1), "w") as answers:  # noqa: PTH123
        for line in lines:
            gc.freeze()
            apart, asked = json.loads(line)
            child = os.fork() if apart else 0
            if not child:
                print(json.dumps([_command(Asked(*one)) for one in asked]), file=answers, flush=True)
                if apart:
                    os._exit(0)
            elif os.waitpid(child, 0)[1]:
                print("null", file=answers, flush=True)


def _ask_once() -> None:
    """Let doctor ask a program outside the ``PATH`` once for what it always answers: libvirtd takes 14 ms to tell its version."""
    from harness.host import preflight

    asked: dict[tuple[str, ...], ProgramResult] = {}
    ask = preflight._ask

    def ask_once(command: list[str], deadline: Deadline) -> ProgramResult:
        if shutil.which(Path(command[0]).name) == command[0]:
            return ask(command, deadline)
        key = tuple(command)
        if key not in asked:
            asked[key] = ask(command, deadline)
        return asked[key]

    preflight._ask = ask_once


def _command(asked: Asked) -> Ended:
    """Be a command with its streams, and return its end."""
    from harness.cli.main import main as command

    kinds = dict(zip(STREAMS, asked[1:], strict=True))
    # What was put in the place of a closed one has a descriptor, which is closed with the last name for it.
    for name in STREAMS:
        setattr(sys, name, None)
        setattr(sys, f"__{name}__", None)
    for number, kind in enumerate(kinds.values()):
        with contextlib.suppress(OSError):
            os.close(number)
        if kind == "file":
            opened = os.open(
                str(number) if number else os.devnull, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600
            )
        elif kind == "full":
            opened = os.open("/dev/full", os.O_WRONLY)
        elif kind == "gone":
            reader, opened = os.pipe()
            os.close(reader)
        else:
            continue
        # The lowest number that is free need not be this one.
        if opened == number:
            os.set_inheritable(number, True)
        else:
            os.dup2(opened, number)
            os.close(opened)
    # Numbers that are to be closed were free for a moment.
    for number, (name, kind) in enumerate(kinds.items()):
        assert (kind == "closed") != _open(number)
        if kind != "closed":
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    code = 99
    try:
        sys.argv = ["harness", *asked.words]
        code = command()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:
        code = FLUSH_FAILED
    out, err = (
        Path(str(number)).read_text("utf-8", "replace") if kinds[STREAMS[number]] == "file" else ""
        for number in (1, 2)
    )
    return Ended(code, out, err)


def _open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
