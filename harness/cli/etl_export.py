# SPDX-License-Identifier: MIT
"""Event trace logs for other tools: comma-separated values, and Trace Event JSON.

Trace Event JSON is the format that ui.perfetto.dev and chrome://tracing open: an instant for each record on its
process and thread, the names of processes and threads if the log has them, and, from context switches, what
each processor ran. Times are microseconds after the session's start.

Format: "Trace Event Format", https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.capture.etl import context
from harness.capture.etl.decoder import Decoded
from harness.capture.etl.record import AnyLogRecord
from harness.capture.etl.tracelog import TraceLog
from harness.cli.etl_lines import NOBODY, plain, wall_clock
from harness.cli.output import flush, say
from harness.errors import InfrastructureError, UsageError
from harness.history.private import open_private
from harness.report.escape import printable

if TYPE_CHECKING:
    DecodedRecords = Iterable[tuple[AnyLogRecord, Decoded]]

COLUMNS = (
    "seconds", "time", "ticks", "processor", "process", "thread", "provider", "event", "how", "message", "values",
)  # fmt: skip
"""Names of the columns of the comma-separated values; ``values`` is a JSON object."""

PROCESSORS = (1 << 31) - 1
"""The process id under which Trace Event JSON shows what the processors ran; Windows never uses this id."""

_FORMULA = ("=", "+", "-", "@")


def write(lines: Iterator[str], output: Path | None) -> None:
    """Print lines, or write them to a new file. Raises UsageError if it exists, InfrastructureError if writing fails."""
    if output is None:
        say(lines)
        flush()
        return
    try:
        file = os.fdopen(open_private(output, os.O_WRONLY | os.O_EXCL), "w", encoding="utf-8", newline="\n")
    except FileExistsError:
        raise UsageError(
            f"{output} exists already", hint="Remove it or give --output another name."
        ) from None
    except OSError as error:
        raise UsageError(
            f"{output}: {error.strerror}", hint="Give --output a file that can be written."
        ) from error
    try:
        with file:
            for line in lines:
                file.write(f"{line}\n")
    except BaseException as error:
        output.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InfrastructureError(f"{output}: writing: {error.strerror}") from error
        raise


def _cell(text: str) -> str:
    """Return text of a guest as a cell: on one line, and not a formula for a spreadsheet."""
    cell = printable(text, 32_000)
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def csv_lines(log: TraceLog, records: DecodedRecords, *, local: bool) -> Iterator[str]:
    """Yield a line of names, then one line for each record."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="")

    def line(cells: Iterable[object]) -> str:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(cells)
        return buffer.getvalue()

    yield line(COLUMNS)
    for record, decoded in records:
        nanoseconds = log.session.clock.nanoseconds(record.time)
        process, thread = (getattr(record, name, NOBODY) for name in ("process", "thread"))
        values: dict[str, Any] = {"payload": record.payload} if decoded.how == "raw" else decoded.values
        yield line(
            (
                "" if nanoseconds is None else f"{nanoseconds / 1e9:.9f}",
                wall_clock(log, record.time, local=local),
                record.time,
                record.processor,
                "" if process == NOBODY else process,
                "" if thread == NOBODY else thread,
                _cell(decoded.provider),
                _cell(decoded.event),
                decoded.how,
                _cell(decoded.message),
                msgspec.json.encode(plain(values)).decode(),
            )
        )


def perfetto_lines(log: TraceLog, records: DecodedRecords) -> Iterator[str]:
    """Yield a Trace Event JSON document, one event per line."""
    encode = msgspec.json.Encoder().encode
    yield '{"displayTimeUnit":"ns","traceEvents":['
    before = ""
    for event in _events(log, records):
        yield f"{before}{encode(event).decode()}"
        before = ","
    yield "]}"


def _name(kind: str, process: int, thread: int | None, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"ph": "M", "name": kind, "pid": process, "args": {"name": name}}
    return found if thread is None else found | {"tid": thread}


def _events(log: TraceLog, records: DecodedRecords) -> Iterator[dict[str, Any]]:
    running: dict[int, tuple[float, int]] = {}
    yield _name("process_name", PROCESSORS, None, "processors")
    for record, decoded in records:
        microseconds = (log.session.clock.nanoseconds(record.time) or 0) / 1000
        process, thread = (getattr(record, name, NOBODY) for name in ("process", "thread"))
        values = decoded.values
        yield from _names(decoded)
        if decoded.provider == "Thread" and decoded.event == "CSwitch" and "NewThreadId" in values:
            if record.processor not in running:
                yield _name("thread_name", PROCESSORS, record.processor, f"cpu {record.processor}")
            began, ran = running.get(record.processor, (microseconds, values["OldThreadId"]))
            running[record.processor] = (microseconds, values["NewThreadId"])
            if ran:
                yield {
                    "ph": "X",
                    "name": f"thread {ran}",
                    "pid": PROCESSORS,
                    "tid": record.processor,
                    "ts": began,
                    "dur": microseconds - began,
                }
            continue
        shown: dict[str, Any] = {"payload": record.payload} if decoded.how == "raw" else values
        arguments = plain(shown) | {"processor": record.processor}
        around = context.of(record)
        if around.activity:
            arguments["activity"] = around.activity
        if decoded.message:
            arguments["message"] = decoded.message
        alone = process == NOBODY
        yield {
            "ph": "i",
            "s": "t",
            "name": f"{decoded.provider}/{decoded.event}",
            "cat": decoded.provider,
            "pid": PROCESSORS if alone else process,
            "tid": record.processor if alone else thread,
            "ts": microseconds,
            "args": arguments,
        }


def _names(decoded: Decoded) -> Iterator[dict[str, Any]]:
    """Yield the names that a kernel event gives to a process or a thread."""
    values = decoded.values
    if decoded.how != "kernel":
        return
    if decoded.provider == "Process" and values.get("ImageFileName"):
        yield _name("process_name", values["ProcessId"], None, values["ImageFileName"])
    elif decoded.provider == "Thread" and values.get("ThreadName"):
        thread = values.get("TThreadId", values.get("ThreadId"))
        yield _name("thread_name", values["ProcessId"], thread, values["ThreadName"])
