# SPDX-License-Identifier: MIT
"""Channels that were kept in files, read to their ends: what a guest hands over when a run is over.

Each reader accepts any content of the file without failing, and returns the records with the channel's own
account. :mod:`harness.capture.offline.alignment` inserts them in a history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from harness.capture.dbgprint.reader import PortLog
from harness.capture.etl import debug_print
from harness.capture.etl.driver import DriverEvents
from harness.capture.etl.manifest import Provider
from harness.capture.etl.tracelog import TraceLog
from harness.capture.live.debugcon import DebugPortDecoder
from harness.capture.mapping.driver_map import DriverMap
from harness.capture.mapping.mapper import mapper_of
from harness.capture.offline.ring import Ring
from harness.errors import UsageError, system_errors
from harness.history.driver import DriverRecord
from harness.history.record import Channel, Record

PIECE = 1 << 20

MOST_RECORDS = 2_000_000
"""Records taken from one file. They are held in memory, some hundred bytes each; a driver writes a few per attempt."""


class TimedRecord(msgspec.Struct, frozen=True):
    """A record, and the host's clock when it had arrived, or 0 if that was not noted."""

    record: Record
    ns: int = 0


class RecordedChannel(msgspec.Struct, kw_only=True):
    """One channel, read to its end. ``missing`` says why an absence in it proves nothing."""

    file: Path
    arrived: list[TimedRecord]
    account: Channel
    missing: list[str] = []


def read(channel: str, file: Path, provider: Provider | DriverMap | None = None) -> RecordedChannel:
    """Read the file of a channel. ``provider`` decodes ``etw``; it is a map for a driver with its own events.

    Raises UsageError if it cannot be read, is not a log, or holds more than :data:`MOST_RECORDS`.
    """
    if not file.is_file():
        raise UsageError(f"{file} is not a file", hint=f"Give the recording of the channel {channel}.")
    with system_errors(str(file), kind=UsageError):
        if channel == "etw":
            if provider is None:
                raise UsageError(f"{file} cannot be decoded without the driver's manifest")
            return _mapped(file, provider) if isinstance(provider, DriverMap) else _events(file, provider)
        if channel == debug_print.CHANNEL:
            return _printed(file)
        return _dbgprint(file) if channel == "dbgprint" else _lines(channel, file)


def _bounded(file: Path, found: Iterator[TimedRecord]) -> list[TimedRecord]:
    taken: list[TimedRecord] = []
    for one in found:
        if len(taken) >= MOST_RECORDS:
            raise UsageError(
                f"{file} holds more than {MOST_RECORDS} records", hint="Record a shorter run, or split it."
            )
        taken.append(one)
    return taken


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while data := stream.read(PIECE):
            yield data


def _lines(channel: str, file: Path) -> RecordedChannel:
    port = Ring() if channel == "ring" else DebugPortDecoder(channel=channel)
    found = _bounded(file, (TimedRecord(record) for data in _pieces(file) for record in port.feed(data)))
    port.finish()
    return _channel(file, found, port.account(closed=True))


def _dbgprint(file: Path) -> RecordedChannel:
    log = PortLog()
    found = _bounded(
        file, (TimedRecord(record, ns) for data in _pieces(file) for ns, record in log.feed(data))
    )
    log.finish()
    # The reader writes its account last. Without it the reader was killed, and later output is not in the file.
    read_through = log.account_of_reader is not None
    kept = _channel(file, found, log.account(closed=read_through))
    if not read_through:
        kept.missing.append("the reader of the debugger's port never wrote its account")
    return kept


def _events(file: Path, provider: Provider) -> RecordedChannel:
    with TraceLog(file) as log:
        events = DriverEvents(provider)
        found = _bounded(file, (TimedRecord(record) for record in events.records(log)))
        return _channel(file, found, events.channel(), events.reasons)


def _printed(file: Path) -> RecordedChannel:
    """Read what drivers printed, as the kernel's own session logged it."""
    with TraceLog(file) as log:
        port = DebugPortDecoder(channel=debug_print.CHANNEL)
        found = _bounded(
            file, (TimedRecord(record) for text in debug_print.prints(log) for record in port.feed(text))
        )
        port.finish()
        reasons = log.account.reasons()
        lost = log.account.events_lost
        account = port.account(closed=not reasons)
        account = msgspec.structs.replace(account, lost=max(account.lost, lost))
        return _channel(file, found, account, reasons)


def _mapped(file: Path, described_by: DriverMap) -> RecordedChannel:
    """Read a driver's own events. A log has no number for each, so only its own account shows what is missing."""
    with TraceLog(file) as log:
        mapper = mapper_of(log, described_by)
        found = _bounded(file, (TimedRecord(record) for record in mapper.read(log)))
        reasons = log.account.reasons()
        return _channel(file, found, mapper.account(closed=not reasons), [*reasons, *mapper.reasons])


def _channel(
    file: Path, found: list[TimedRecord], account: Channel, reasons: Sequence[str] = ()
) -> RecordedChannel:
    """Return a channel that lacks something for the ``reasons``, and for what its account counts."""
    damage = {
        "numbers are missing between its records": account.lost,
        "lines are torn": account.torn,
        "records are corrupt": account.corrupt,
        "lines are too long": account.oversized,
        "records are of an earlier boot": account.stale,
    }
    missing = [*reasons, *(f"{count} {what}" for what, count in damage.items() if count)]
    return RecordedChannel(file=file, arrived=found, account=account, missing=missing)


def driver_records(channels: list[RecordedChannel]) -> Iterator[DriverRecord]:
    """Yield the driver's records of all channels."""
    for channel in channels:
        for one in channel.arrived:
            if isinstance(one.record, DriverRecord):
                yield one.record
