# SPDX-License-Identifier: MIT
"""Puts the copies of a driver record that several channels brought back into one stream, in the driver's order.

A driver numbers its records under one lock, so (boot nonce, driver, seq) identifies a record on every channel.
While no number is missing, records pass straight through. When one is missing, everything is held back (at most
:data:`PATIENCE` records) because another channel may still bring it; what arrives is put in front of its successor.
If it never comes, a :class:`Gap` takes its place, so that the rules know what is unknown.

A record that is not passed on is replaced by one of the checker's own: a number that came twice, copies that differ, a
record without a place, an unrecorded boot. What each channel carried is passed on before its account and at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Self, get_args

from harness.history.driver import AnyDriverRecord, DriverRecord, Hello
from harness.history.record import (
    Boot,
    Channel,
    Console,
    End,
    GuestEvent,
    HostRecord,
    Mapped,
    Ost,
    Qmp,
    Quiesced,
    Record,
)

PATIENCE = 16384
"""Records held back at most while a missing one may still come from another channel."""

FIRST = 1
"""Number of a driver's first record in a boot."""

MOST_STREAMS = 64
"""Driver loads followed at once in one boot; further ones that a guest invents are not believed."""


class _OfDriver(Record, frozen=True, kw_only=True):
    """Stands in the place of a driver record, or in front of it."""

    boot: str
    driver: str

    @classmethod
    def of(cls, record: DriverRecord, **more: Any) -> Self:
        """Return what is to be said of ``record``."""
        return cls(n=record.n, host_ns=record.host_ns, boot=record.boot, driver=record.driver, **more)


class Gap(_OfDriver, frozen=True, kw_only=True, tag="checker.gap"):
    """No channel brought the records ``first`` to ``last`` of a driver. Made by the checker, never recorded."""

    first: int
    last: int


class Repeat(_OfDriver, frozen=True, kw_only=True, tag="checker.repeat"):
    """One channel brought the number ``seq`` of a driver twice, or too late to be put in its place."""

    seq: int
    channel: str
    late: bool = False


class Stale(_OfDriver, frozen=True, kw_only=True, tag="checker.stale"):
    """A driver record without a place: ``why`` says whether it is of an earlier boot or of one driver too many."""

    seq: int
    why: str
    earlier: bool = False


class Disorder(_OfDriver, frozen=True, kw_only=True, tag="checker.disorder"):
    """One channel brought the number ``seq`` of a driver after a later one, ``behind``, and no other channel had it."""

    seq: int
    behind: int
    channel: str


class Conflict(_OfDriver, frozen=True, kw_only=True, tag="checker.conflict"):
    """Two channels brought the number ``seq`` of a driver with different contents: ``fields`` differ."""

    seq: int
    first: int
    fields: str


class UnrecordedBoot(_OfDriver, frozen=True, kw_only=True, tag="checker.boot"):
    """A driver sent hello with another boot nonce, and no boot of the guest was recorded before."""

    before: str


class Behind(Record, frozen=True, kw_only=True, tag="checker.behind"):
    """The history ended in record ``end``, and further records follow; this is the first one."""

    end: int


class Displaced(Record, frozen=True, kw_only=True, tag="checker.displaced"):
    """A record's time contradicts its place: it is earlier than what stands before it, back to record ``after``."""

    after: int


class Carried(Record, frozen=True, kw_only=True, tag="checker.carried"):
    """What one channel has brought so far: ``records``, of which ``mapped`` are the hellos of mapped drivers.

    ``holes`` counts the numbers below its highest that it did not bring, ``places`` how often it left some out.
    ``tops`` maps each driver of this boot to the highest number that it brought.
    """

    name: str
    records: int
    mapped: int
    holes: int
    places: int
    tops: dict[str, int]


MergerRecord = Gap | Repeat | Stale | Disorder | Conflict | UnrecordedBoot | Behind | Displaced | Carried
"""A record that the merger makes."""

RECENT = 4096
"""Records of a stream that a copy on another channel is compared with."""

MOST_TIMES = 1024
"""Times of host records remembered, to find the place that a displaced record should have."""

FEW = 512
"""Records kept of a stream while only one channel brings it. More of them do not fit into a processor's cache."""


@dataclass(slots=True)
class _Brought:
    """What one channel brought of one stream."""

    highest: int
    records: int = 0
    places: int = 0


@dataclass(slots=True)
class _Stream:
    next: int
    first: int
    top: int = -1
    brought: dict[str, _Brought] = field(default_factory=dict)
    pending: dict[int, DriverRecord] = field(default_factory=dict)
    missing: list[tuple[int, int]] = field(default_factory=list)
    recent: list[DriverRecord | None] = field(default_factory=lambda: [None] * FEW)
    kept: int = FEW

    def widen(self) -> None:
        """Keep more of the stream when a second channel brings it: a copy may come long after the first."""
        kept, self.kept = self.recent, RECENT
        self.recent = [None] * RECENT
        for record in kept:
            if record is not None:
                self.recent[record.seq % RECENT] = record


_STRAIGHT = frozenset(get_args(HostRecord)) - {Boot, Channel, End}
_NUMBERED = frozenset(get_args(AnyDriverRecord)) - {Hello}
_LAGGING = frozenset({Qmp, Ost, Boot, GuestEvent, Console, Mapped})
"""Records that may have the time at which a message was read, before their turn to be written came."""


def _starts(record: Record) -> bool:
    """Return whether a record is the boot with which the host starts the guest: no message tells it of that one."""
    return isinstance(record, Boot) and record.cause in ("power-on", "restored")


_OF_THE_COPY = frozenset({"n", "host_ns", "channel"})


def _differing(record: DriverRecord, other: DriverRecord) -> str:
    if type(record) is not type(other):
        return "their kinds"
    return ", ".join(
        name
        for name in record.__struct_fields__
        if name not in _OF_THE_COPY and getattr(record, name) != getattr(other, name)
    )


class Merger:
    """One pass over the records of a history. ``held`` is empty while nothing is missing."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._boots: dict[str, str] = {}
        self._ended: set[str] = set()
        self._held: list[Record] = []
        self._missing = 0
        self._restored = False
        self._carried: dict[str, list[int]] = {}
        self._end: End | None = None
        self._told = False
        self._latest = 0
        self._silent_until = 0
        self._heard: frozenset[str] = frozenset()
        self._times: deque[tuple[int, int]] = deque(maxlen=MOST_TIMES)

    def pour(self, records: Iterable[Record], handlers: Mapping[type, Callable[[Any], None]]) -> int:
        """Take all ``records``, pass each on to the handler of its kind when possible, and return how many there were.

        Same result as :meth:`take`, but faster for the next record in its driver's order while nothing is held back.
        """
        taken, streams, straight = 0, self._streams, not self._held and self._end is None
        for taken, record in enumerate(records, 1):  # noqa: B007 - returned
            kind = type(record)
            if straight and kind in _STRAIGHT:
                moment = record.host_ns
                if moment >= self._latest and kind is not Quiesced:
                    self._latest = moment
                    self._times.append((moment, record.n))
                elif (displaced := self._displaced(record)) is not None:
                    handlers[Displaced](displaced)
                handlers[kind](record)
                continue
            if straight and kind in _NUMBERED:
                stream = streams.get((record.boot, record.driver))  # type: ignore[attr-defined]
                seq: int = record.seq  # type: ignore[attr-defined]
                if stream is not None and seq == stream.next:
                    brought = stream.brought.get(record.channel)  # type: ignore[attr-defined]
                    straggles = 0 < record.host_ns < self._silent_until
                    if brought is not None and brought.highest == seq - 1 and not straggles:
                        if record.host_ns > self._latest:
                            self._latest = record.host_ns
                        stream.next = seq + 1
                        brought.highest = seq
                        brought.records += 1
                        stream.recent[seq % stream.kept] = record  # type: ignore[call-overload]
                        handlers[kind](record)
                        continue
            for passed in self.take(record):
                handlers[type(passed)](passed)
            straight = not self._held and self._end is None
        return taken

    def take(self, record: Record) -> Iterable[Record]:
        """Return what can be passed on after ``record``: host records unchanged, each driver record once, with gaps marked.

        Iterate to the end before the next record is taken.
        """
        displaced = self._displaced(record)
        return self._taken(record) if displaced is None else chain((displaced,), self._taken(record))

    def _displaced(self, record: Record) -> Displaced | None:
        """Return what shows that a record does not stand where it was written, None if nothing does.

        The host's own record gets its time when it is written, and records are written one after the other: none before
        it has a later time. A driver's record may carry the time of an arrival that waited for its turn, or an upper bound.
        But all that arrived before a silence ended stands before the record of that silence, copies aside, and channels that
        are read afterwards.
        """
        moment = record.host_ns
        if isinstance(record, DriverRecord):
            self._latest = max(self._latest, moment)
            if not 0 < moment < self._silent_until or record.channel not in self._heard:
                return None
            stream = self._streams.get((record.boot, record.driver))
            if stream is not None and record.seq < stream.next:
                return None
            return Displaced(n=record.n, host_ns=moment, after=self._place(moment))
        if isinstance(record, Quiesced):
            self._silent_until = moment
            self._heard = frozenset(self.channels)
        if moment >= self._latest:
            self._latest = moment
            self._times.append((moment, record.n))
            return None
        if not moment or (type(record) in _LAGGING and not _starts(record)):
            return None
        return Displaced(n=record.n, host_ns=moment, after=self._place(moment))

    def _place(self, moment: int) -> int:
        """Return the last record of the host that is not later than a moment, 0 if none is known."""
        return next((n for before, n in reversed(self._times) if before <= moment), 0)

    def _taken(self, record: Record) -> Iterable[Record]:
        if self._end is not None and not self._told:
            self._told = True
            behind = Behind(n=record.n, host_ns=record.host_ns, end=self._end.n)
            return (behind, *self._taken(record))
        if isinstance(record, DriverRecord):
            stream = self._streams.get((record.boot, record.driver))
            if (
                stream is not None
                and record.seq == stream.next
                and not self._held
                and type(record) is not Hello
            ):
                brought = stream.brought.get(record.channel)
                if brought is not None and brought.highest == record.seq - 1:
                    stream.next += 1
                    brought.highest = record.seq
                    brought.records += 1
                    stream.recent[record.seq % stream.kept] = record
                    return (record,)
            return self._slow(record, stream)
        if isinstance(record, Boot):
            return self._boot(record)
        if isinstance(record, Channel):
            return self._account(record)
        if isinstance(record, End):
            self._end = record
        if not self._held:
            return (record,)
        self._held.append(record)
        return self._release() if len(self._held) > PATIENCE else ()

    def end(self) -> Iterator[Record]:
        """Pass on what is held, because missing records no longer come, and then what each channel brought in all."""
        yield from self._release()
        yield from (self._channel(name) for name in sorted(self.channels))

    def _release(self) -> Iterator[Record]:
        if self._held:
            yield from self._flush()

    def _boot(self, boot: Boot) -> Iterator[Record]:
        yield from self._release()
        self._restored = boot.cause == "restored"
        if not self._restored:
            self._ended.update(nonce for nonce, _ in self._streams)
        self._forget()
        yield boot

    def _forget(self) -> None:
        """Record that the streams of a boot are over: keep the totals that the channels brought of them."""
        for name in {name for stream in self._streams.values() for name in stream.brought}:
            totals = self._carried.setdefault(name, [0, 0, 0, 0])
            now = self._now(name)
            self._carried[name] = [a + b for a, b in zip(totals, now, strict=True)]
        self._streams.clear()
        self._boots.clear()

    def _now(self, name: str) -> list[int]:
        """Return a channel's records, hellos of mapped drivers, holes and places of holes in the streams of this boot."""
        found = [0, 0, 0, 0]
        for stream in self._streams.values():
            brought = stream.brought.get(name)
            if brought is not None:
                found[0] += brought.records
                found[2] += max(0, brought.highest - stream.first + 1 - brought.records)
                found[3] += brought.places
        return found

    @property
    def channels(self) -> set[str]:
        """The channels that have brought a record."""
        return {*self._carried, *(name for stream in self._streams.values() for name in stream.brought)}

    def _channel(self, name: str) -> Carried:
        totals = [a + b for a, b in zip(self._carried.get(name, [0, 0, 0, 0]), self._now(name), strict=True)]
        tops = {
            driver: stream.brought[name].highest
            for (_, driver), stream in self._streams.items()
            if name in stream.brought
        }
        return Carried(
            name=name, records=totals[0], mapped=totals[1], holes=totals[2], places=totals[3], tops=tops
        )

    def _account(self, channel: Channel) -> Iterable[Record]:
        carried = self._channel(channel.name)
        if not self._held:
            return (carried, channel)
        self._held += (carried, channel)
        return self._release() if len(self._held) > PATIENCE else ()

    def _stale(self, record: DriverRecord, stream: _Stream | None) -> str:
        """Return why a record has no place in this boot; "" if it has one."""
        if record.boot in self._ended:
            return "it is of an earlier boot"
        if stream is not None or type(record) is Hello:
            return (
                "" if stream is not None or len(self._streams) < MOST_STREAMS else "too many drivers report"
            )
        if self._boots and record.boot not in self._boots.values():
            return "no driver said hello in its boot"
        return "too many drivers report" if len(self._streams) >= MOST_STREAMS else ""

    def _slow(self, record: DriverRecord, stream: _Stream | None) -> Iterator[Record]:
        key = (record.boot, record.driver)
        why = self._stale(record, stream)
        if why:
            self._carried.setdefault(record.channel, [0, 0, 0, 0])[0] += 1
            stale = Stale.of(record, seq=record.seq, why=why, earlier=record.boot in self._ended)
            if not self._held:
                yield stale
                return
            # Its place is behind what is held.
            self._held.append(stale)
            if len(self._held) > PATIENCE:
                yield from self._release()
            return
        if stream is None:
            if isinstance(record, Hello):
                yield from self._unrecorded(record)
            # Numbers begin at 1 in every boot; only a restored guest continues from where its snapshot was taken.
            first = record.seq if self._restored or record.seq < FIRST else FIRST
            stream = self._streams[key] = _Stream(next=first, first=first)
        if isinstance(record, Hello):
            self._boots[record.driver] = record.boot
            if record.version == "mapped":
                self._carried.setdefault(record.channel, [0, 0, 0, 0])[1] += 1
        brought = stream.brought.get(record.channel)
        if brought is None:
            brought = stream.brought[record.channel] = _Brought(highest=stream.first - 1)
            if len(stream.brought) == 2:
                stream.widen()
        again = record.seq <= brought.highest
        brought.records += 1
        if record.seq < stream.next or record.seq in stream.pending:
            yield from self._known(record, stream, again=again)
            brought.highest = max(brought.highest, record.seq)
            return
        if again:
            yield Disorder.of(record, seq=record.seq, behind=brought.highest, channel=record.channel)
        brought.places += 1 if record.seq > brought.highest + 1 else -(brought.places > 0 and again)
        brought.highest = max(brought.highest, record.seq)
        stream.recent[record.seq % stream.kept] = record
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
            yield from self._release()

    def _known(self, record: DriverRecord, stream: _Stream, *, again: bool) -> Iterator[Record]:
        """Compare a record whose number is already known with the one that came first."""
        gone = any(first <= record.seq <= last for first, last in stream.missing)
        first = stream.recent[record.seq % stream.kept]
        if first is not None and first.seq == record.seq:
            fields = _differing(first, record)
            if fields:
                yield Conflict.of(record, seq=record.seq, first=first.n, fields=fields)
        if gone or again:
            yield Repeat.of(record, seq=record.seq, channel=record.channel, late=gone)

    def _unrecorded(self, hello: Hello) -> Iterator[Record]:
        """Record that a driver of this boot sent hello in another one: everything of this boot is over."""
        before = next((boot for boot, driver in self._streams if driver == hello.driver), None)
        if before is None:
            return
        yield from self._release()
        self._ended.update(nonce for nonce, _ in self._streams)
        self._forget()
        yield UnrecordedBoot.of(hello, before=before)

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
                    yield Gap.of(held, first=stream.next, last=seq - 1)
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
