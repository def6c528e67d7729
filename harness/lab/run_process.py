# SPDX-License-Identifier: MIT
"""One run of a nightly run as its own process, ``harness run``, so that its failure cannot end the others.

It is forked (:mod:`harness.forking.fork_server`). It has its own session, so the terminal's Ctrl-C does not reach it, and it gets
SIGTERM when the nightly run's process dies for any reason. On SIGTERM it ends its guest first.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from harness.errors import ExitCode, FailureClass, system_errors
from harness.forking.fork_server import ForkServer
from harness.history.json_file import read_json
from harness.history.private import open_private
from harness.history.run_directory import FACTS, RunDirectory
from harness.interrupts import ENDING
from harness.invocation import invocation
from harness.lab.matrix import Cell
from harness.lab.nightly_state import CellOutcome
from harness.program import printed_last
from harness.run.failure import BOOT_STAGES, BootFailure

LARGEST_OUTPUT = 64 << 20
"""The most bytes of a child's document that are read. A document has a few hundred kilobytes."""

LAST_WORDS = 400
"""The most characters of a child's messages that become its reason if it left no document."""


class _Verdict(msgspec.Struct):
    verdict: str
    reasons: list[str] = []


class _Error(msgspec.Struct):
    message: str = ""
    stage: str = ""


class _Document(msgspec.Struct):
    """The parts of ``harness run --json``'s document that are used here."""

    directory: str
    verdict: _Verdict
    failure_class: str = ""
    first_attempt: str = ""
    error: _Error | None = None


def command(cell: Cell, options: Sequence[str], directory: Path, retry_of: str) -> list[str]:
    """Return the command line of a cell: its plan is in ``directory``, and its run directory will be.

    ``retry_of`` names the run that it retries, "" for none.
    """
    plan, runs = directory / "plans" / f"{cell.point}.toml", directory / "runs"
    words = ["run", str(plan), *options, "--runs", str(runs), "--seed", str(cell.seed), "--json"]
    return [*words, "--retry-of", retry_of] if retry_of else words


def _written(path: Path) -> BinaryIO:
    """Open a file for its owner alone, emptied. Raises OSError."""
    return os.fdopen(open_private(path, os.O_WRONLY | os.O_TRUNC), "wb")


class RunProcess:
    """One attempt at a cell, forked by ``server``. ``number`` is 2 for the repetition of an attempt that left no result."""

    def __init__(
        self,
        server: ForkServer,
        cell: Cell,
        words: list[str],
        directory: Path,
        *,
        number: int,
        seconds: float,
    ) -> None:
        self.cell = cell
        self.number = number
        self.words = words
        self.began = time.monotonic()
        self.ends = self.began + seconds
        self.late = False
        self._directory = directory
        stem = directory / "output" / f"{cell.id}-{number}"
        self._document, self.log = stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.log")
        with system_errors(
            "cannot start a run of the nightly run", hint=f"Check the free space in {directory}."
        ):
            with _written(self._document) as out, _written(self.log) as err:
                self._process = server.start(words=words, output=(out, err))
            self.descriptor = self._process.descriptor

    def ask(self, number: signal.Signals) -> None:
        """Send a signal: SIGTERM makes it end its guest and then itself; SIGKILL ends all of its session."""
        self._process.ask(number)

    def reap(self) -> int:
        """Return the exit status of the ended child, negative for a signal."""
        return self._process.wait()

    def outcome(self, status: int, machine: str) -> tuple[CellOutcome, bool]:
        """Return the result, and whether to repeat the attempt because it left none.

        ``machine`` names the machine of this cell (:attr:`Cell.machine`), for boots that fail.
        """
        seconds = round(time.monotonic() - self.began, 1)
        document = read_json(self._document, _Document, largest=LARGEST_OUTPUT)
        # The document of an interrupted run says how far it came. It is not a result.
        if document is None or self._process.orphaned or status - 128 in ENDING:
            return self._without(status, seconds)
        error = document.error
        boot = None
        # A plan that asks for something impossible does not show whether other plans' guests boot.
        if error is not None and error.stage in BOOT_STAGES and document.failure_class != FailureClass.PLAN:
            boot = BootFailure(
                guest=self.cell.guest,
                machine=machine,
                stage=error.stage,
                message=error.message[:500],
                failure_class=document.failure_class,
                run=Path(document.directory).name,
            )
        reason = error.message if error is not None else (document.verdict.reasons or [""])[0]
        done = CellOutcome(
            cell=self.cell.id,
            state="done",
            exit_code=status,
            verdict=document.verdict.verdict,
            failure_class=document.failure_class,
            reason=reason[:1000],
            runs=[path for path in (document.first_attempt, document.directory) if path],
            seconds=seconds,
            boot=boot,
        )
        return done, False

    def _without(self, status: int, seconds: float) -> tuple[CellOutcome, bool]:
        """Return the result of a child without a document: PLAN after a usage error, else INFRASTRUCTURE.

        A child that another process ended by a signal keeps the signal's code, so that it does not count as a result.
        """
        usage = status == ExitCode.USAGE
        code = ExitCode.USAGE if usage else ExitCode.INFRASTRUCTURE
        number = -status if status < 0 else status - 128
        if number in ENDING and not self.late:
            code = ExitCode(128 + number)
        why = self._last_words()
        if self._process.orphaned:
            why = f"the run was ended, because the process that forked it died: {why}"
        elif self.late:
            why = f"the run exceeded its time and was ended: {why}"
        elif status < 0:
            why = f"the run was killed by signal {-status}: {why}"
        elif not usage:
            why = f"the run ended with status {status} and no result: {why}"
        found = CellOutcome(
            cell=self.cell.id,
            state="done",
            exit_code=code,
            verdict="unknown",
            failure_class=FailureClass.PLAN if usage else FailureClass.INFRASTRUCTURE,
            reason=why.rstrip(": ")[:1000],
            runs=[str(run) for run in self._left()],
            seconds=seconds,
        )
        return found, not usage

    def _last_words(self) -> str:
        try:
            text = printed_last(self.log, 4096)
        except OSError:
            return ""
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        said = [line.removeprefix("harness: ") for line in lines if line.startswith("harness: ")] or lines
        return " ".join(said[-1:])[:LAST_WORDS]

    def _left(self) -> list[Path]:
        """Return the run directories of a child without a document: those that its command made."""
        runs = (file.parent for file in sorted((self._directory / "runs").glob(f"*/{FACTS}")))
        return [
            run for run in runs if RunDirectory(run).brief().argv[1:] == self.words and not run.is_symlink()
        ]

    def __str__(self) -> str:
        return invocation(*self.words)
