# SPDX-License-Identifier: MIT
"""The descriptions by which manifest events are decoded: those that the user gives, and those in the log itself.

A log may describe its own events in two ways. A merge writes a TRACE_EVENT_INFO for each event (event_info), and an
EventSource of .NET sends its manifest as events with the id 0xFFFE, in chunks. Both may come after the events that they
describe, so :meth:`Catalog.learn` looks for them before decoding begins. It decodes only buffers that contain the bytes
of :data:`NEEDLES`.

A given manifest takes precedence over the log's own descriptions. Learned descriptions are bounded, because a guest wrote
them.

Chunks: W32:ETW; docs.microsoft.com, EventSource: format 1, major and minor version, magic 0x5B, then the number of
chunks and this chunk's own, 16 bits each, then its part of the XML.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from harness.capture.etl import event_info, manifest
from harness.capture.etl.event_info import Labels
from harness.capture.etl.layout import Layout
from harness.capture.etl.manifest import EventDescription, Provider
from harness.capture.etl.record import AnyLogRecord, ClassicRecord, EventRecord
from harness.capture.etl.tracelog import TraceLog
from harness.errors import BadDocument

MOST_BYTES = 64 << 20
"""Bytes of descriptions that are kept of one log."""

MANIFEST_EVENT = 0xFFFE
"""Id and task of the event that carries a chunk of an EventSource's manifest."""

NEEDLES = (event_info.METADATA, b"\xfe\xfe\xff")
"""Bytes in every record that describes events: the class of KernelTraceControl, opcode and task of a chunk."""

_CHUNK = struct.Struct("<BBBBHH")
_CHUNK_FIELDS = ("Format", "MajorVersion", "MinorVersion", "Magic", "TotalChunks", "ChunkNumber")
_FORMAT, _MAGIC = 1, 0x5B

Source = Literal["manifest", "event info", "eventsource"]


def chunk(record: EventRecord) -> dict[str, int] | None:
    """Return the header of a chunk of an EventSource's manifest, or None for another event."""
    if record.id != MANIFEST_EVENT or record.task != MANIFEST_EVENT:
        return None
    raw = record.payload
    if len(raw) < _CHUNK.size:
        return None
    found = dict(zip(_CHUNK_FIELDS, _CHUNK.unpack_from(raw), strict=True))
    right = found["Format"] == _FORMAT and found["Magic"] == _MAGIC
    return found if right and found["ChunkNumber"] < found["TotalChunks"] else None


class Description(NamedTuple):
    """The layout and names that decode an event, and their origin."""

    source: Source
    provider: str
    event: EventDescription
    layout: Layout


class Catalog:
    """Descriptions of events by provider (or class), id (or opcode) and version."""

    def __init__(self, providers: Iterable[Provider] = ()) -> None:
        self._given = {provider.guid: provider for provider in providers}
        self._sent: dict[bytes, Provider] = {}
        self._infos: dict[tuple[bytes, int, int], bytes] = {}
        self._described: dict[bytes, str] = {}
        self._maps: dict[bytes, dict[str, Labels]] = {}
        self._chunks: dict[bytes, dict[int, bytes]] = {}
        self._found: dict[tuple[bytes, int, int], Description] = {}
        self._left = MOST_BYTES

    def learn(self, log: TraceLog, progress: Callable[[int], None] | None = None) -> None:
        """Take all descriptions in a log. The log is read once for this."""
        for record in log.holding(NEEDLES, progress):
            self.take(record)

    def take(self, record: AnyLogRecord) -> None:
        """Take the description in a record, if it has one."""
        if isinstance(record, ClassicRecord):
            if record.provider == event_info.METADATA:
                self._take_info(record.opcode, record.payload)
        elif isinstance(record, EventRecord):
            if record.provider == event_info.METADATA:
                self._take_info(record.opcode, record.payload)
            else:
                self._take_chunk(record)

    def _room(self, size: int) -> bool:
        if size > self._left:
            return False
        self._left -= size
        return True

    def _take_info(self, opcode: int, raw: bytes) -> None:
        if opcode == event_info.EVENT_INFO:
            key = event_info.key(raw)
            if key is not None and key not in self._infos and self._room(len(raw)):
                self._infos[key] = raw
                self._described.setdefault(raw[:16], event_info.provider_name(raw))
                self._found.pop(key, None)
        elif opcode == event_info.MAP_INFO:
            found = event_info.parse_map(raw)
            if found is not None and self._room(2 * len(raw)):
                provider, name, labels = found
                self._maps.setdefault(provider, {})[name] = labels

    def _take_chunk(self, record: EventRecord) -> None:
        found = chunk(record)
        if found is None or record.provider in self._sent:
            return
        number, total, raw = found["ChunkNumber"], found["TotalChunks"], record.payload
        chunks = self._chunks.setdefault(record.provider, {})
        if number not in chunks and self._room(len(raw)):
            chunks[number] = raw[_CHUNK.size :]
        if len(chunks) < total:
            return
        whole = b"".join(chunks[one] for one in sorted(chunks))
        del self._chunks[record.provider]
        try:
            providers = manifest.parse(whole.rstrip(b"\0"), "EventSource")
        except BadDocument:
            return
        for provider in providers:
            if provider.guid == record.provider:
                self._sent[record.provider] = provider

    def provider_name(self, provider: bytes) -> str:
        """Return a provider's name, "" when no description gives it."""
        for known in (self._given, self._sent):
            if provider in known:
                return known[provider].name
        return self._described.get(provider, "")

    def knows(self, provider: bytes) -> bool:
        """Return whether any event of the provider is described."""
        return provider in self._given or provider in self._sent or provider in self._described

    def find(self, provider: bytes, number: int, version: int) -> Description | None:
        """Return the description of exactly this provider, id and version, or None."""
        key = (provider, number, version)
        found = self._found.get(key)
        if found is None:
            found = self._look(key)
            if found is not None:
                self._found[key] = found
        return found

    def _look(self, key: tuple[bytes, int, int]) -> Description | None:
        given = self._given.get(key[0])
        event = given.find(key[1], key[2]) if given is not None else None
        if given is not None and event is not None:
            return Description("manifest", given.name, event, given.layout(event))
        raw = self._infos.get(key)
        if raw is not None:
            info = event_info.parse(raw, self._maps.get(raw[:16], {}))
            if info is not None:
                return Description(
                    "event info", info.provider_name, info.description, Layout(info.description.fields)
                )
            del self._infos[key]
        sent = self._sent.get(key[0])
        event = sent.find(key[1], key[2]) if sent is not None else None
        if sent is not None and event is not None:
            return Description("eventsource", sent.name, event, sent.layout(event))
        return None
