# SPDX-License-Identifier: MIT
"""The driver's own events in a log, as the same records as on the debug port, with an account of what is missing.

The driver writes each record once under its lock, to every channel. In ETW its fields are those of the record types,
in their order, and the event's message in the manifest is the record's name (``sync.enter``). The log merges by time;
records with equal times are put into the order of the driver's own sequence numbers, which is the true one
(contract F4). Strings come from the guest unchanged and must pass the same checks as the debug port's lines.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import msgspec

from harness.capture.etl.decoder import Decoder
from harness.capture.etl.manifest import Provider
from harness.capture.etl.record import EventRecord
from harness.capture.etl.tracelog import TraceLog
from harness.history.driver import AnyDriverRecord, DriverRecord
from harness.history.record import Channel

CHANNEL = "etw"

_KINDS: dict[str, type[DriverRecord]] = {
    str(kind.__struct_config__.tag): kind for kind in typing.get_args(AnyDriverRecord)
}
_DRIVER = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class BadEvent(ValueError):
    """An event of the driver's provider that is not a record; the message says why."""


class DriverEvents:
    """Reads the events in one log of the driver that ``provider`` (from its manifest) describes.

    After :meth:`records` the counts are complete. ``lost`` are sequence numbers missing between the first and the last
    of each boot and driver. Only the log's own account shows what a session lost before or after them.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._decoder = Decoder([provider])
        self.decoded = self.corrupt = 0
        self.reasons: list[str] = []
        self._seen: dict[tuple[str, str], _Sequence] = {}

    def decode(self, event: EventRecord) -> DriverRecord:
        """Decode one event of the driver's provider. Raises BadEvent. The history sets ``n`` and ``host_ns``."""
        description = self._provider.find(event.id, event.version)
        kind = _KINDS.get(description.message) if description is not None else None
        if description is None or kind is None:
            raise BadEvent(
                f"event {event.id} of version {event.version} is not a record that this harness knows"
            )
        decoded = self._decoder.decode(event)
        if decoded.problem:
            raise BadEvent(f"{description.message}: {decoded.problem}")
        values = decoded.values | {"channel": CHANNEL, "k": description.message}
        boot = values.get("boot")
        if isinstance(boot, int):
            values["boot"] = f"{boot:016x}"
        try:
            record = msgspec.convert(values, kind)
        except msgspec.ValidationError as error:
            raise BadEvent(f"{description.message}: {error}") from error
        if not _DRIVER.fullmatch(record.driver):
            raise BadEvent(f"{description.message}: the driver's name is malformed")
        return record

    def records(self, log: TraceLog) -> Iterator[DriverRecord]:
        """Yield the driver's records in time order, equal times by sequence number. Other events are left out."""
        events = (
            record
            for record in log.records()
            if isinstance(record, EventRecord) and record.provider == self._provider.guid
        )
        for _time, together in groupby(events, attrgetter("time")):
            found: list[DriverRecord] = []
            for event in together:
                try:
                    found.append(self.decode(event))
                except BadEvent:
                    self.corrupt += 1
            found.sort(key=attrgetter("seq"))
            for record in found:
                self.decoded += 1
                self._seen.setdefault((record.boot, record.driver), _Sequence()).add(record.seq)
                yield record
        self.reasons = log.account.reasons()

    @property
    def lost(self) -> int:
        """The number of sequence numbers that are known to be missing."""
        return sum(one.missing for one in self._seen.values())

    def channel(self) -> Channel:
        """Return the account of the whole channel, for the history."""
        return Channel(
            name=CHANNEL, records=self.decoded, corrupt=self.corrupt, lost=self.lost, closed=not self.reasons
        )


@dataclass(slots=True)
class _Sequence:
    """The sequence numbers that came: the first, the last and how many. A repeated number hides a missing one."""

    count: int = 0
    first: int | None = None
    last: int = 0

    def add(self, number: int) -> None:
        self.first = number if self.first is None else min(self.first, number)
        self.last = max(self.last, number)
        self.count += 1

    @property
    def missing(self) -> int:
        return max(0, self.last - (self.first or 0) + 1 - self.count) if self.count else 0
