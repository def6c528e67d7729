# SPDX-License-Identifier: MIT
"""Decodes a record to names and values: by its own description, one of the log or the user, as a kernel event, or raw.

A log limits what is known of its events: :meth:`Decoder.learn` takes its own descriptions of them
before the first is decoded. An event that stays raw has a ``reason``. There are few different reasons, so they can
be counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

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
from harness.capture.etl.tmf import FormatFiles, MessageFormat, Module
from harness.capture.etl.tracelog import TraceLog

MOST_NAMES = 4096
"""Provider names that are kept at a time. A guest may invent any number."""

LONGEST_NAME = 1024
"""Characters of a provider's name that are kept."""

MOST_SYMBOLS = 64
"""Identities of symbol files, and GUIDs of messages without a format file, that are kept of one log."""

How = Literal["tracelogging", "manifest", "event info", "eventsource", "wpp", "kernel", "raw"]


class Decoded(msgspec.Struct, frozen=True):
    """A record as names and values.

    ``how``       the source of the description; ``raw`` means that ``values`` is empty and only the payload is known;
    ``values``    by field name, in payload order; ``fields`` describes them, in the same order;
    ``problem``   why the payload did not fit its description (values before that place are kept), or "";
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


class DecodingPlan(NamedTuple):
    """How records of one kind are decoded: by a layout, with pointers of ``pointer`` bytes, or not at all.

    ``message`` has inserts for the values. ``reason`` says why the records stay raw. ``either_width``: the payload may
    have the other kind of pointers.
    """

    how: How
    provider: str
    event: str
    layout: Layout | None = None
    pointer: int = 8
    message: str = ""
    reason: str = ""
    either_width: bool = False


class Decoder:
    """Decodes records.

    ``providers`` come from :func:`harness.capture.etl.manifest.load`. ``formats`` are the trace message format files with
    the texts of WPP messages. ``symbols`` are the identities of symbol files that the records seen so far name.
    ``formatless`` are the messages decoded so far for which no file was given, by their GUID. ``renamings`` grows when a
    provider that had only a GUID gets a name: earlier plans are then outdated.
    """

    def __init__(self, providers: Iterable[Provider] = (), *, formats: FormatFiles | None = None) -> None:
        self.catalog = Catalog(providers)
        self.symbols: list[str] = []
        self.formatless: dict[bytes, int] = {}
        self._formats = formats if formats is not None else FormatFiles([])
        self._pointer = 8
        self.renamings = 0
        self._names: dict[bytes, str] = {}
        self._nameless: set[bytes] = set()

    def learn(self, log: TraceLog, progress: Callable[[int], None] | None = None) -> None:
        """Take the descriptions that ``log`` has of its own events. Call it once, before decoding begins."""
        self._pointer = log.session.pointer_size
        self.catalog.learn(log, progress)

    def decode(self, record: AnyLogRecord) -> Decoded:
        """Decode one record. No payload makes it raise; raises BadDocument for a broken format file."""
        plan = self.plan(record)
        return self._alone(record) if plan is None else _by(plan, record)

    def plan(self, record: AnyLogRecord) -> DecodingPlan | None:
        """Return how a record and all others of its kind are decoded; None if each record must be examined.

        Records of one kind have the same header, pointer size, class or provider, id or opcode, version
        and task, description of their own and traits. A name that is learned later may change a plan.
        """
        if isinstance(record, EventRecord):
            return self._event(record)
        if isinstance(record, MessageRecord):
            return None
        if isinstance(record, OtherRecord):
            reason = "a header that carries no description"
            return DecodingPlan("raw", "ETW", f"header type {record.header_type}", reason=reason)
        group = classic.group_of(record)
        if group is None:
            return self._classic(record)  # type: ignore[arg-type]  # every other record has a group
        if group == classic.HEADER and (session.is_header(record) or record.opcode == classic.DBGID):
            return None
        return _kernel(group, record)

    def source(self, record: AnyLogRecord) -> tuple[How, str]:
        """Return the source of a record's description, and why it stays raw, mostly without reading its payload."""
        if isinstance(record, MessageRecord):
            found, reason = self._format(record)
            if found is None:
                self._note_formatless(record)
            return ("raw" if found is None else "wpp"), reason
        known = self.plan(record) or self._alone(record)
        return known.how, known.reason

    def _event(self, record: EventRecord) -> DecodingPlan | None:
        schema = tracelogging.schema(record)
        if schema is not None:
            name = self.provider_name(record)
            return DecodingPlan("tracelogging", name, schema.name, schema.layout, record.pointer_size)
        described = self.catalog.find(record.provider, _number(record), record.version)
        if described is not None:
            event, layout = described.event, described.layout
            provider, pointer = described.provider, record.pointer_size
            return DecodingPlan(described.source, provider, event.name, layout, pointer, event.message)
        return None if record.id == catalog.MANIFEST_EVENT == record.task else self._undescribed(record)

    def _undescribed(self, record: EventRecord) -> DecodingPlan:
        if record.item(EXT_SCHEMA) is not None:
            reason = "the description that the event carries is damaged"
        elif self.catalog.knows(record.provider):
            reason = "the provider's descriptions have no such event or version"
        else:
            reason = "nothing describes the provider"
        return DecodingPlan("raw", self.provider_name(record), f"{record.id}/{record.version}", reason=reason)

    def _classic(self, record: ClassicRecord | InstanceRecord) -> DecodingPlan | None:
        if record.provider == classic.LOST_EVENT:
            return DecodingPlan("kernel", self.provider_name(record), classic.lost_name(record.opcode))
        found = classic.merge_event(record)
        if found is not None:
            class_name, name, layout = found
            if layout is None:
                return DecodingPlan("raw", class_name, name, reason="no layout for this event of a merge")
            return DecodingPlan("kernel", class_name, name, layout, self._pointer)
        return None if record.provider == event_info.METADATA else self._described(record)

    def _described(self, record: ClassicRecord | InstanceRecord) -> DecodingPlan:
        found = self.catalog.find(record.provider, record.opcode, record.version)
        if found is not None:
            return DecodingPlan(found.source, found.provider, found.event.name, found.layout, self._pointer)
        reason = "nothing describes the classic event's class"
        return DecodingPlan("raw", self.provider_name(record), f"0x{record.opcode:02x}", reason=reason)

    def _alone(self, record: AnyLogRecord) -> Decoded:
        """Decode a record that has no plan: a message, a description of events, the log's header, a symbol identity."""
        if isinstance(record, MessageRecord):
            return self._message(record)
        if isinstance(record, EventRecord):
            chunk = catalog.chunk(record)
            if chunk is None:
                return _by(self._undescribed(record), record)
            return Decoded("eventsource", self.provider_name(record), "ManifestData", dict(chunk))
        if isinstance(record, ClassicRecord | InstanceRecord) and record.provider == event_info.METADATA:
            summary = event_info.summary(record.opcode, record.payload)
            if summary is None:
                return _by(self._described(record), record)
            name = "EventInfo" if record.opcode == event_info.EVENT_INFO else "EventMapInfo"
            return Decoded("kernel", "KernelTraceControl", name, summary)
        return self._header(record)  # type: ignore[arg-type]  # every other record without a plan is of that group

    def _header(self, record: ClassicRecord | InstanceRecord | KernelRecord) -> Decoded:
        plan = _kernel(classic.HEADER, record)
        values = session.header_fields(record) if session.is_header(record) else None
        if values is not None:
            fields = session.HEADER_FIELDS[: len(values)]
            return Decoded("kernel", plan.provider, plan.event, values, fields)
        if record.opcode == classic.DBGID:
            self._note_symbols(record.payload)
        return _by(plan, record)

    def _note_symbols(self, payload: bytes) -> None:
        identity = wpp.pdb_identity(payload)
        if identity and identity not in self.symbols and len(self.symbols) < MOST_SYMBOLS:
            self.symbols.append(identity)

    def _format(self, record: MessageRecord) -> tuple[tuple[Module, MessageFormat] | None, str]:
        """Return the format of a message, or None and the reason."""
        module = self._formats.find(record.provider)
        if module is None:
            return None, "no trace message format for the message's GUID"
        message = module.messages.get(record.number)
        return (
            (None, "the trace message format has no such message")
            if message is None
            else ((module, message), "")
        )

    def _note_formatless(self, record: MessageRecord) -> None:
        """Count a message for which there is no format file."""
        known, message_guid = self.formatless, record.provider
        if self._formats.find(message_guid) is None and (message_guid in known or len(known) < MOST_SYMBOLS):
            known[message_guid] = known.get(message_guid, 0) + 1

    def _message(self, record: MessageRecord) -> Decoded:
        found, reason = self._format(record)
        name = self.provider_name(record)
        if found is None:
            self._note_formatless(record)
            return Decoded("raw", name, f"message {record.number}", {}, reason=reason)
        module, message = found
        layout = wpp.layout(module, message)
        values, problem = layout.read(record.payload, wpp.pointer_size(record, self._pointer))
        cut = problem and len(values) < len(layout.fields)
        text = "" if cut else wpp.text(module, message, record, values)
        return Decoded("wpp", name, message.place, values, layout.fields, problem, text)

    def provider_name(self, record: AnyLogRecord) -> str:
        """Return the provider's name: from the event itself, a description, the kernel's groups, otherwise its GUID."""
        if isinstance(record, EventRecord):
            known = self._names.get(record.provider)
            if known is None:
                known = tracelogging.provider_name(record) or self.catalog.provider_name(record.provider)
                # A learned name is kept: later events of the same provider need not carry it.
                if known:
                    known = known[:LONGEST_NAME]
                    if len(self._names) < MOST_NAMES:
                        self._names[record.provider] = known
                        self.renamings += (
                            record.provider in self._nameless or len(self._nameless) >= MOST_NAMES
                        )
                elif len(self._nameless) < MOST_NAMES:
                    self._nameless.add(record.provider)
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
        """Return the names of a record's provider and event, mostly without reading its payload."""
        if isinstance(record, MessageRecord):
            found, _reason = self._format(record)
            event = f"message {record.number}" if found is None else found[1].place
            return self.provider_name(record), event
        known = self.plan(record) or self._alone(record)
        return known.provider, known.event


def _kernel(group: int, record: ClassicRecord | InstanceRecord | KernelRecord) -> DecodingPlan:
    provider, name = classic.group_name(group, record.opcode), classic.name(group, record.opcode)
    layout = classic.layout(group, record.opcode, record.version & 0xFF)
    if layout is None:
        reason = (
            "no layout for this version of the kernel event"
            if classic.layout(group, record.opcode, 0xFF)
            else "no layout for this kernel event"
        )
        return DecodingPlan("raw", provider, name, reason=reason)
    # The header's pointers have the size of its writer's, the payload's perhaps that of the system that it describes.
    either = isinstance(record, ClassicRecord | InstanceRecord)
    return DecodingPlan("kernel", provider, name, layout, record.pointer_size, either_width=either)


def _by(plan: DecodingPlan, record: AnyLogRecord) -> Decoded:
    """Decode a record by its plan."""
    layout = plan.layout
    if layout is None:
        return Decoded(plan.how, plan.provider, plan.event, {}, reason=plan.reason)
    values, problem = layout.read(record.payload, plan.pointer)
    if problem and plan.either_width:
        others, trouble = layout.read(record.payload, 12 - plan.pointer)
        if not trouble:
            values, problem = others, ""
    message = ""
    if plan.message and not problem:
        found = list(values.values())
        message = manifest.fill(
            plan.message, len(found), lambda number: show(found[number], layout.fields[number])
        )
    return Decoded(plan.how, plan.provider, plan.event, values, layout.fields, problem, message)


def _number(record: EventRecord) -> int:
    """Return the number that identifies an event within its provider: its id, or the opcode of a classic event."""
    return record.opcode if record.flags & CLASSIC else record.id
