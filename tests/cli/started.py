# SPDX-License-Identifier: MIT
"""Commands as processes of their own with standard streams as asked for, from one interpreter that has loaded the harness.

A new interpreter for each would take longer than the command. A forked one gives the command what the interpreter gives it
at its start: no stream object for a number that is closed (Python: Python/pylifecycle.c, create_stdio), and a last flush.

``python started.py`` reads one JSON object a line, ``words`` and for each stream what it is, and answers with one.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

Stream = Literal["file", "closed", "gone", "full"]
"""A file; closed from the start; a pipe whose reader went away; a disk without room."""

FLUSH_FAILED = 120
"""The exit code of an interpreter whose last flush failed (Python: sys.exit)."""

LOADED = (
    "alembic.command",
    "distributed",
    "harness.acceptance.acceptance",
    "harness.cli.documents",
    "harness.cli.session",
    "harness.driver.image",
    "harness.driver.signature",
    "harness.fleet.scheduler",
    "harness.report.page",
    "harness.store.database",
    "harness.template.build",
    "jinja2",
    "sqlalchemy.dialects.sqlite",
    "typer._adapters",
)
"""The modules that take commands longest to load. Each is loaded once, for all commands."""


class Ended(NamedTuple):
    """How a command ended, and what it wrote to files."""

    code: int
    out: str
    err: str


class Starter:
    """The interpreter that commands are forked from, in the directory ``place``."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=place, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip

    def run(
        self, *words: str, stdin: Stream = "file", stdout: Stream = "file", stderr: Stream = "file"
    ) -> Ended:
        """Run a command to its end."""
        asked = {"words": words, "streams": [stdin, stdout, stderr]}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        out, err = ((self._place / name).read_text("utf-8", "replace") for name in ("1", "2"))
        return Ended(code, out, err)

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def main() -> None:
    """Fork a child for each line, and answer with its exit code."""
    for module in LOADED:
        importlib.import_module(module)
    from harness.cli.main import main as command

    # What no child should do again: the signatures of all commands, and a search for what can be freed.
    with contextlib.redirect_stdout(sys.stderr):
        command(["--help"])
    gc.disable()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _child(asked)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _child(asked: dict[str, Any]) -> None:
    from harness.cli.main import main as command

    names = ("stdin", "stdout", "stderr")
    for number, kind in enumerate(asked["streams"]):
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
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
    # Numbers that are to be closed were free for a moment.
    for number, kind in enumerate(asked["streams"]):
        assert (kind == "closed") != _open(number)
    for number, (name, kind) in enumerate(zip(names, asked["streams"], strict=True)):
        stream = None
        if kind != "closed":
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    code = 99
    try:
        sys.argv = ["harness", *asked["words"]]
        code = command()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:
        code = FLUSH_FAILED
    finally:
        os._exit(code)


def _open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
