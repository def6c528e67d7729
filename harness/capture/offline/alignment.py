# SPDX-License-Identifier: MIT
"""Inserts the records of channels that were read after a run among the records that the host wrote during it.

A history has the order in which the harness received its records, and the checker relies on that: a record before a
host record had happened before it. A channel that is read afterwards does not contain the host's time. A driver
record has its counter, and the ``Offset`` records of the history bound the host's time at which the counter had that
value (:class:`harness.capture.offline.correlation.ClockMap`). So each record goes to **the latest moment at which it can
have happened**: then, too, each record before a host record had happened before it.

The driver's own order is exact and narrows this down. A record had happened before its successor was there: by the
successor's own bounds, or because a channel brought it during the run. No record lies outside its boot. A record that
arrived during the run stays where it arrived.

A ``Quiesced`` reports that the driver had been silent for a while. If a record's bounds are so wide that it may have
happened before that silence or after it, the silence proves nothing about that record. The ``Quiesced`` is then left out:
conclusions from it become unknown, never wrong.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator

import msgspec

from harness.capture.offline.comparison import ChannelComparison, compare
from harness.capture.offline.correlation import FOREVER, ClockMap
from harness.capture.offline.recorded import RecordedChannel, TimedRecord, driver_records
from harness.errors import BadHistory, UsageError
from harness.history.driver import DriverRecord
from harness.history.record import Add, Boot, Channel, End, Migration, Offset, Quiesced, Record, Stage

ChannelOfDriver = tuple[str, str]
"""Boot nonce and driver."""


class AlignedHistory(msgspec.Struct, kw_only=True):
    """The whole history with the channels in it, numbered anew, and the findings of the alignment.

    ``unproven`` are the ``Quiesced`` records left out; ``widest_ns`` is the widest of the records' bounds that came from
    the clock alone.
    """

    records: list[Record]
    comparison: ChannelComparison
    unproven: list[Quiesced] = []
    widest_ns: int = 0


class _Moment(msgspec.Struct):
    """The known time and place of one number of a stream, and its copies in the order of the channels."""

    copies: list[DriverRecord] = []
    low: int | None = None
    high: int | None = None
    live: int | None = None
    place: int = 0
    qpc: int = 0


def align(history: Iterable[Record], channels: list[RecordedChannel]) -> AlignedHistory:
    """Insert ``channels`` into ``history``.

    Raises UsageError if the history has one of them already. Raises BadHistory if nothing in it bounds the time of a boot
    of the driver although the history has hot-adds.
    """
    host = list(history)
    _refuse_known(host, channels)
    return _Aligner(host, channels).aligned()


def _refuse_known(host: list[Record], channels: list[RecordedChannel]) -> None:
    known = {record.channel for record in host if isinstance(record, DriverRecord)}
    known |= {record.name for record in host if isinstance(record, Channel)}
    for channel in channels:
        if channel.account.name in known:
            raise UsageError(
                f"the history has records of the channel {channel.account.name} already",
                hint=f"Leave {channel.file} out.",
            )


def _migrations(host: Iterable[Record]) -> Iterator[tuple[int, int]]:
    """Yield the host times of each migration, completed or not; one without an end lasts for ever."""
    begun: int | None = None
    for record in host:
        if isinstance(record, Migration):
            if record.phase == "begin":
                begun = record.host_ns
            elif begun is not None:
                yield begun, record.host_ns
                begun = None
    if begun is not None:
        yield begun, FOREVER


class _Aligner:
    def __init__(self, host: list[Record], channels: list[RecordedChannel]) -> None:
        self._host = host
        self._channels = channels
        # A record may carry the time of its event, a little before that of its neighbour; its place counts.
        self._times = list(itertools.accumulate((record.host_ns for record in host), max))
        # Nothing goes after the end of a history that ended normally.
        self._last = len(host) - 1 - bool(host and isinstance(host[-1], End))
        self._boots = [at for at, one in enumerate(host) if isinstance(one, Boot) and one.cause != "restored"]
        self._offsets: dict[str, list[tuple[int, Offset]]] = {}
        for at, one in enumerate(host):
            if isinstance(one, Offset):
                self._offsets.setdefault(one.domain.removeprefix("qpc/"), []).append((at, one))
        gaps = list(_migrations(host))
        self._clocks = {
            boot: ClockMap([offset for _at, offset in found], gaps=gaps)
            for boot, found in self._offsets.items()
        }
        self._streams: dict[ChannelOfDriver, dict[int, _Moment]] = {}
        self._others: list[TimedRecord] = []
        self._unproven: set[int] = set()
        self._widest = 0

    def aligned(self) -> AlignedHistory:
        """Return the aligned history."""
        self._gather()
        for stream, moments in self._streams.items():
            self._place(stream, moments)
            self._doubt(moments)
        comparison = compare(
            [*driver_records(self._channels), *(one for one in self._host if isinstance(one, DriverRecord))],
            channels=self._names(),
        )
        records = [
            msgspec.structs.replace(record, n=number)
            for number, record in enumerate(self._woven(comparison), start=1)
        ]
        unproven = [one for at in sorted(self._unproven) if isinstance(one := self._host[at], Quiesced)]
        return AlignedHistory(
            records=records, comparison=comparison, unproven=unproven, widest_ns=self._widest
        )

    def _names(self) -> list[str]:
        live = {one.channel: None for one in self._host if isinstance(one, DriverRecord)}
        return [*live, *(channel.account.name for channel in self._channels)]

    def _gather(self) -> None:
        """Collect what is known of each number, from the live records and from all channels."""
        for at, record in enumerate(self._host):
            if isinstance(record, DriverRecord):
                moment = self._moment(record)
                moment.live = at if moment.live is None else moment.live
        for channel in self._channels:
            for one in channel.arrived:
                if not isinstance(one.record, DriverRecord):
                    self._others.append(one)
                    continue
                moment = self._moment(one.record)
                moment.copies.append(one.record)
                self._bound(moment, one)

    def _moment(self, record: DriverRecord) -> _Moment:
        moments = self._streams.setdefault((record.boot, record.driver), {})
        moment = moments.setdefault(record.seq, _Moment())
        moment.qpc = max(moment.qpc, record.qpc)
        return moment

    def _bound(self, moment: _Moment, one: TimedRecord) -> None:
        assert isinstance(one.record, DriverRecord)
        clock = self._clocks.get(one.record.boot)
        interval = clock.host_ns(one.record.qpc) if clock is not None else None
        low, high = interval if interval is not None else (None, None)
        if one.ns:
            # It was stamped at the port, as the harness does during a run.
            low = high = min(one.ns, high) if high is not None else one.ns
        if low is not None and (moment.low is None or low > moment.low):
            moment.low = low
        if high is not None and (moment.high is None or high < moment.high):
            moment.high = high

    def _place(self, stream: ChannelOfDriver, moments: dict[int, _Moment]) -> None:
        numbers = sorted(moments)
        known = [moments[number] for number in numbers]
        for moment in known:
            if moment.live is not None:
                moment.place = moment.live
            elif moment.high is not None:
                moment.place = bisect.bisect_right(self._times, moment.high) - 1
                self._widest = max(self._widest, moment.high - (moment.low or moment.high))
            else:
                moment.place = self._last
        if all(moment.live is None and moment.high is None for moment in known):
            self._refuse_unbounded(stream, len(known))
        first, last = self._epoch(stream[0], known)
        later: int = last
        for moment in reversed(known):
            # It had happened before its successor was there. A live record stays where it arrived.
            moment.place = later = min(moment.place, later)
            later -= moment.live is not None
        counter = 0
        for moment in known:
            moment.place = max(moment.place, first)
            moment.qpc = counter = max(moment.qpc, counter)

    def _epoch(self, boot: str, known: list[_Moment]) -> tuple[int, int]:
        """Return the first and last place within the boot that the nonce belongs to."""
        brackets = [at for at, _offset in self._offsets.get(boot, [])]
        live = [moment.live for moment in known if moment.live is not None]
        bounded = [moment.place for moment in known if moment.high is not None]
        evidence = min(brackets or live or bounded or [self._last])
        epoch = bisect.bisect_right(self._boots, evidence)
        first = self._boots[epoch - 1] if epoch else 0
        last = self._boots[epoch] - 1 if epoch < len(self._boots) else self._last
        return first, last

    def _refuse_unbounded(self, stream: ChannelOfDriver, count: int) -> None:
        if any(isinstance(record, Add) for record in self._host):
            raise BadHistory(
                f"nothing in the history says when the {count} records of driver {stream[1]} in boot {stream[0]} "
                "were made",
                hint="The harness brackets the guest's counter while it runs (offset records); without them, and "
                "without times of arrival, records cannot be put among the host's.",
            )

    def _doubt(self, moments: dict[int, _Moment]) -> None:
        """Find the silences that prove nothing, because a record may have happened before or after them."""
        for moment in moments.values():
            if moment.live is not None or moment.low is None or moment.high is None:
                continue
            start = bisect.bisect_left(self._times, moment.low)
            for at in range(start, min(moment.place, self._last) + 1):
                one = self._host[at]
                if isinstance(one, Quiesced) and moment.low < one.host_ns - one.quiet_ns:
                    self._unproven.add(at)

    def _woven(self, comparison: ChannelComparison) -> Iterator[Record]:
        """Yield all records in their order."""
        behind: dict[int, list[tuple[tuple[int, str, int], _Moment]]] = {}
        for (_boot, driver), moments in self._streams.items():
            for number, moment in moments.items():
                if moment.copies:
                    behind.setdefault(moment.place, []).append(((moment.qpc, driver, number), moment))
        others: dict[int, list[TimedRecord]] = {}
        for one in self._others:
            others.setdefault(min(bisect.bisect_right(self._times, one.ns) - 1, self._last), []).append(one)
        for one in others.pop(-1, []):
            others.setdefault(0, []).insert(0, one)
        for at, record in enumerate(self._host):
            if at > self._last:
                yield from self._accounts(comparison)
            if at not in self._unproven:
                yield record
            floor, ceiling = self._times[at], self._times[min(at + 1, len(self._times) - 1)]
            for _key, moment in sorted(behind.get(at, ()), key=lambda one: one[0]):
                # A guest may claim any counter. A record here was there before the host's next one was written.
                when = min(max(floor, moment.high or 0), ceiling)
                yield from (msgspec.structs.replace(copy, host_ns=when) for copy in moment.copies)
            for one in others.get(at, ()):
                yield msgspec.structs.replace(one.record, host_ns=min(max(floor, one.ns), ceiling))
        if self._last == len(self._host) - 1:
            yield from self._accounts(comparison)

    def _accounts(self, comparison: ChannelComparison) -> Iterator[Record]:
        when = self._times[-1] if self._times else 0
        seen = {account.name: account for account in comparison.accounts()}
        for channel in self._channels:
            account = channel.account
            text = f"{account.records} records of channel {account.name} from {channel.file.name}"
            yield Stage(
                name="import",
                phase="note",
                detail="; ".join([text, *channel.missing])[:1000],
                host_ns=when,
            )
            lost = max(account.lost, seen[account.name].lost)
            yield msgspec.structs.replace(account, lost=lost, host_ns=when)
