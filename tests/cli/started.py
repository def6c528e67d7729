# SPDX-License-Identifier: MIT
"""Commands with standard streams as asked for, in processes that are forked from an interpreter which has loaded the harness.

A new interpreter for each would take longer than the command. A forked one gives the command what the interpreter gives it
at its start: no stream object for a number that is closed (Python: Python/pylifecycle.c, create_stdio), and a last flush.
Commands that are asked for together follow each other in one process, each with streams of its own: only the first can
import a module while a stream is closed. Real shells close and break streams in ``test_main.py``.

``python started.py`` reads a line, a JSON array of words and what each stream is, and answers with an array of ends.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

Stream = Literal["file", "closed", "gone", "full"]
"""A file; closed from the start; a pipe whose reader went away; a disk without room."""

STREAMS = ("stdin", "stdout", "stderr")

FLUSH_FAILED = 120
"""The exit code of an interpreter whose last flush failed (Python: sys.exit)."""

LOADED = {
    "": ("harness.cli.documents", "typer._adapters", "harness.cli.session", "harness.contract.checker"),
    "history store": ("alembic.command", "harness.store.database", "sqlalchemy.dialects.sqlite"),
    "fleet worker": ("distributed", "fsspec", "harness.fleet.scheduler"),
}
"""The modules that several commands take longest to load, by the commands' first words, each loaded once, for the first of them."""


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
    """The interpreter that commands are forked from, in the directory ``place``."""

    def __init__(self, place: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=place, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip

    def run(self, *asked: Asked) -> list[Ended]:
        """Run commands to their ends, one after the other in one process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return [Ended(*one) for one in json.loads(self._process.stdout.readline())]

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def main() -> None:
    """Fork a child for each line, which answers it."""
    from harness.cli.main import main as command

    # What no child should do again: the signatures of all commands, and a search for what can be freed.
    with contextlib.redirect_stdout(sys.stderr):
        command(["--help"])
    gc.disable()
    _load("")
    for line in sys.stdin:
        _load(json.loads(line)[0][0][0])
        if child := os.fork():
            _, status = os.waitpid(child, 0)
            if status:
                print("null", flush=True)
            continue
        with open(os.dup(1), "w") as answers:  # noqa: PTH123
            ends = [_command(Asked(*asked)) for asked in json.loads(line)]
            print(json.dumps(ends), file=answers, flush=True)
        os._exit(0)


def _load(first: str) -> None:
    """Load what the commands with this first word need."""
    for words in [words for words in LOADED if first in words.split(" ")]:
        for module in LOADED.pop(words):
            importlib.import_module(module)
        gc.freeze()


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
