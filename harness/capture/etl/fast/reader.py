# SPDX-License-Identifier: MIT
"""Drives the compiled reader over a log: gives it buffers, takes lines or counts, and answers its requests.

It makes three kinds of requests: once for every kind of record (what to do with it), for each record that only Python
can decode, and for each second of the wall clock. So the results equal those of Python's own reading, line by line.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from harness.capture.etl import buffer
from harness.capture.etl.counts import KINDS, RecordCounts
from harness.capture.etl.decoder import Decoder
from harness.capture.etl.fast import library
from harness.capture.etl.fast.library import Library
from harness.capture.etl.fast.program import Program
from harness.capture.etl.record import AnyLogRecord
from harness.capture.etl.selection import Selection
from harness.capture.etl.tracelog import OPEN_LIMIT, ReportProgress, TraceLog

_ASK, _SKIP = -1, -2
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1

_DAMAGES = (
    "",
    "no record begins with 0x{:08x}",
    "a record of {} bytes is shorter than its header of {}",
    "a record of {} bytes runs past the {} left in the buffer",
    "a message of {} bytes is too short for its options 0x{:x}",
)


class FastReader:
    """One reading of a log. ``decoder`` must have learned the log. Raises MemoryError when memory runs out."""

    def __init__(self, loaded: Library, log: TraceLog, decoder: Decoder) -> None:
        self._functions = loaded.functions
        self._log = log
        self._decoder = decoder
        self._renamings = 0
        self._reader: Any = None

    @contextmanager
    def _opened(self, *, counting: bool) -> Iterator[Any]:
        clock = self._log.session.clock
        self._reader = self._functions.fast_new(counting, clock.hz, clock.start, clock.start_filetime)
        _need(bool(self._reader))
        try:
            yield self._reader.contents
        finally:
            self._functions.fast_free(self._reader)
            self._reader = None

    def lines(
        self,
        write: Callable[[AnyLogRecord], str],
        compile_program: Callable[[AnyLogRecord], Program | None],
        second: Callable[[int], tuple[str, str]],
        selection: Selection,
        *,
        since: int | None = None,
        until: int | None = None,
        progress: ReportProgress | None = None,
    ) -> Iterator[str]:
        """Yield the lines of all wanted records, many at a time, without the line break of the last one.

        ``write`` makes a record's line, ``compile_program`` the program for all of its kind, ``second`` the date of a
        second since 1601 and its zone.
        """
        with self._opened(counting=False) as state:
            self._choose(selection, since, until)
            for wants in self._run(state, progress):
                if wants == library.WANTS_KEY:
                    self._learn_line(state, compile_program, selection)
                elif wants == library.WANTS_RECORD:
                    record = _record(state)
                    text = f"{write(record)}\n".encode() if selection.wants(record, self._decoder) else b""
                    self._check_names()
                    _need(self._functions.fast_answer(self._reader, text, len(text)))
                elif wants == library.WANTS_SECOND:
                    written, zone = (text.encode() for text in second(state.second))
                    self._functions.fast_second(
                        self._reader, state.second, written, len(written), zone, len(zone)
                    )
                elif state.out_size:
                    yield ctypes.string_at(state.out, state.out_size - 1).decode()
                    self._functions.fast_taken(self._reader)

    def summary(
        self, classify: Callable[[AnyLogRecord], tuple[str, ...]], progress: ReportProgress | None = None
    ) -> RecordCounts:
        """Count the records by the class that ``classify`` gives them, by header and by processor."""
        found = RecordCounts()
        numbers: dict[tuple[str, ...], int] = {}
        with self._opened(counting=True) as state:
            for wants in self._run(state, progress):
                if wants == library.WANTS_KEY:
                    record = _record(state)
                    if self._decoder.plan(record) is None:
                        self._learn(_ASK)
                        continue
                    name = classify(record)
                    self._check_names()
                    number = numbers.setdefault(name, len(numbers))
                    found.counts.setdefault(name, 0)
                    _need(self._functions.fast_count(self._reader, len(numbers)))
                    self._learn(number)
                elif wants == library.WANTS_RECORD:
                    found.counts[classify(_record(state))] += 1
                    self._check_names()
                    _need(self._functions.fast_answer(self._reader, b"", 0))
            for name, number in numbers.items():
                found.counts[name] += state.counts[number]
            found.kinds.update({kind: count for kind, count in zip(KINDS, state.kinds, strict=True) if count})
            found.processors.update({number: count for number, count in enumerate(state.processors) if count})
        return found

    def _choose(self, selection: Selection, since: int | None, until: int | None) -> None:
        begin, end = since is not None, until is not None
        self._functions.fast_between(self._reader, begin, since or 0, end, until or 0)
        for which, name in enumerate(("process", "thread", "processor")):
            wanted = selection.numbers.get(name)
            if wanted is not None:
                # A record has no number outside of 32 bits.
                numbers = array("I", [one for one in wanted if 0 <= one < 1 << 32])
                _need(self._functions.fast_only(self._reader, which, numbers.buffer_info()[0], len(numbers)))

    def _run(self, state: Any, progress: ReportProgress | None) -> Iterator[int]:
        """Go through the log; yield each request, and WANTS_ROOM also at the end."""
        functions, log = self._functions, self._log
        log.begin()
        for one in log.openings(progress):
            cost = functions.fast_open(
                self._reader, one.data, len(one.data), one.offset, one.processor, one.place, one.expanded
            )
            _need(cost >= 0)
            self._note(state)
            bounded = one.horizon is not None and cost <= OPEN_LIMIT
            while True:
                wants = functions.fast_run(self._reader, bounded, one.horizon or 0)
                self._note(state)
                _need(wants != library.NO_MEMORY)
                if wants == library.WANTS_BUFFER:
                    break
                yield wants
        yield library.WANTS_ROOM

    def _note(self, state: Any) -> None:
        """Add the reader's counts and the damage that it found to the account."""
        account = self._log.account
        account.records, account.late = state.records, state.late
        if state.damage_count:
            for one in state.damages[: state.damage_count]:
                reason = _DAMAGES[one.code].format(one.first, one.second)
                if one.expanded:
                    account.damage(one.offset, f"byte {one.at} of the expanded buffer: {reason}")
                else:
                    account.damage(one.offset + one.at, reason)
            self._functions.fast_noted(self._reader)

    def _learn(self, value: int) -> None:
        _need(self._functions.fast_learn(self._reader, value))

    def _learn_line(
        self, state: Any, compile_program: Callable[[AnyLogRecord], Program | None], selection: Selection
    ) -> None:
        record = _record(state)
        if not selection.wants(record, self._decoder):
            self._check_names()
            self._learn(_SKIP)
            return
        made = compile_program(record)
        self._check_names()
        if made is None:
            self._learn(_ASK)
            return
        head, rows = made.head.buffer_info()[0], made.rows.buffer_info()[0]
        number = self._functions.fast_define(self._reader, head, rows, made.literals, len(made.literals))
        _need(number >= 0)
        self._learn(number)

    def _check_names(self) -> None:
        """Make the reader request everything again when a provider got a name."""
        if self._renamings != self._decoder.renamings:
            self._renamings = self._decoder.renamings
            self._functions.fast_forget(self._reader)


def in_range(since: int | None, until: int | None) -> bool:
    """Return whether the compiled reader can compare records with these ticks."""
    return all(one is None or _LEAST <= one <= _MOST for one in (since, until))


def _record(state: Any) -> AnyLogRecord:
    """Return the record that the reader requests."""
    data = ctypes.string_at(state.record, state.record_size)
    found, _at, _why = buffer.decode(data, state.record_processor, 0, len(data), 1, state.record_time)
    return found[0]


def _need(done: bool) -> None:
    if not done:
        raise MemoryError
