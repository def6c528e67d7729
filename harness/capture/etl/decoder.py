# SPDX-License-Identifier: MIT
"""From a record to names and values: by its own description, by one the log or the user gives, as a kernel event, or raw.

What can be known of an event depends on the log: :meth:`Decoder.learn` takes from it what it says of its own events
before the first is decoded. What stays raw says why (``reason``), in words of which there are few, so that they can
be counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from harness.capture.etl import catalog, classic, event_info, guid, manifest, session, tracelogging, wpp
from harness.capture.etl.catalog import Catalog
from harness.capture.etl.classic import KernelRecord
from harness.capture.etl.display import show
from harness.capture.etl.field import Field
from harness.capture.etl.layout import Layout
from harness.capture.etl.manifest import Provider
from harness.capture.etl.record import (
    CLASSIC,
    EXT_SCHEMA,
    AnyLogRecord,
    ClassicRecord,
    EventRecord,
    InstanceRecord,
    MessageRecord,
    OtherRecord,
)
from harness.capture.etl.tmf import FormatFiles
from harness.capture.etl.tracelog import TraceLog

MOST_NAMES = 4096
"""Provider names that are kept at a time: a guest may make up as many as it likes."""

LONGEST_NAME = 1024
"""Characters of a provider's name that are kept."""

MOST_SYMBOLS = 64
"""Identities of symbol files, and GUIDs of messages without a format file, that are kept of one log."""

How = Literal["tracelogging", "manifest", "event info", "eventsource", "wpp", "kernel", "raw"]


class Decoded(msgspec.Struct, frozen=True):
    """A record in names and values.

    ``how``       what it was decoded by; ``raw`` means that ``values`` is empty and the payload speaks for itself;
    ``values``    by field name, in payload order; ``fields`` describes them, in the same order;
    ``problem``   "" or why the payload did not fit its description (values before that place are kept);
    ``message``   the event's text with its values, "" for an event without one;
    ``reason``    why the event is ``raw``, else "".
    """

    how: How
    provider: str
    event: str
    values: dict[str, Any]
    fields: tuple[Field, ...] = ()
    problem: str = ""
    message: str = ""
    reason: str = ""


class Decoder:
    """Decodes records.

    ``providers`` come from :func:`harness.capture.etl.manifest.load`, ``formats`` are the trace message format files that
    tell the texts of WPP messages. ``symbols`` are the identities of symbol files that the records seen so far name,
    ``formatless`` the messages decoded so far for which no file was given, by their GUID.
    """

    def __init__(self, providers: Iterable[Provider] = (), *, formats: FormatFiles | None = None) -> None:
        self.catalog = Catalog(providers)
        self.symbols: list[str] = []
        self.formatless: dict[bytes, int] = {}
        self._formats = formats if formats is not None else FormatFiles([])
        self._pointer = 8
        self._names: dict[bytes, str] = {}

    def learn(self, log: TraceLog, progress: Callable[[int], None] | None = None) -> None:
        """Take the descriptions that ``log`` holds of its own events; call it once, before decoding begins."""
        self._pointer = log.session.pointer_size
        self.catalog.learn(log, progress)

    def decode(self, record: AnyLogRecord) -> Decoded:
        """Decode one record. Never raises on what a payload holds; BadDocument for a broken format file."""
        if isinstance(record, EventRecord):
            return self._event(record)
        if isinstance(record, MessageRecord):
            return self._message(record)
        if isinstance(record, OtherRecord):
            reason = "a header that carries no description"
            return Decoded("raw", "ETW", f"header type {record.header_type}", {}, reason=reason)
        return self._kernel(record)

    def source(self, record: AnyLogRecord) -> tuple[How, str]:
        """Return by what a record is decoded, and why it stays raw, mostly without reading its payload."""
        if isinstance(record, EventRecord):
            if tracelogging.schema(record) is not None:
                return "tracelogging", ""
            described = self.catalog.find(record.provider, _number(record), record.version)
            if described is not None:
                return described.source, ""
            found = self._undescribed(record)
            return found.how, found.reason
        group = classic.group_of(record)
        if group and classic.layout(group, record.opcode, record.version & 0xFF) is not None:  # type: ignore[union-attr]
            return "kernel", ""
        decoded = self.decode(record)
        return decoded.how, decoded.reason

    def _event(self, record: EventRecord) -> Decoded:
        schema = tracelogging.schema(record)
        if schema is not None:
            values, problem = schema.layout.read(record.payload, record.pointer_size)
            return Decoded(
                "tracelogging", self.provider_name(record), schema.name, values, schema.layout.fields, problem
            )
        described = self.catalog.find(record.provider, _number(record), record.version)
        if described is None:
            return self._undescribed(record)
        event, layout = described.event, described.layout
        values, problem = layout.read(record.payload, record.pointer_size)
        message = ""
        if event.message and not problem:
            shown = [show(value, field) for value, field in zip(values.values(), layout.fields, strict=True)]
            message = manifest.fill(event.message, shown)
        return Decoded(
            described.source, described.provider, event.name, values, layout.fields, problem, message
        )

    def _undescribed(self, record: EventRecord) -> Decoded:
        chunk = catalog.chunk(record)
        if chunk is not None:
            return Decoded("eventsource", self.provider_name(record), "ManifestData", dict(chunk))
        if record.item(EXT_SCHEMA) is not None:
            reason = "the description that the event carries is damaged"
        elif self.catalog.knows(record.provider):
            reason = "the provider's descriptions have no such event or version"
        else:
            reason = "nothing describes the provider"
        return Decoded("raw", self.provider_name(record), f"{record.id}/{record.version}", {}, reason=reason)

    def _message(self, record: MessageRecord) -> Decoded:
        module = self._formats.find(record.provider)
        message = module.messages.get(record.number) if module is not None else None
        name = self.provider_name(record)
        if module is None or message is None:
            reason = (
                "no trace message format for the message's GUID"
                if module is None
                else "the trace message format has no such message"
            )
            if module is None and (record.provider in self.formatless or len(self.formatless) < MOST_SYMBOLS):
                self.formatless[record.provider] = self.formatless.get(record.provider, 0) + 1
            return Decoded("raw", name, f"message {record.number}", {}, reason=reason)
        layout = wpp.layout(module, message)
        values, problem = layout.read(record.payload, wpp.pointer_size(record, self._pointer))
        text = (
            "" if problem and len(values) < len(layout.fields) else wpp.text(module, message, record, values)
        )
        return Decoded("wpp", name, message.place, values, layout.fields, problem, text)

    def _kernel(self, record: ClassicRecord | InstanceRecord | KernelRecord) -> Decoded:
        group = classic.group_of(record)
        if group is None:
            return self._classic(record)  # type: ignore[arg-type]  # every other record has a group
        provider_name = classic.group_name(group, record.opcode)
        name = classic.name(group, record.opcode)
        if group == classic.HEADER and session.is_header(record):
            values = session.header_fields(record)
            if values is not None:
                return Decoded("kernel", provider_name, name, values, session.HEADER_FIELDS[: len(values)])
        if group == classic.HEADER and record.opcode == classic.DBGID:
            self._note_symbols(record.payload)
        version = record.version & 0xFF
        layout = classic.layout(group, record.opcode, version)
        if layout is None:
            reason = (
                "no layout for this version of the kernel event"
                if classic.layout(group, record.opcode, 0xFF)
                else "no layout for this kernel event"
            )
            return Decoded("raw", provider_name, name, {}, reason=reason)
        decoded = _by_layout("kernel", provider_name, name, layout, record.payload, record.pointer_size)
        if decoded.problem and isinstance(record, ClassicRecord | InstanceRecord):
            # The header is as wide as its writer, the payload perhaps as the system that it speaks of.
            other = _by_layout(
                "kernel", provider_name, name, layout, record.payload, 12 - record.pointer_size
            )
            return decoded if other.problem else other
        return decoded

    def _note_symbols(self, payload: bytes) -> None:
        identity = wpp.pdb_identity(payload)
        if identity and identity not in self.symbols and len(self.symbols) < MOST_SYMBOLS:
            self.symbols.append(identity)

    def _classic(self, record: ClassicRecord | InstanceRecord) -> Decoded:
        provider = self.provider_name(record)
        opcode = record.opcode
        if record.provider == classic.LOST_EVENT:
            return Decoded("kernel", provider, classic.lost_name(opcode), {})
        found = classic.merge_event(record)
        if found is not None:
            class_name, name, layout = found
            if layout is None:
                return Decoded("raw", class_name, name, {}, reason="no layout for this event of a merge")
            return _by_layout("kernel", class_name, name, layout, record.payload, self._pointer)
        if record.provider == event_info.METADATA:
            values = event_info.summary(opcode, record.payload)
            if values is not None:
                name = "EventInfo" if opcode == event_info.EVENT_INFO else "EventMapInfo"
                return Decoded("kernel", "KernelTraceControl", name, values)
        described = self.catalog.find(record.provider, opcode, record.version)
        if described is not None:
            layout = described.layout
            return _by_layout(
                described.source,
                described.provider,
                described.event.name,
                layout,
                record.payload,
                self._pointer,
            )
        reason = "nothing describes the classic event's class"
        return Decoded("raw", provider, f"0x{opcode:02x}", {}, reason=reason)

    def provider_name(self, record: AnyLogRecord) -> str:
        """Return the provider's name: from the event itself, a description, the kernel's groups, else its GUID."""
        if isinstance(record, EventRecord):
            known = self._names.get(record.provider)
            if known is None:
                known = tracelogging.provider_name(record) or self.catalog.provider_name(record.provider)
                # A name once learnt is kept: later events of the same provider need not carry it.
                if known:
                    if len(self._names) >= MOST_NAMES:
                        self._names.clear()
                    known = self._names[record.provider] = known[:LONGEST_NAME]
            return known or guid.text(record.provider)
        if isinstance(record, MessageRecord):
            module = self._formats.find(record.provider)
            if module is not None:
                return module.name
            return guid.text(record.provider) if record.provider != guid.NIL else "WPP"
        group = classic.group_of(record)
        if group is not None:
            return classic.group_name(group, getattr(record, "opcode", 0))
        merged = classic.merge_event(record)
        if merged is not None:
            return merged[0]
        if record.provider == classic.LOST_EVENT:
            return "RT_LostEvent"
        if record.provider == event_info.METADATA:
            return "KernelTraceControl"
        return guid.text(record.provider) if record.provider != guid.NIL else "ETW"

    def name(self, record: AnyLogRecord) -> tuple[str, str]:
        """Return the names of a record's provider and event without reading its payload."""
        if isinstance(record, EventRecord):
            schema = tracelogging.schema(record)
            if schema is not None:
                return self.provider_name(record), schema.name
            described = self.catalog.find(record.provider, _number(record), record.version)
            if described is not None:
                return described.provider, described.event.name
            return self.provider_name(record), f"{record.id}/{record.version}"
        group = classic.group_of(record)
        if group is not None and not isinstance(record, MessageRecord | OtherRecord):
            return classic.group_name(group, record.opcode), classic.name(group, record.opcode)
        decoded = self.decode(record)
        return decoded.provider, decoded.event


def _number(record: EventRecord) -> int:
    """Return what finds an event among its provider's: its id, for a classic event in this header its opcode."""
    return record.opcode if record.flags & CLASSIC else record.id


def _by_layout(
    how: How, provider: str, name: str, layout: Layout, payload: bytes, pointer_size: int
) -> Decoded:
    values, problem = layout.read(payload, pointer_size)
    return Decoded(how, provider, name, values, layout.fields, problem)
