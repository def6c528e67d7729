# SPDX-License-Identifier: MIT
"""A run as the lines that its guest wrote: a history in which each driver record stands as the line that brought it.

:meth:`WiredRun.received` puts lines, changed or not, through the decoder that reads them live. Records of the host keep their
places among them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import msgspec

from harness.capture.live.debugcon import DebugPortDecoder, decode_line
from harness.capture.live.event_lines import EventLines
from harness.capture.live.follower import CHUNK
from harness.capture.mapping.driver_map import kept_in
from harness.capture.mapping.driver_map import load as load_map
from harness.contract.checker import judge
from harness.contract.verdict import RunVerdict
from harness.history.driver import DriverRecord, Hello
from harness.history.reader import History
from harness.history.record import Boot, Channel, Clock, Mapped, Record
from tests.capture.lines import encode_line


@dataclass(frozen=True)
class Line:
    """Bytes that the guest wrote at once, and when the host read them."""

    data: bytes
    host_ns: int


Stream = list[Record | Line]

once_decoded = lru_cache(maxsize=1 << 14)(decode_line)
"""Decodes a line. Most lines of a damaged run are those of the whole one."""


class RememberingDecoder(DebugPortDecoder):
    """A decoder that decodes equal lines once."""

    def decode(self, line: bytes) -> DriverRecord:
        """Return the record of one line. Raises BadLine."""
        return once_decoded(line, channel=self.channel)


class WiredRun:
    """A run whose driver records are lines. ``decoder`` makes a fresh reader of its channel."""

    def __init__(self, name: str, stream: Stream, decoder: Callable[[], DebugPortDecoder]) -> None:
        self.name = name
        self.stream = stream
        self.decoder = decoder

    @cached_property
    def whole(self) -> list[Record]:
        """The history that the undamaged lines make."""
        return self.received()

    @cached_property
    def verdict(self) -> RunVerdict:
        """The verdict on the whole history."""
        return judge(self.whole)

    @cached_property
    def numbers(self) -> dict[tuple[str, str], list[int]]:
        """The numbers of each boot and driver in the whole history."""
        return numbers_of(self.whole)

    def places(self) -> list[int]:
        """Return where the lines are."""
        return [place for place, item in enumerate(self.stream) if isinstance(item, Line)]

    def received(self, stream: Stream | None = None, *, account: bool = True) -> list[Record]:
        """Return the history that the lines make: numbered, with the decoder's own account in its place if ``account``."""
        decoder = self.decoder()
        found: list[Record] = []
        clocks: set[str] = set()

        def put(record: Record, host_ns: int) -> None:
            found.append(msgspec.structs.replace(record, n=len(found) + 1, host_ns=host_ns))

        for item in self.stream if stream is None else stream:
            if isinstance(item, Line):
                for at in range(0, len(item.data), CHUNK):
                    for record in decoder.feed(item.data[at : at + CHUNK]):
                        put(record, item.host_ns)
                        if isinstance(record, Hello) and record.boot not in clocks:
                            clocks.add(record.boot)
                            put(Clock(domain=f"qpc/{record.boot}", hz=record.hz), item.host_ns)
            elif not isinstance(item, Channel):
                put(item, item.host_ns)
            elif account:
                decoder.finish()
                put(decoder.account(closed=True), item.host_ns)
        return found


def wired(name: str, history: Sequence[Record], directory: Path) -> WiredRun:
    """Return a run as the lines that brought its driver records. Raises ValueError if it has not exactly one channel."""
    channels = {record.channel for record in history if isinstance(record, DriverRecord)}
    accounts = [record.name for record in history if isinstance(record, Channel)]
    if len(channels) != 1 or accounts != [*channels]:
        raise ValueError(f"{name} has the channels {sorted(channels)} and the accounts {accounts}")
    (channel,) = channels
    described = kept_in(directory)
    if described is None:
        return WiredRun(name, list(_own_lines(history)), lambda: RememberingDecoder(channel=channel))
    mapped = load_map(described)
    resumed = any(isinstance(record, Boot) and record.cause == "restored" for record in history)

    def decoder() -> EventLines:
        return EventLines(mapped, resumed=resumed)

    lines = (directory / "debugcon.log").read_bytes().splitlines(keepends=True)
    return WiredRun(name, list(_event_lines(history, lines, decoder())), decoder)


def wired_directory(name: str, directory: Path) -> WiredRun:
    """Return the run in a directory. Raises ValueError if its history is not whole or has not exactly one channel."""
    history = History(directory)
    records = list(history)
    if history.damage:
        raise ValueError(f"{name} is damaged: {history.damage}")
    return wired(name, records, directory)


def _of_host(history: Sequence[Record]) -> Iterator[Record]:
    """Yield what no line makes when it is read: clocks of the guest and maps come with the lines."""
    for record in history:
        made = isinstance(record, Mapped) or (isinstance(record, Clock) and record.domain.startswith("qpc/"))
        if not made:
            yield record


def _own_lines(history: Sequence[Record]) -> Iterator[Record | Line]:
    for record in _of_host(history):
        yield Line(encode_line(record), record.host_ns) if isinstance(record, DriverRecord) else record


def _event_lines(
    history: Sequence[Record], lines: Sequence[bytes], decoder: EventLines
) -> Iterator[Record | Line]:
    """Put each line of trace events where the first of the records stands that it makes."""
    waiting = iter(lines)
    owed = 0
    for record in _of_host(history):
        if not isinstance(record, DriverRecord):
            yield record
            continue
        while not owed:
            line = next(waiting)
            owed = sum(isinstance(made, DriverRecord) for made in decoder.feed(line))
            if owed:
                yield Line(line, record.host_ns)
        owed -= 1


def numbers_of(records: Sequence[Record]) -> dict[tuple[str, str], list[int]]:
    """Return the numbers of each boot and driver, in the order of their records."""
    numbers: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for record in records:
        if isinstance(record, DriverRecord):
            numbers[record.boot, record.driver].append(record.seq)
    return numbers
