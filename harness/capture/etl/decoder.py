# SPDX-License-Identifier: MIT
"""From a record to names and values: by its own description, by a manifest, as a kernel event, or raw."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from harness.capture.etl import classic, clock, guid, manifest, session, tracelogging
from harness.capture.etl.field import Field, InType, OutType, SystemTime
from harness.capture.etl.manifest import Provider
from harness.capture.etl.record import (
    AnyLogRecord,
    ClassicRecord,
    EventRecord,
    InstanceRecord,
    MessageRecord,
    OtherRecord,
)

MOST_NAMES = 4096
"""Provider names that are kept at a time: a guest may make up as many as it likes."""

LONGEST_NAME = 1024
"""Characters of a provider's name that are kept."""

How = Literal["tracelogging", "manifest", "kernel", "raw"]


class Decoded(msgspec.Struct, frozen=True):
    """A record in names and values.

    ``how``       what it was decoded by; ``raw`` means that ``values`` is empty and the payload speaks for itself;
    ``values``    by field name, in payload order; ``fields`` describes them, in the same order;
    ``problem``   "" or why the payload did not fit its description (values before that place are kept).
    """

    how: How
    provider: str
    event: str
    values: dict[str, Any]
    fields: tuple[Field, ...] = ()
    problem: str = ""
    message: str = ""


class Decoder:
    """Decodes records; ``providers`` come from :func:`harness.capture.etl.manifest.load`."""

    def __init__(self, providers: Iterable[Provider] = ()) -> None:
        self._providers = {provider.guid: provider for provider in providers}
        self._names: dict[bytes, str] = {}

    def decode(self, record: AnyLogRecord) -> Decoded:
        """Decode one record. Never raises on what a payload holds."""
        if isinstance(record, EventRecord):
            return self._event(record)
        if isinstance(record, MessageRecord):
            provider = guid.text(record.provider) if record.provider != guid.NIL else "WPP"
            return Decoded("raw", provider, f"message {record.number}", {})
        if isinstance(record, OtherRecord):
            return Decoded("raw", "ETW", f"header type {record.header_type}", {})
        return self._kernel(record)

    def _event(self, record: EventRecord) -> Decoded:
        schema = tracelogging.schema(record)
        if schema is not None:
            values, problem = schema.layout.read(record.payload, record.pointer_size)
            return Decoded(
                "tracelogging", self.provider_name(record), schema.name, values, schema.layout.fields, problem
            )
        provider = self._providers.get(record.provider)
        event = provider.find(record.id, record.version) if provider is not None else None
        if provider is None or event is None:
            return Decoded("raw", self.provider_name(record), f"{record.id}/{record.version}", {})
        layout = provider.layout(event)
        values, problem = layout.read(record.payload, record.pointer_size)
        message = ""
        if event.message and not problem:
            shown = [show(value, field) for value, field in zip(values.values(), layout.fields, strict=True)]
            message = manifest.fill(event.message, shown)
        return Decoded("manifest", provider.name, event.name, values, layout.fields, problem, message)

    def _kernel(self, record: AnyLogRecord) -> Decoded:
        if isinstance(record, ClassicRecord | InstanceRecord) and record.provider == classic.LOST_EVENT:
            return Decoded("kernel", "RT_LostEvent", classic.lost_name(record.opcode), {})
        group = classic.group_of(record)
        if group is None or isinstance(record, EventRecord | MessageRecord | OtherRecord):
            provider = guid.text(record.provider)
            return Decoded("raw", provider, f"0x{getattr(record, 'opcode', 0):02x}", {})
        provider_name = classic.group_name(group, record.opcode)
        name = classic.name(group, record.opcode)
        if session.is_header(record):
            found = session.decode(record)
            if found is not None:
                return Decoded("kernel", provider_name, name, msgspec.structs.asdict(found))
        layout = classic.layout(group, record.opcode, record.version & 0xFF)
        if layout is None:
            return Decoded("raw", provider_name, name, {})
        values, problem = layout.read(record.payload, record.pointer_size)
        return Decoded("kernel", provider_name, name, values, layout.fields, problem)

    def provider_name(self, record: AnyLogRecord) -> str:
        """Return the provider's name: from the event itself, a manifest, the kernel's groups, else its GUID."""
        if isinstance(record, EventRecord):
            known = self._names.get(record.provider)
            if known is None:
                provider = self._providers.get(record.provider)
                known = tracelogging.provider_name(record) or (provider.name if provider is not None else "")
                # A name once learnt is kept: later events of the same provider need not carry it.
                if known:
                    if len(self._names) >= MOST_NAMES:
                        self._names.clear()
                    self._names[record.provider] = known[:LONGEST_NAME]
            return known or guid.text(record.provider)
        group = classic.group_of(record)
        if group is not None:
            return classic.group_name(group, getattr(record, "opcode", 0))
        if record.provider == classic.LOST_EVENT:
            return "RT_LostEvent"
        if isinstance(record, MessageRecord) and record.provider == guid.NIL:
            return "WPP"
        return guid.text(record.provider) if record.provider != guid.NIL else "ETW"

    def name(self, record: AnyLogRecord) -> tuple[str, str]:
        """Return the names of a record's provider and event without reading its payload."""
        if isinstance(record, EventRecord):
            schema = tracelogging.schema(record)
            if schema is not None:
                return self.provider_name(record), schema.name
            provider = self._providers.get(record.provider)
            event = provider.find(record.id, record.version) if provider is not None else None
            return self.provider_name(
                record
            ), event.name if event is not None else f"{record.id}/{record.version}"
        group = classic.group_of(record)
        if group is not None and not isinstance(record, MessageRecord | OtherRecord):
            return classic.group_name(group, record.opcode), classic.name(group, record.opcode)
        decoded = self.decode(record)
        return decoded.provider, decoded.event


def show(value: Any, field: Field | None = None) -> str:
    """Return a value as people read it, by its field's out-type; nothing is shortened or escaped."""
    if field is not None and field.labels and isinstance(value, int):
        return _label(value, field)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, SystemTime):
        return value.iso()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return "[" + ", ".join(show(one, field) for one in value) + "]"
    if isinstance(value, dict):
        members = field.members if field is not None else ()
        named = {one.name: one for one in members}
        return "{" + ", ".join(f"{name}={show(one, named.get(name))}" for name, one in value.items()) + "}"
    if isinstance(value, int) and field is not None:
        return _integer(value, field)
    return "" if value is None else str(value)


_HEX_OUT = frozenset({OutType.HEX, OutType.NTSTATUS, OutType.HRESULT, OutType.CODE_POINTER})
_HEX_IN = frozenset({InType.HEX32, InType.HEX64, InType.POINTER})


def _integer(value: int, field: Field) -> str:
    if field.in_type == InType.FILETIME:
        return clock.iso(value)
    if field.out_type in (OutType.NTSTATUS, OutType.HRESULT):
        return f"0x{value & 0xFFFFFFFF:08X}"
    if field.out_type in _HEX_OUT or field.in_type in _HEX_IN:
        return hex(value)
    return str(value)


def _label(value: int, field: Field) -> str:
    if not field.bits:
        return field.labels.get(value, str(value))
    names = [name for bit, name in field.labels.items() if bit and value & bit == bit]
    rest = value
    for bit in field.labels:
        rest &= ~bit
    return "|".join(names + ([hex(rest)] if rest else [])) or "0"
