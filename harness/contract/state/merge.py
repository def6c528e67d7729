# SPDX-License-Identifier: MIT
"""Puts the copies of a driver record that several channels brought back into one stream, in the driver's order.

A driver numbers its records under one lock, so (boot nonce, driver, seq) names a record whichever channel carried it.
While no number is missing, records pass straight through. When one is missing, everything is held back (at most
:data:`PATIENCE` records) because another channel may still bring it; what arrives is put in front of its successor.
If it never comes, a :class:`Gap` takes its place, so that the rules know what they cannot know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harness.history.driver import DriverRecord, Hello
from harness.history.record import Boot, Record

PATIENCE = 16384
"""Records held back at most while a missing one may still come from another channel."""

FIRST = 1
"""Number of a driver's first record in a boot."""

MOST_STREAMS = 64
"""Driver loads followed at once in one boot; a guest that invents more is not believed."""


class Gap(Record, frozen=True, kw_only=True, tag="checker.gap"):
    """No channel brought the records ``first`` to ``last`` of a driver. Made by the checker, never recorded."""

    boot: str
    driver: str
    first: int
    last: int


class Repeat(Record, frozen=True, kw_only=True, tag="checker.repeat"):
    """One channel brought the number ``seq`` of a driver twice, or too late to be put in its place."""

    boot: str
    driver: str
    seq: int
    channel: str
    late: bool = False


class Stale(Record, frozen=True, kw_only=True, tag="checker.stale"):
    """A driver record that has no place: ``why`` says whether it is of an earlier boot or of one driver too many."""

    boot: str
    driver: str
    seq: int
    why: str


@dataclass(slots=True)
class _Stream:
    next: int
    top: int = -1
    highest: dict[str, int] = field(default_factory=dict)
    hello: int = -1
    pending: dict[int, DriverRecord] = field(default_factory=dict)
    missing: list[tuple[int, int]] = field(default_factory=list)


class Merger:
    """One pass over the records of a history. ``held`` is empty whenever nothing is missing."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._ended: set[str] = set()
        self._held: list[Record] = []
        self._missing = 0
        self._restored = False

    def take(self, record: Record) -> Iterable[Record]:
        """Return what can be passed on after ``record``: host records as they are, each driver record once, with gaps marked.

        Iterate it to its end before the next record is taken.
        """
        if isinstance(record, DriverRecord):
            stream = self._streams.get((record.boot, record.driver))
            if (
                stream is not None
                and record.seq == stream.next
                and not self._held
                and type(record) is not Hello
            ):
                stream.next += 1
                stream.highest[record.channel] = record.seq
                return (record,)
            return self._slow(record, stream)
        if isinstance(record, Boot):
            return self._boot(record)
        if not self._held:
            return (record,)
        self._held.append(record)
        return self.end() if len(self._held) > PATIENCE else ()

    def end(self) -> Iterator[Record]:
        """Pass on what is held: what is missing does not come any more."""
        if self._held:
            yield from self._flush()

    def _boot(self, boot: Boot) -> Iterator[Record]:
        yield from self.end()
        self._restored = boot.cause == "restored"
        if not self._restored:
            self._ended.update(nonce for nonce, _ in self._streams)
        self._streams.clear()
        yield boot

    def _slow(self, record: DriverRecord, stream: _Stream | None) -> Iterator[Record]:
        key = (record.boot, record.driver)
        if record.boot in self._ended or (stream is None and len(self._streams) >= MOST_STREAMS):
            yield Stale(
                n=record.n, host_ns=record.host_ns, boot=record.boot, driver=record.driver, seq=record.seq,
                why="it is of an earlier boot" if record.boot in self._ended else "too many drivers report",
            )  # fmt: skip
            return
        if stream is None:
            # Numbers begin at 1 in every boot; only a restored guest goes on from where its snapshot was taken.
            fresh = isinstance(record, Hello) or self._restored or record.seq < FIRST
            stream = self._streams[key] = _Stream(next=record.seq if fresh else FIRST)
        elif self._began_anew(record, stream):
            yield from self.end()
            stream = self._streams[key] = _Stream(next=record.seq)
        if isinstance(record, Hello):
            stream.hello = record.qpc
        seen_on_channel = stream.highest.get(record.channel, -1)
        known = record.seq < stream.next or record.seq in stream.pending
        if known:
            gone = any(first <= record.seq <= last for first, last in stream.missing)
            if gone or record.seq <= seen_on_channel:
                yield Repeat(
                    n=record.n, host_ns=record.host_ns, boot=record.boot, driver=record.driver,
                    seq=record.seq, channel=record.channel, late=gone,
                )  # fmt: skip
            else:
                stream.highest[record.channel] = record.seq
            return
        if record.seq > seen_on_channel:
            stream.highest[record.channel] = record.seq
        if not self._held and record.seq == stream.next:
            stream.next += 1
            yield record
            return
        if record.seq > stream.top:
            self._missing += record.seq - max(stream.top + 1, stream.next)
            stream.top = record.seq
        else:
            self._missing -= 1
        stream.pending[record.seq] = record
        self._held.append(record)
        if not self._missing:
            yield from self._flush()
        elif len(self._held) > PATIENCE:
            yield from self.end()

    @staticmethod
    def _began_anew(record: DriverRecord, stream: _Stream) -> bool:
        """True for the hello of a later load that counts from the beginning again; ``hpnotify`` counts on."""
        return (
            isinstance(record, Hello)
            and record.seq < stream.next
            and record.seq <= stream.highest.get(record.channel, -1)
            and record.qpc > stream.hello >= 0
        )

    def _flush(self) -> Iterator[Record]:
        """Pass on what is held: each driver record, preceded by those of its driver with a lower number."""
        order = {key: iter(sorted(stream.pending.items())) for key, stream in self._streams.items()}
        for record in self._held:
            if not isinstance(record, DriverRecord):
                yield record
                continue
            stream = self._streams[record.boot, record.driver]
            if record.seq < stream.next:
                continue
            for seq, held in order[record.boot, record.driver]:
                if seq > stream.next:
                    yield Gap(
                        n=held.n, host_ns=held.host_ns, boot=held.boot, driver=held.driver,
                        first=stream.next, last=seq - 1,
                    )  # fmt: skip
                    stream.missing.append((stream.next, seq - 1))
                    del stream.missing[:-64]
                stream.next = seq + 1
                yield held
                if seq >= record.seq:
                    break
        self._held.clear()
        self._missing = 0
        for stream in self._streams.values():
            stream.pending.clear()
