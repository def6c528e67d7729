# SPDX-License-Identifier: MIT
"""``harness etl``: reads event trace logs (.etl) of Windows on any system."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.command_tree import command_group
from harness.cli.output import complain, flush, json_text, progress_bar, say, say_json
from harness.cli.parameters import Json
from harness.errors import MissingPart, UsageError
from harness.invocation import invocation
from harness.report.escape import printable

if TYPE_CHECKING:
    from collections import Counter

    from harness.capture.etl.account import LogAccount
    from harness.capture.etl.decoder import Decoded, Decoder
    from harness.capture.etl.fast.library import Library
    from harness.capture.etl.record import AnyLogRecord
    from harness.capture.etl.selection import Selection
    from harness.capture.etl.session import TraceSession
    from harness.capture.etl.tracelog import TraceLog
    from harness.cli.documents import EtlInfoDocument, EtlStatDocument

LONG = 32 << 20
"""Minimum bytes of a log for a progress bar."""

MOST_NAMES = 10_000
"""Maximum number of providers or events that are counted by name; names come from the guest."""

LONGEST_NAME = 200
"""Maximum characters of a counted name."""

REST = "(all further names)"
"""The name for all names beyond MOST_NAMES."""

LogPath = Annotated[Path, typer.Argument(metavar="LOG", help="An .etl file.")]
Manifests = Annotated[
    list[Path] | None,
    typer.Option(
        "--manifest", metavar="FILE", help="An instrumentation manifest for decoding; may be repeated."
    ),
]

FormatFolders = Annotated[
    list[Path] | None,
    typer.Option(
        "--tmf", metavar="DIR", help="A directory of .tmf files for decoding WPP messages; may be repeated."
    ),
]


def info(path: LogPath, manifest: Manifests = None, tmf: FormatFolders = None, json: Json = False) -> None:
    """Show the session, its clock, the losses, the providers with their counts, and which events stay raw and why."""
    from collections import Counter

    from harness.capture.etl import clock
    from harness.cli.etl_fast import summarize

    decoder = _decoder(manifest, tmf)
    providers: Counter[str] = Counter()
    decoded: Counter[str] = Counter()
    raw: Counter[str] = Counter()
    names = _Names()
    with _open(path) as (log, fast):
        with _progress(log, "reading", passes=2) as progress:
            decoder.learn(log, progress)
            summary = summarize(
                fast,
                log,
                decoder,
                lambda record: (*names.bounded(decoder.provider_name(record)), *decoder.source(record)),
                progress,
            )
        session, account = log.session, log.account
    for (provider, how, reason), count in summary.counts.items():
        providers[provider] += count
        decoded[how] += count
        if reason:
            raw[reason] += count
    reasons = account.reasons()
    if json:
        document: EtlInfoDocument = {
            "session": session,
            "account": account,
            "missing": reasons,
            "providers": providers,
            "decoded": decoded,
            "raw": raw,
            "symbols": decoder.symbols,
        }
        say_json(document)
        return
    rows = [
        ("session", f"{printable(session.name) or '(not named)'}  {', '.join(session.modes)}"),
        ("written to", printable(session.file_name)),
        ("system", f"{session.version}, build {session.build}, {session.processors} processors"),
        ("start", clock.iso(session.start) if session.start else "not known"),
        ("end", clock.iso(session.end) if session.end else _no_end(account)),
        (
            "clock",
            f"{session.clock.kind}, {session.clock.hz} ticks a second, start at tick {session.clock.start}",
        ),
        ("buffers", _buffers(session, account)),
        ("records", str(account.records)),
        (
            "lost",
            "not known"
            if account.headless
            else f"{session.events_lost} events, {session.buffers_lost} buffers",
        ),
    ]
    say(f"{name:<11}{text}" for name, text in rows if text)
    say(f"{'missing':<11}{printable(reason, 400)}" for reason in reasons or ["nothing that can be known"])
    say(f"{'symbols':<11}{printable(identity, 400)}" for identity in decoder.symbols)
    say(f"{'formats':<11}{reason}" for reason in _formatless(decoder))
    say("")
    say(_counts("records", "provider", [(printable(name), count) for name, count in providers.most_common()]))
    say("")
    say(_counts("records", "decoded by", decoded.most_common()))
    if raw:
        say("")
        say(_counts("records", "raw because", raw.most_common()))


def _no_end(account: LogAccount) -> str:
    return "not known" if account.headless else "not known: the log was never closed"


def _buffers(session: TraceSession, account: LogAccount) -> str:
    if account.headless:
        return str(account.buffers)
    compressed = f", {account.compressed} of them compressed" if account.compressed else ""
    return f"{account.buffers} of {session.buffer_size} bytes{compressed}, {session.buffers_written} written"


def stat(path: LogPath, manifest: Manifests = None, tmf: FormatFolders = None, json: Json = False) -> None:
    """Count the events of each provider, and the records of each processor."""

    from harness.cli.etl_fast import summarize

    decoder = _decoder(manifest, tmf)
    names = _Names()
    with _open(path) as (log, fast), _progress(log, "counting", passes=2) as progress:
        decoder.learn(log, progress)
        summary = summarize(fast, log, decoder, lambda record: names.bounded(*decoder.name(record)), progress)
    events, processors, headers = summary.counts, summary.processors, summary.kinds
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
    else:
        say(_counts("records", "header", headers.most_common()))
        say("")
        say(
            _counts(
                "records", "processor", [(str(number), processors[number]) for number in sorted(processors)]
            )
        )
        say("")
        rows = [
            (f"{printable(one)}/{printable(event)}", count) for (one, event), count in events.most_common()
        ]
        say(_counts("records", "event", rows))
    for reason in log.account.reasons():
        complain(f"{path}: {reason}")


Providers = Annotated[
    list[str] | None,
    typer.Option(
        "--provider", metavar="NAME|GUID", help="Only this provider, by name or GUID; may be repeated."
    ),
]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", metavar="NAME|N", help="Only this event, by name or number; may be repeated."),
]
Processes = Annotated[
    list[int] | None, typer.Option("--process", metavar="PID", help="Only of this process; may be repeated.")
]
Threads = Annotated[
    list[int] | None, typer.Option("--thread", metavar="TID", help="Only of this thread; may be repeated.")
]
Processors = Annotated[
    list[int] | None,
    typer.Option("--processor", metavar="N", help="Only of this processor; may be repeated."),
]
Since = Annotated[
    str,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="Seconds after the session's start (12.5), or 2026-11-21T12:00:00Z.",
    ),
]
Until = Annotated[str, typer.Option("--until", metavar="WHEN", help="Where to stop, in the same forms.")]
Local = Annotated[bool, typer.Option("--local", help="Dates in this machine's time zone instead of UTC.")]


def dump(
    path: LogPath,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="One JSON object on each line, for programs.")
    ] = False,
    provider: Providers = None,
    event: Events = None,
    process: Processes = None,
    thread: Threads = None,
    processor: Processors = None,
    since: Since = "",
    until: Until = "",
    local: Local = False,
    manifest: Manifests = None,
    tmf: FormatFolders = None,
) -> None:
    """Print every record in time order. Equal times on different processors have no order."""
    from harness.cli.etl_fast import text_lines
    from harness.cli.etl_lines import json_line

    decoder = _decoder(manifest, tmf)
    selection = _selection(provider, event, process, thread, processor)
    with _open(path) as (log, fast):
        begin, end = _tick(log, since, "--since"), _tick(log, until, "--until")
        with _progress(log, "reading", beside_output=True, passes=2) as progress:
            decoder.learn(log, progress)

            def json_lines() -> Iterator[str]:
                for record in log.records(since=begin, until=end, progress=progress):
                    if selection.wants(record, decoder):
                        yield json_text(json_line(log, record, decoder.decode(record), local=local))

            if jsonl:
                say(json_lines())
            else:
                say(
                    text_lines(
                        fast, log, decoder, selection, since=begin, until=end, local=local, progress=progress
                    )
                )
            flush()
        for reason in [*_remarks(decoder), *log.account.reasons()]:
            complain(f"{path}: {reason}")


def export(
    path: LogPath,
    perfetto: Annotated[
        bool,
        typer.Option("--perfetto", help="Trace Event JSON, as ui.perfetto.dev and chrome://tracing read it."),
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values with a line of names.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write to this new file instead of standard output."
        ),
    ] = None,
    provider: Providers = None,
    event: Events = None,
    process: Processes = None,
    thread: Threads = None,
    processor: Processors = None,
    since: Since = "",
    until: Until = "",
    local: Local = False,
    manifest: Manifests = None,
    tmf: FormatFolders = None,
) -> None:
    """Convert a log for other tools, in time order."""
    from harness.cli.etl_export import csv_lines, perfetto_lines, write

    if perfetto == csv:
        raise UsageError(
            "harness etl export writes one format at a time", hint="Give either --perfetto or --csv."
        )
    decoder = _decoder(manifest, tmf)
    selection = _selection(provider, event, process, thread, processor)
    with _open(path) as (log, _fast):
        if perfetto and not log.session.clock.hz:
            raise UsageError(
                f"{path}: the log does not say how fast its clock runs, so no time line can be made of it",
                hint="Use --csv, which keeps the ticks.",
            )
        begin, end = _tick(log, since, "--since"), _tick(log, until, "--until")
        with _progress(log, "converting", beside_output=output is None, passes=2) as progress:
            decoder.learn(log, progress)

            def decoded() -> Iterator[tuple[AnyLogRecord, Decoded]]:
                for record in log.records(since=begin, until=end, progress=progress):
                    if selection.wants(record, decoder):
                        yield record, decoder.decode(record)

            made = perfetto_lines(log, decoded()) if perfetto else csv_lines(log, decoded(), local=local)
            write(made, output)
        for reason in [*_remarks(decoder), *log.account.reasons()]:
            complain(f"{path}: {reason}")


@contextmanager
def _open(path: Path) -> Iterator[tuple[TraceLog, Library | None]]:
    """Open a log, with the compiled reader if there is one."""
    from harness.capture.etl.compression import expand
    from harness.capture.etl.tracelog import TraceLog
    from harness.cli.etl_fast import library

    fast = library(path)
    with TraceLog(path, fast.expand if fast is not None else expand) as log:
        yield log, fast


def _selection(
    provider: Providers, event: Events, process: Processes, thread: Threads, processor: Processors
) -> Selection:
    """Return the record filter of the command line."""
    from harness.capture.etl.selection import Selection

    return Selection(
        providers=provider or [],
        events=event or [],
        processes=process or [],
        threads=thread or [],
        processors=processor or [],
    )


def _formatless(decoder: Decoder) -> list[str]:
    """Return the missing trace message format files, with the number of raw messages for each."""
    from harness.capture.etl import guid

    return [
        f"{count} WPP messages stay raw without {guid.text(message_guid)}.tmf"
        for message_guid, count in decoder.formatless.items()
        if message_guid != guid.NIL
    ]


def _remarks(decoder: Decoder) -> list[str]:
    """Return notes on raw messages: the missing files, and the symbols from which they can be made."""
    missing = _formatless(decoder)
    symbols = [printable(identity, 400) for identity in decoder.symbols] if missing else []
    return missing + [f"tracepdb makes .tmf files from the symbols {identity}" for identity in symbols]


class _Names:
    """The names by which a log's records are counted; names beyond the limit, which no honest guest reaches, become REST."""

    def __init__(self) -> None:
        self._known: set[tuple[str, ...]] = set()

    def bounded(self, *parts: str) -> tuple[str, ...]:
        """Return the parts of a name, cut to LONGEST_NAME, or REST."""
        name = tuple(part[:LONGEST_NAME] for part in parts)
        if name not in self._known:
            if len(self._known) >= MOST_NAMES:
                return (*("" for _ in parts[1:]), REST)
            self._known.add(name)
        return name


def _own_manifest() -> Path | None:
    """Return the manifest of the harness's own driver, None if the harness was installed without it."""
    from harness.driver.source import driver_folder

    try:
        path = driver_folder() / "src" / "hpnotify.man"
    except MissingPart:
        return None
    return path if path.is_file() else None


def _decoder(manifests: list[Path] | None, formats: list[Path] | None) -> Decoder:
    from harness.capture.etl import manifest
    from harness.capture.etl.decoder import Decoder
    from harness.capture.etl.tmf import FormatFiles

    providers = [provider for path in manifests or [] for provider in manifest.load(path)]
    own = _own_manifest()
    if own is not None:
        # The harness's driver is known by default; a given manifest has priority.
        known = {provider.guid for provider in providers}
        providers += [provider for provider in manifest.load(own) if provider.guid not in known]
    return Decoder(providers, formats=FormatFiles(formats or []))


def _tick(log: TraceLog, written: str, option: str) -> int | None:
    """Return the tick of a user's ``--since`` or ``--until``, None if it was not given."""
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
                f"{option} {written!r} is not a time",
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
            hint=f"Leave {option} out and choose from the ticks that this prints: {invocation('etl', 'dump', '--jsonl', 'FILE')}",
        )
    return tick


def _counts(heading: str, what: str, rows: list[tuple[str, int]]) -> list[str]:
    return [f"{heading:>10}  {what}", *(f"{count:>10}  {name}" for name, count in rows)]


@contextmanager
def _progress(
    log: TraceLog, what: str, *, beside_output: bool = False, passes: int = 1
) -> Iterator[Callable[[int], None] | None]:
    """Show a progress bar on standard error while a long log is read, if that is a terminal; never in a pipe."""
    if log.account.bytes < LONG or not sys.stderr.isatty() or (beside_output and sys.stdout.isatty()):
        yield None
        return
    with progress_bar() as bar:
        task = bar.add_task(what, total=passes * log.account.bytes)
        yield lambda size: bar.advance(task, size)


group = command_group(
    "Read event trace logs (.etl) of Windows.", info=info, dump=dump, stat=stat, export=export
)
