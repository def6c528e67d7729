# SPDX-License-Identifier: MIT
"""The compiled reader of event trace logs for the commands: compiled once into the cache, used for large logs.

Without a C compiler, or if its result cannot be loaded, the commands read in Python, with the same results.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.capture.etl.counts import RecordCounts
from harness.capture.etl.decoder import Decoder
from harness.capture.etl.fast.library import HEADER, SOURCES, Library
from harness.capture.etl.fast.program import Program, compiled
from harness.capture.etl.fast.reader import FastReader, in_range
from harness.capture.etl.record import AnyLogRecord
from harness.capture.etl.selection import Selection
from harness.capture.etl.tracelog import TraceLog
from harness.cli.etl_lines import line, second
from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError
from harness.program import run_program
from harness.report.escape import LONGEST, printable
from harness.setup.cache import Cache, cache_directory, digest

WORTH = 1 << 20
"""Minimum bytes of a log for the compiled reader: loading it takes as long as reading a smaller log in
Python."""

LONGEST_BUILD = 60.0
"""Seconds that compiling may take."""

NAME = "etl_reader.so"


def library(path: Path) -> Library | None:
    """Return the compiled reader, compiling it if necessary; None for a small log, or if it is not available."""
    try:
        if path.stat().st_size < WORTH:
            return None
    except OSError:
        return None
    try:
        return Library(built(os.environ) / NAME)
    except (HarnessError, OSError, AttributeError):
        return None


def built(environment: os._Environ[str]) -> Path:
    """Return the folder with the library. Raises HarnessError when it cannot be compiled."""

    def build(place: Path, _lock: int) -> None:
        options = ("-std=gnu11", "-O2", "-shared", "-fPIC", "-o")
        done = run_program(["gcc", *options, place / NAME, *SOURCES], deadline)
        if done.status:
            raise InfrastructureError(f"the reader of event trace logs does not compile: {done.failure()}")

    deadline = Deadline(LONGEST_BUILD, "compile the reader of event trace logs")
    key = digest(platform.machine(), *(source.read_bytes() for source in (HEADER, *SOURCES)))
    cache = Cache(cache_directory(environment), lambda _message: None)
    return cache.built("etl-reader", key, build, deadline, clone=None, sealed=True)


def text_lines(
    loaded: Library | None,
    log: TraceLog,
    decoder: Decoder,
    selection: Selection,
    *,
    since: int | None,
    until: int | None,
    local: bool,
    progress: Callable[[int], None] | None,
) -> Iterator[str]:
    """Yield the lines of ``harness etl dump``; several at a time, with line breaks between, from the compiled reader."""
    if loaded is None or not in_range(since, until):
        for record in log.records(since=since, until=until, progress=progress):
            if selection.wants(record, decoder):
                yield line(log, record, decoder.decode(record), local=local)
        return
    yield from FastReader(loaded, log, decoder).lines(
        lambda record: line(log, record, decoder.decode(record), local=local),
        lambda record: _program(decoder, record),
        lambda number: second(number, local),
        selection,
        since=since,
        until=until,
        progress=progress,
    )


def _program(decoder: Decoder, record: AnyLogRecord) -> Program | None:
    """Return the program for all records of a kind."""
    plan = decoder.plan(record)
    if plan is None:
        return None
    head = f"{printable(plan.provider, LONGEST)}/{printable(plan.event, LONGEST)}"
    return compiled(
        plan, head, lambda text: printable(text, len(text)), lambda name: printable(name, LONGEST)
    )


def summarize(
    loaded: Library | None,
    log: TraceLog,
    decoder: Decoder,
    classify: Callable[[AnyLogRecord], tuple[str, ...]],
    progress: Callable[[int], None] | None,
) -> RecordCounts:
    """Count all records of a log by the result of ``classify``."""
    if loaded is None:
        from harness.capture.etl.counts import summarize

        return summarize(log.records(progress=progress), classify)
    return FastReader(loaded, log, decoder).summary(classify, progress)
