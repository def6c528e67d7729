# SPDX-License-Identifier: MIT
"""The mapper: turns a driver's own trace events into the harness's records, by its map.

An event comes from a log (:class:`~harness.capture.etl.record.EventRecord`) or, on the twin, as a line
(:mod:`harness.capture.live.event_lines`); both are a :class:`TraceEvent`. Events that the map does not name are left out.
Events come from a guest. With any content they become records or are counted, and never raise.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from harness.capture.etl import guid, tracelogging
from harness.capture.etl.record import EventRecord
from harness.capture.etl.tracelog import TraceLog
from harness.capture.mapping.driver_map import KINDS, DriverMap, EventMap, own_fields, record_fields
from harness.history.driver import Hello
from harness.history.record import Channel, Mapped, Record

CHANNEL = "etw"

MOST_OPEN = 4096
"""Enter records whose exits are awaited at once; a correct driver has one per processor."""

LONGEST_TEXT = 1024
"""Characters of a text that an event gives."""

NAMES = {
    "cb3a4004-46f0-11d0-b08f-00609713053f": "arrival",
    "cb3a4005-46f0-11d0-b08f-00609713053f": "removal",
    "97fadb10-4e33-40ae-359c-8bef029dbdd0": "cpu",
    "3fd0f03d-92e0-45fb-b75c-5ed8ffb01021": "memory",
}
"""GUID_DEVICE_INTERFACE_ARRIVAL and _REMOVAL (wdmguid.h), GUID_DEVICE_PROCESSOR and _MEMORY (poclass.h)."""

_ENTERS = {
    "sync.exit": "sync.enter",
    "async.exit": "async.enter",
    "call.exit": "call.enter",
    "pnp.exit": "pnp.enter",
}
_REGISTRATION = {"reg_sync": 1, "dereg_sync": 1, "reg_async": 2, "unreg_ex": 2, "unreg_old": 2}


class TraceEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event. ``time`` counts ``hz`` ticks a second. ``values`` if it describes itself, otherwise its ``payload``.

    ``skipped`` events of this source are known to be missing before it.
    """

    id: int
    version: int
    time: int
    processor: int
    thread: int
    payload: bytes = b""
    name: str = ""
    values: dict[str, Any] | None = None
    skipped: int = 0
    pointer: int = 8


class Mapper:
    """Turns one driver's events into records, in the order in which they come.

    ``boot`` identifies the boot, ``hz`` is the rate of the events' clock. ``handed_on`` counts driver records, including
    the hellos that no event gave. Of the events, ``corrupt`` ones cannot be mapped, ``unnamed`` ones are not in the map, and
    ``lost`` ones are known to be missing. A number of the driver is left out for each lost or corrupt event, so that the
    gap shows. ``reasons`` says why the first corrupt events are not records.
    """

    def __init__(self, described_by: DriverMap, *, boot: str, hz: int) -> None:
        self.map = described_by
        self.handed_on = self.corrupt = self.unnamed = self.lost = 0
        self.reasons: list[str] = []
        self._began = False
        self._boot = boot
        self._hz = hz
        self._seq = 0
        self._shift: int | None = None
        self._open: dict[tuple[str, int], list[tuple[int, dict[str, Any]]]] = {}
        self._by_id: dict[int, list[int]] = {}
        self._by_name: dict[str, int] = {}
        for index, event in enumerate(described_by.events):
            if event.id is not None:
                self._by_id.setdefault(event.id, []).append(index)
            else:
                self._by_name[event.name] = index

    def records(self, traced: TraceEvent) -> Iterator[Record]:
        """Yield the records of an event: none, or one; before the first one also those that begin every driver's stream."""
        if traced.skipped > 0:
            # It is unknown which of them would be mapped: as many of the driver's numbers may be missing.
            self.lost += traced.skipped
            self._miss(traced.skipped)
        index = self._find(traced)
        if index is None:
            self.unnamed += 1
            return
        event = self.map.events[index]
        try:
            values = self._values(event, index, traced)
            first = not self._began or (event.record == "call.enter" and values.get("call") == "driver_entry")
            number = self._seq + (2 if first else 1)
            record = self._record(event, values, traced, number)
        except (ValueError, msgspec.ValidationError) as error:
            self.corrupt += 1
            self._miss(1)
            if len(self.reasons) < 8:
                self.reasons.append(
                    f"event {traced.name or traced.id} is not a {event.record}: {error}"[:300]
                )
            return
        if first:
            yield from self._hello(traced)
        self._seq = max(self._seq, record.seq)
        self.handed_on += 1
        self._remember(event, record)
        yield record

    def read(self, log: TraceLog) -> Iterator[Record]:
        """Yield the records of a log's events, in their order."""
        for event in self.own(log):
            yield from self.logged(event)

    def own(self, log: TraceLog) -> Iterator[EventRecord]:
        """Yield the driver's events in a log, in their order."""
        for event in log.records():
            if isinstance(event, EventRecord) and event.provider == self.map.provider:
                yield event

    def logged(self, event: EventRecord, *, skipped: int = 0) -> Iterator[Record]:
        """Yield the records of an event in a log; see :meth:`records`."""
        schema = tracelogging.schema(event)
        values: dict[str, Any] | None = None
        if schema is not None:
            values, _problem = schema.layout.read(event.payload, event.pointer_size)
        yield from self.records(
            TraceEvent(
                id=event.id,
                version=event.version,
                time=event.time,
                processor=event.processor,
                thread=event.thread,
                payload=event.payload,
                name=schema.name if schema is not None else "",
                values=values,
                skipped=skipped,
                pointer=event.pointer_size,
            )
        )

    def account(self, *, closed: bool = False) -> Channel:
        """Return the account of the channel."""
        return Channel(
            name=CHANNEL, records=self.handed_on, corrupt=self.corrupt, foreign=self.unnamed,
            lost=self.lost + self.corrupt, closed=closed,
        )  # fmt: skip

    def _miss(self, events: int) -> None:
        """Leave out numbers. An exit that comes now may be that of an enter record that is missing."""
        self._seq += events
        self._open.clear()

    def _find(self, traced: TraceEvent) -> int | None:
        if traced.name:
            return self._by_name.get(traced.name)
        for index in self._by_id.get(traced.id, ()):
            version = self.map.events[index].version
            if version is None or version == traced.version:
                return index
        return None

    def _values(self, event: EventMap, index: int, traced: TraceEvent) -> dict[str, Any]:
        """Return the event's own values by the record's names."""
        given = traced.values
        if given is None:
            given, problem = self._read(index, traced)
            if problem:
                raise ValueError(problem)
        values: dict[str, Any] = dict(event.values)
        for field, source in event.fields.items():
            if source not in given:
                raise ValueError(f"it has no field {source!r}")
            values[field] = _as(own_fields(event.record)[field], given[source], field)
        return values

    def _read(self, index: int, traced: TraceEvent) -> tuple[dict[str, Any], str]:
        layout = self.map.layouts.get(index)
        if layout is None:
            described = self.map.described
            known = described.find(traced.id, traced.version) if described is not None else None
            if described is None or known is None:
                return {}, f"nothing describes version {traced.version} of it"
            layout = described.layout(known)
        return layout.read(traced.payload, traced.pointer)

    def _record(self, event: EventMap, values: dict[str, Any], traced: TraceEvent, number: int) -> Any:
        kind = KINDS[event.record]
        thread = values.get("thread", traced.thread)
        found: dict[str, Any] = self._common(traced, number)
        for name, type_, required in record_fields(event.record):
            if required and name not in found:
                found[name] = "" if type_ is str else 0
        enters = _ENTERS.get(event.record)
        if enters is not None and "enter" not in values:
            entered = self._open.get((enters, thread))
            if not entered:
                raise ValueError(f"no {enters} of its thread came before it")
            seq, before = entered[-1]
            found["enter"] = seq
            found.update({name: value for name, value in before.items() if name in found and name != "seq"})
        if "reg" in own_fields(event.record) and not found.get("reg"):
            found["reg"] = _REGISTRATION.get(values.get("call", ""), 0) if "call" in values else (
                2 if event.record.startswith("async") else 1
            )  # fmt: skip
        found.update(values)
        found["seq"] = number
        if "seq" in values:
            # The driver counts itself: numbers missing between two of its events are missing here too.
            if self._shift is None or values.get("call") == "driver_entry":
                self._shift = number - values["seq"]
            found["seq"] = max(0, values["seq"] + self._shift)
            if found["seq"] >> 63:
                raise ValueError(f"its number {values['seq']} is out of range")
        return msgspec.convert(found | {"k": event.record}, kind)

    def _common(self, traced: TraceEvent, number: int) -> dict[str, Any]:
        return {
            "channel": CHANNEL, "seq": number, "qpc": traced.time, "boot": self._boot, "driver": self.map.driver,
            "cpu": traced.processor, "thread": traced.thread, "irql": 0, "active": 0, "active_g0": 0,
            "active_g0_ex": 0, "maximum": 0, "groups": 0,
        }  # fmt: skip

    def _hello(self, traced: TraceEvent) -> Iterator[Record]:
        """Yield the records that begin every load of a driver. Numbers missing before the first event come after number 1."""
        number = self._seq + 1 if self._began else 1
        if not self._began:
            self._began = True
            yield Mapped(
                driver=self.map.driver, provider=guid.text(self.map.provider), absent=self.map.absent()
            )
        self._seq += 1
        self.handed_on += 1
        yield msgspec.convert(
            self._common(traced, number) | {"k": "hello", "version": "mapped", "hz": self._hz, "ring": 0}, Hello
        )  # fmt: skip

    def _remember(self, event: EventMap, record: Any) -> None:
        """Keep an enter record until its exit comes, by thread. A thread first leaves what it entered last."""
        if event.record in _ENTERS.values():
            stack = self._open.setdefault((event.record, record.thread), [])
            kept = {name: getattr(record, name) for name in ("reg", "state", "nt", "group", "number", "status")
                    if hasattr(record, name)}  # fmt: skip
            stack.append((record.seq, kept))
            del stack[:-64]
            if len(self._open) > MOST_OPEN:
                del self._open[next(iter(self._open))]
        elif event.record in _ENTERS:
            key = (_ENTERS[event.record], record.thread)
            stack = self._open.get(key, [])
            if stack:
                stack.pop()
            if not stack:
                self._open.pop(key, None)


def mapper_of(log: TraceLog, described_by: DriverMap) -> Mapper:
    """Return the mapper for a log. The log's start names the boot, since nothing else in it identifies one."""
    clock = log.session.clock
    boot = hashlib.sha256(f"{clock.start} {clock.start_filetime} {clock.hz}".encode()).hexdigest()[:16]
    return Mapper(described_by, boot=boot, hz=clock.hz)


def _as(kind: Any, value: Any, field: str) -> Any:
    """Convert an event's value to the type of the record's field. Raises ValueError."""
    if kind is int:
        if isinstance(value, bool):
            return int(value)
        if not isinstance(value, int):
            raise ValueError(f"{field} is not a number: {str(value)[:60]!r}")
        # NTSTATUS and indexes come signed or unsigned, as the event's author declared them.
        return (
            value & 0xFFFFFFFF if -(1 << 31) <= value < -1 or (value == -1 and field != "back_idx") else value
        )
    if isinstance(value, bytes):
        value = guid.text(value) if len(value) == struct.calcsize("16s") else value.hex()
    if not isinstance(value, str):
        raise ValueError(f"{field} is not text: {str(value)[:60]!r}")
    return NAMES.get(value.lower(), value)[:LONGEST_TEXT]
