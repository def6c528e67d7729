# SPDX-License-Identifier: MIT
"""Repetitions of one run: the rate of the same result, its confidence interval, and what differs.

Each repetition is a ``harness repro`` in its own process, so that none affects another. Each waits for its share of
the host. They are forked (:mod:`harness.forking.fork_server`), and end with this process.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Self

import msgspec

from harness.errors import ExitCode, FailureClass, HarnessError, worst
from harness.forking.fork_server import ForkServer
from harness.forking.forked_process import ForkedProcess
from harness.history.json_file import decoded
from harness.interrupts import uninterrupted
from harness.interval import Rate, wilson
from harness.report.transcript import read_transcript
from harness.report.transcript_comparison import TranscriptDifference, compare_transcripts
from harness.repro.recorded_run import Signature

LARGEST_OUTPUT = 64 << 20
"""The most bytes of a repetition's document that are read. A document has a few hundred kilobytes."""

PATIENCE = 60.0
"""Seconds that a repetition gets after SIGTERM to end its guest."""

NO_RESULT = (FailureClass.INFRASTRUCTURE, FailureClass.PLAN)
"""Failures that do not count for or against the reproduction."""


class Repetition(msgspec.Struct, frozen=True, kw_only=True):
    """One repetition. ``now`` is its result, None without one. ``counts`` says whether it counts for the rate.

    ``same`` says whether its result is that of the recorded run. ``reason`` is the explanation in one line.
    """

    number: int
    exit_code: int
    directory: str = ""
    now: Signature | None = None
    same: bool = False
    counts: bool = False
    reason: str = ""

    def __str__(self) -> str:
        if self.now is None:
            return f"no result: {self.reason}"
        return str(self.now) if self.counts else f"does not count: {self.now.failure_class}: {self.reason}"


class RunContrast(msgspec.Struct, frozen=True, kw_only=True):
    """A reproduced run and one that is not. ``first`` is the first step that differs between them, None if none
    does."""

    reproduced: str
    other: str
    verdict: str
    first: TranscriptDifference | None = None
    differences: int = 0


class Repetitions(msgspec.Struct, kw_only=True):
    """All repetitions, and the rate of the recorded result among those that count."""

    before: Signature
    runs: list[Repetition]
    reproduced: Rate
    contrast: RunContrast | None = None

    @property
    def exit_code(self) -> ExitCode:
        """The worst exit code."""
        return worst(known_code(run.exit_code) for run in self.runs)


def known_code(status: int) -> ExitCode:
    """Return the exit code of a child that ended with ``status``. An unknown status is INFRASTRUCTURE."""
    with contextlib.suppress(ValueError):
        return ExitCode(128 - status if status < 0 else status)
    return ExitCode.INFRASTRUCTURE


class _Verdict(msgspec.Struct):
    verdict: str
    reasons: list[str] = []


class _Error(msgspec.Struct):
    message: str = ""


class _Document(msgspec.Struct):
    """The parts of ``harness repro --json``'s document that are used here."""

    directory: str = ""
    verdict: _Verdict | None = None
    now: Signature | None = None
    same: bool = False
    error: _Error | None = None


def repeat(
    words: Sequence[str],
    before: Signature,
    *,
    count: int,
    at_once: int,
    done: Callable[[Repetition], None],
    server: ForkServer | None = None,
) -> Repetitions:
    """Execute ``harness WORDS``, a ``repro`` with ``--json``, ``count`` times, ``at_once`` of them concurrently. Call
    ``done`` with each result. ``server`` forks their processes; without it, a new one does.

    Raises KeyboardInterrupt after all have ended, and InfrastructureError if none can be started.
    """
    return repetitions(before, [*_performed(words, count, at_once, done, server)])


def repetitions(before: Signature, ended: Sequence[Repetition]) -> Repetitions:
    """Return the result of the repetitions that have ended."""
    runs = sorted(ended, key=lambda run: run.number)
    counted = [run for run in runs if run.counts]
    return Repetitions(
        before=before,
        runs=runs,
        reproduced=wilson(sum(run.same for run in counted), len(counted)),
        contrast=contrast(runs),
    )


def _performed(
    words: Sequence[str],
    count: int,
    at_once: int,
    done: Callable[[Repetition], None],
    server: ForkServer | None,
) -> Iterator[Repetition]:
    left = iter(range(1, count + 1))
    with selectors.DefaultSelector() as selector, _Children(server) as children:

        def begin() -> None:
            if number := next(left, 0):
                descriptor = children.start(words, number)
                selector.register(descriptor, selectors.EVENT_READ, number)

        for _ in range(at_once):
            begin()
        while children.running:
            for key, _ in selector.select():
                selector.unregister(key.fileobj)
                found = children.end(key.data)
                done(found)
                yield found
                begin()


class _Children:
    """The running processes. Leaving the block ends those that still run."""

    def __init__(self, server: ForkServer | None) -> None:
        self.running: dict[int, tuple[ForkedProcess, IO[bytes], IO[bytes]]] = {}
        self._server = server or ForkServer()
        self._own = contextlib.nullcontext() if server is not None else self._server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with uninterrupted(), self._own:
            for child, *_ignored in self.running.values():
                child.ask(signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE
            for child, out, err in self.running.values():
                if not child.ended(max(0.0, deadline - time.monotonic())):
                    child.ask(signal.SIGKILL)
                child.wait()
                out.close()
                err.close()

    def start(self, words: Sequence[str], number: int) -> int:
        """Start a repetition. Return a descriptor that becomes readable when it has ended."""
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - end() closes them
        # A signal during the start would leave a process that is never ended.
        with uninterrupted():
            child = self._server.start(words=words, output=(out, err))
            self.running[number] = child, out, err
        return child.descriptor

    def end(self, number: int) -> Repetition:
        """Return the result of a repetition that has ended."""
        child, out, err = self.running.pop(number)
        status = child.wait()
        with out, err:
            return _result(number, status, out, err)


def _result(number: int, status: int, out: IO[bytes], err: IO[bytes]) -> Repetition:
    out.seek(0)
    document = decoded(out.read(LARGEST_OUTPUT), _Document) or _Document()
    if document.now is None or document.verdict is None or status < 0 or status > ExitCode.INFRASTRUCTURE:
        return Repetition(
            number=number, exit_code=status, directory=document.directory, reason=_last_words(err, document)
        )
    reasons = [document.error.message] if document.error is not None else document.verdict.reasons
    return Repetition(
        number=number,
        exit_code=status,
        directory=document.directory,
        now=document.now,
        same=document.same,
        counts=document.now.failure_class not in NO_RESULT,
        reason=_first_line((reasons or [""])[0]),
    )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:400]


def _last_words(err: IO[bytes], document: _Document) -> str:
    if document.error is not None:
        return _first_line(document.error.message)
    err.seek(0)
    lines = [
        line for line in err.read(LARGEST_OUTPUT).decode("utf-8", "replace").splitlines() if line.strip()
    ]
    said = [line.removeprefix("harness: ") for line in lines if line.startswith("harness: ")] or lines
    return (said or ["it printed nothing"])[-1][:400]


def contrast(runs: Sequence[Repetition]) -> RunContrast | None:
    """Compare the first reproduced run with the first that is not. Return None if all are alike, or if none can be
    read."""
    counted = [run for run in runs if run.counts]
    same = next((run for run in counted if run.same), None)
    other = next((run for run in counted if not run.same), None)
    if same is None or other is None:
        return None
    try:
        compared = compare_transcripts([read_transcript(Path(run.directory)) for run in (same, other)])
    except HarnessError as error:
        return RunContrast(reproduced=same.directory, other=other.directory, verdict=error.message)
    return RunContrast(
        reproduced=same.directory,
        other=other.directory,
        verdict=compared.verdict,
        first=next(iter(compared.differences), None),
        differences=len(compared.differences),
    )
