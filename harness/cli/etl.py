# SPDX-License-Identifier: MIT
"""``harness etl``: reads event trace logs (.etl) of Windows on any system."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.parameters import Json
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections import Counter

    from harness.capture.etl.decoder import Decoded, Decoder
    from harness.capture.etl.record import AnyLogRecord
    from harness.capture.etl.tracelog import TraceLog
    from harness.cli.documents import EtlInfoDocument, EtlStatDocument

LONG = 32 << 20
"""Bytes from which on a log is worth a progress bar."""

MOST_NAMES = 10_000
"""Providers or events that are counted by name; names come from the guest."""

LONGEST_NAME = 200
"""Characters of a name by which it is counted."""

REST = "(all further names)"
"""Under which names beyond MOST_NAMES are counted."""

NOBODY = 0xFFFFFFFF
"""The process and thread id of a kernel event that belongs to none."""

LogPath = Annotated[Path, typer.Argument(metavar="LOG", help="An .etl file.")]
Manifests = Annotated[
    list[Path] | None,
    typer.Option(
        "--manifest", metavar="FILE", help="An instrumentation manifest to decode by; may be repeated."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group ``etl`` to ``app``."""
    etl = typer.Typer(
        help="Read event trace logs (.etl) of Windows.", no_args_is_help=True, rich_markup_mode=None
    )
    etl.command("info")(info)
    etl.command("dump")(dump)
    etl.command("stat")(stat)
    app.add_typer(etl, name="etl")


def info(path: LogPath, manifest: Manifests = None, json: Json = False) -> None:
    """Show the session, its clock, what was lost, and the providers with their counts."""
    from collections import Counter

    from harness.capture.etl import clock
    from harness.capture.etl.tracelog import TraceLog
    from harness.cli.output import say, say_json
    from harness.report.escape import printable

    decoder = _decoder(manifest)
    providers: Counter[str] = Counter()
    with TraceLog(path) as log:
        with _progress(log, "reading") as progress:
            for record in log.records(progress=progress):
                _count(providers, decoder.provider_name(record)[:LONGEST_NAME])
        session, account = log.session, log.account
    reasons = account.reasons()
    if json:
        document: EtlInfoDocument = {
            "session": session,
            "account": account,
            "missing": reasons,
            "providers": providers,
        }
        say_json(document)
        return
    rows = [
        ("session", f"{printable(session.name) or '(not named)'}  {', '.join(session.modes)}"),
        ("written to", printable(session.file_name)),
        ("system", f"{session.version}, build {session.build}, {session.processors} processors"),
        ("start", clock.iso(session.start) if session.start else "not known"),
        ("end", clock.iso(session.end) if session.end else "not known: the log was never closed"),
        (
            "clock",
            f"{session.clock.kind}, {session.clock.hz} ticks a second, start at tick {session.clock.start}",
        ),
        ("buffers", f"{account.buffers} of {session.buffer_size} bytes, {session.buffers_written} written"),
        ("records", str(account.records)),
        ("lost", f"{session.events_lost} events, {session.buffers_lost} buffers"),
    ]
    say(f"{name:<11}{text}" for name, text in rows if text)
    say(f"{'missing':<11}{printable(reason, 400)}" for reason in reasons or ["nothing that can be known"])
    say("")
    say(_counts("records", "provider", [(printable(name), count) for name, count in providers.most_common()]))


def stat(path: LogPath, manifest: Manifests = None, json: Json = False) -> None:
    """Count the events of each provider, and the records of each processor."""
    from collections import Counter

    from harness.capture.etl.tracelog import TraceLog
    from harness.cli.output import say, say_json
    from harness.report.escape import printable

    decoder = _decoder(manifest)
    events: Counter[tuple[str, str]] = Counter()
    processors: Counter[int] = Counter()
    headers: Counter[str] = Counter()
    with TraceLog(path) as log, _progress(log, "counting") as progress:
        for record in log.records(progress=progress):
            one, event = decoder.name(record)
            _count(events, (one[:LONGEST_NAME], event[:LONGEST_NAME]))
            processors[record.processor] += 1
            headers[record.kind] += 1
    if json:
        document: EtlStatDocument = {
            "records": log.account.records,
            "headers": headers,
            "processors": {str(number): processors[number] for number in sorted(processors)},
            "events": [
                {"provider": provider, "event": event, "records": count}
                for (provider, event), count in events.most_common()
            ],
        }
        say_json(document)
        return
    say(_counts("records", "header", headers.most_common()))
    say("")
    say(_counts("records", "processor", [(str(number), processors[number]) for number in sorted(processors)]))
    say("")
    rows = [(f"{printable(one)}/{printable(event)}", count) for (one, event), count in events.most_common()]
    say(_counts("records", "event", rows))


def dump(
    path: LogPath,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="One JSON object on each line, for programs.")
    ] = False,
    provider: Annotated[
        list[str] | None, typer.Option(help="Only this provider, by name or GUID; may be repeated.")
    ] = None,
    since: Annotated[
        str,
        typer.Option(
            metavar="WHEN", help="Seconds after the session's start (12.5), or 2026-11-21T12:00:00Z."
        ),
    ] = "",
    until: Annotated[str, typer.Option(metavar="WHEN", help="Where to stop, in the same forms.")] = "",
    manifest: Manifests = None,
) -> None:
    """Print every record in time order. Equal times on different processors have no order."""
    from harness.capture.etl.tracelog import TraceLog
    from harness.cli.output import complain, flush, json_text, say

    decoder = _decoder(manifest)
    wanted = {one.strip("{}").lower() for one in provider or []}
    with TraceLog(path) as log:
        begin, end = _tick(log, since, "--since"), _tick(log, until, "--until")
        render: Callable[[TraceLog, AnyLogRecord, Decoded], str] = _json_line if jsonl else _line
        with _progress(log, "reading", beside_output=True) as progress:

            def lines() -> Iterator[str]:
                for record in log.records(since=begin, until=end, progress=progress):
                    if wanted and not _is_wanted(record, decoder, wanted):
                        continue
                    line = render(log, record, decoder.decode(record))
                    yield json_text(line) if jsonl else line

            say(lines())
            flush()
        for reason in log.account.reasons():
            complain(f"{path}: {reason}")


def _count(counts: Counter[Any], name: Any) -> None:
    """Count ``name``, or REST when a log has more names than any honest one."""
    if name in counts or len(counts) < MOST_NAMES:
        counts[name] += 1
    else:
        counts[("", REST) if isinstance(name, tuple) else REST] += 1


def _decoder(manifests: list[Path] | None) -> Decoder:
    from harness.capture.etl import manifest
    from harness.capture.etl.decoder import Decoder

    return Decoder([provider for path in manifests or [] for provider in manifest.load(path)])


def _is_wanted(record: AnyLogRecord, decoder: Decoder, wanted: set[str]) -> bool:
    from harness.capture.etl import guid

    return decoder.provider_name(record).lower() in wanted or guid.text(record.provider) in wanted


def _tick(log: TraceLog, written: str, option: str) -> int | None:
    """Return the tick that a user's ``--since`` or ``--until`` means, None when it was not given."""
    from datetime import UTC, datetime
    from decimal import Decimal, InvalidOperation

    if not written:
        return None
    clock = log.session.clock
    try:
        nanoseconds = int(Decimal(written) * 1_000_000_000)
    except (InvalidOperation, ValueError, OverflowError):
        try:
            moment = datetime.fromisoformat(written)
        except ValueError:
            raise UsageError(
                f"{option} {written!r} is no time",
                hint=f"Give seconds after the session's start, {option} 12.5, or {option} 2026-11-21T12:00:00Z.",
            ) from None
        since_1970 = moment.replace(tzinfo=moment.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        from harness.capture.etl.clock import UNIX_EPOCH

        filetime = (
            UNIX_EPOCH + (since_1970.days * 86400 + since_1970.seconds) * 10**7 + since_1970.microseconds * 10
        )
        nanoseconds = (filetime - clock.start_filetime) * 100
    tick = clock.ticks(nanoseconds)
    if tick is None:
        raise UsageError(
            f"{option}: the log does not say how fast its clock runs",
            hint=f"Leave {option} out and choose from the ticks that 'harness etl dump --jsonl' prints.",
        )
    return tick


def _where(log: TraceLog, record: AnyLogRecord) -> str:
    nanoseconds = log.session.clock.nanoseconds(record.time)
    if nanoseconds is None:
        return f"{record.time:>16}t"
    sign = "-" if nanoseconds < 0 else ""
    seconds, rest = divmod(abs(nanoseconds), 1_000_000_000)
    return f"{sign}{seconds}.{rest:09d}".rjust(17)


def _line(log: TraceLog, record: AnyLogRecord, decoded: Decoded) -> str:
    from harness.capture.etl.decoder import show
    from harness.report.escape import printable

    parts = [_where(log, record), f"cpu{record.processor:<3}"]
    # Perfinfo headers name no thread; the kernel writes 0xFFFFFFFF where there is none.
    process, thread = (getattr(record, name, NOBODY) for name in ("process", "thread"))
    parts.append(" " * 13 if process == NOBODY else f"{process:>6}:{thread:<6}")
    parts.append(f"{printable(decoded.provider)}/{printable(decoded.event)}")
    if decoded.message:
        parts.append(printable(decoded.message, 1000))
    elif decoded.how == "raw":
        payload = record.payload
        parts.append(f"{len(payload)} bytes {payload[:64].hex()}{'…' if len(payload) > 64 else ''}")
    else:
        fields = {field.name: field for field in decoded.fields}
        parts += [
            f"{printable(name)}={printable(show(one, fields.get(name)), 1000)}"
            for name, one in decoded.values.items()
        ]
    if decoded.problem:
        parts.append(f"({printable(decoded.problem)})")
    return "  ".join(parts)


def _json_line(log: TraceLog, record: AnyLogRecord, decoded: Decoded) -> str:
    import msgspec

    from harness.capture.etl import guid

    line: dict[str, Any] = {
        "ns": log.session.clock.nanoseconds(record.time),
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
        line["values"] = _plain(decoded.values)
    if decoded.problem:
        line["problem"] = decoded.problem
    if decoded.message:
        line["message"] = decoded.message
    return msgspec.json.encode(line).decode()


def _plain(value: Any) -> Any:
    """Return a value with all bytes in hexadecimal, like raw payloads."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _counts(heading: str, what: str, rows: list[tuple[str, int]]) -> list[str]:
    return [f"{heading:>10}  {what}", *(f"{count:>10}  {name}" for name, count in rows)]


@contextmanager
def _progress(
    log: TraceLog, what: str, *, beside_output: bool = False
) -> Iterator[Callable[[int], None] | None]:
    """Show a bar on standard error while a long log is read, if someone is watching there; never in a pipe."""
    import sys

    if log.account.bytes < LONG or not sys.stderr.isatty() or (beside_output and sys.stdout.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    # Without redirection, or rich would send to standard error what is meant for standard output.
    with Progress(
        console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        task = bar.add_task(what, total=log.account.bytes)
        yield lambda size: bar.advance(task, size)
