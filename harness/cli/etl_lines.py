# SPDX-License-Identifier: MIT
"""One line for each record of an event trace log, as text or JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from harness.capture.etl import clock, context, guid
from harness.capture.etl.context import EventContext
from harness.capture.etl.decoder import Decoded
from harness.capture.etl.display import show
from harness.capture.etl.record import AnyLogRecord
from harness.capture.etl.tracelog import TraceLog
from harness.report.escape import LONGEST, printable

NOBODY = 0xFFFFFFFF
"""The process and thread id of a kernel event without a process or thread."""

MOST_FRAMES = 64
"""Maximum number of stack frames in a line."""


@lru_cache(maxsize=16)
def second(seconds: int, local: bool) -> tuple[str, str]:
    """Return a second since 1601 as ISO 8601, and its zone; "" if it is beyond the calendar."""
    try:
        moment = datetime.fromtimestamp(seconds - clock.UNIX_EPOCH // clock.FILETIME_HZ, UTC)
        if not local:
            return f"{moment:%Y-%m-%dT%H:%M:%S}", "Z"
        here = moment.astimezone()
    except (ValueError, OverflowError, OSError):
        return "", ""
    zone = f"{here:%z}"
    return f"{here:%Y-%m-%dT%H:%M:%S}", f"{zone[:3]}:{zone[3:5]}"


def wall_clock(log: TraceLog, ticks: int, *, local: bool) -> str:
    """Return a tick as date and time, in UTC or the reader's time zone, to 100 ns; "" if the log does not give it."""
    filetime = log.session.clock.filetime(ticks)
    if filetime is None:
        return ""
    seconds, fraction = divmod(filetime, 10_000_000)
    written, zone = second(seconds, local)
    return f"{written}.{fraction:07d}{zone}" if written else ""


def _where(log: TraceLog, record: AnyLogRecord) -> str:
    nanoseconds = log.session.clock.nanoseconds(record.time)
    if nanoseconds is None:
        return f"{record.time:>16}t"
    sign = "-" if nanoseconds < 0 else ""
    seconds, rest = divmod(abs(nanoseconds), 1_000_000_000)
    return f"{sign}{seconds}.{rest:09d}".rjust(17)


def line(log: TraceLog, record: AnyLogRecord, decoded: Decoded, *, local: bool = False) -> str:
    """Return a record as one line of text, escaped for a terminal."""
    parts = [_where(log, record)]
    wall = wall_clock(log, record.time, local=local)
    if wall:
        parts.append(wall)
    parts.append(f"cpu{record.processor:<3}")
    # Perfinfo headers have no thread; the kernel writes 0xFFFFFFFF for none.
    process, thread = (getattr(record, name, NOBODY) for name in ("process", "thread"))
    parts.append(" " * 13 if process == NOBODY else f"{process:>6}:{thread:<6}")
    parts.append(f"{printable(decoded.provider, LONGEST)}/{printable(decoded.event, LONGEST)}")
    if decoded.message:
        parts.append(printable(decoded.message, 1000))
    elif decoded.how == "raw":
        payload = record.payload
        parts.append(f"{len(payload)} bytes {payload[:64].hex()}{'…' if len(payload) > 64 else ''}")
    else:
        fields = {field.name: field for field in decoded.fields}
        parts += [
            f"{printable(name, LONGEST)}={printable(show(one, fields.get(name)), 1000)}"
            for name, one in decoded.values.items()
        ]
    if decoded.problem:
        parts.append(f"({printable(decoded.problem, LONGEST)})")
    around = context.of(record)
    if around is not context.NOTHING:
        parts.append(_around(around))
    return "  ".join(parts)


def _around(around: EventContext) -> str:
    """Return the context of an event in brackets."""
    numbers = (
        ("session", around.session),
        ("instance", around.instance),
        ("parent instance", around.parent_instance),
        ("process start key", around.process_start_key),
        ("stack key", around.stack_key),
    )
    named = (
        ("activity", around.activity),
        ("related", around.related_activity),
        ("user", around.user),
        ("container", around.container),
    )
    parts = [f"{name} {value}" for name, value in named if value]
    parts += [f"{name} {value}" for name, value in numbers if value is not None]
    if around.stack:
        frames = [f"0x{frame:x}" for frame in around.stack[:MOST_FRAMES]]
        rest = len(around.stack) - len(frames)
        parts.append("stack " + " ".join(frames) + (f" …(+{rest})" if rest else ""))
    return f"[{'; '.join(parts)}]"


def json_line(log: TraceLog, record: AnyLogRecord, decoded: Decoded, *, local: bool = False) -> str:
    """Return a record as one JSON object."""
    line: dict[str, Any] = {
        "ns": log.session.clock.nanoseconds(record.time),
        "time": wall_clock(log, record.time, local=local) or None,
        "ticks": record.time,
        "cpu": record.processor,
        "header": record.kind,
        "provider": decoded.provider,
        "guid": guid.text(record.provider),
        "event": decoded.event,
        "how": decoded.how,
    }
    for name in ("process", "thread", "id", "version", "opcode", "level", "task", "keyword"):
        if hasattr(record, name):
            line[name] = getattr(record, name)
    if decoded.how == "raw":
        line["payload"] = record.payload.hex()
    else:
        line["values"] = plain(decoded.values)
    if decoded.problem:
        line["problem"] = decoded.problem
    if decoded.message:
        line["message"] = decoded.message
    if decoded.reason:
        line["reason"] = decoded.reason
    around = context.of(record)
    if around is not context.NOTHING:
        line |= msgspec.to_builtins(around)
    return msgspec.json.encode(line).decode()


def plain(value: Any) -> Any:
    """Return a value with all bytes in hexadecimal, like raw payloads."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value
