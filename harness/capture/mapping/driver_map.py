# SPDX-License-Identifier: MIT
"""The driver map: assigns a driver's own trace events to the harness's records (TOML).

::

    driver = "tiny"                                    # its name in records and verdicts
    service = "tiny"                                   # on Windows: the service that loads it, if its name differs
    provider = "{b7d5…}"                               # of the events; or manifest = "tiny.man", beside the map

    [[event]]
    id = 1                                             # or name = "Change", for TraceLogging
    record = "sync.enter"
    payload = { State = "uint32", NtNumber = "uint32" }  # only where neither a manifest nor the event describes it
    fields = { state = "State", nt = "NtNumber" }      # the record's field = the event's
    values = { reg = 1 }                               # constants

The fields that every event has (its processor, thread, time and order) need no mapping. Of the others, :data:`NEEDED` must
be mapped. A field that is not mapped is absent: rules that read it do not apply.
"""

from __future__ import annotations

import shutil
import typing
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec

from harness.capture.etl import guid, manifest
from harness.capture.etl.field import Field, InType
from harness.capture.etl.layout import Layout
from harness.capture.etl.manifest import Provider
from harness.choice import suggest
from harness.config import decode_toml, line_of, read_document
from harness.errors import BadDocument, system_errors
from harness.history.absent import OPTIONAL, SAMPLED
from harness.history.driver import AnyDriverRecord, DriverRecord, Hello
from harness.history.run_directory import DRIVER_MAP

KINDS: dict[str, type[DriverRecord]] = {
    str(kind.__struct_config__.tag): kind for kind in typing.get_args(AnyDriverRecord) if kind is not Hello
}
"""The kinds of record that an event may become. The first record, hello, is made from the log itself."""

FROM_EVENT = frozenset({"n", "host_ns", "channel", "qpc", "boot", "driver", "cpu", "thread"})
"""Fields that come with any event."""

DERIVED = frozenset({"seq", "enter", "reg"})
"""Fields that are derived where they are not mapped: the order, the record that an exit ends, the only registration."""

PAYLOAD = {
    "int8": InType.INT8, "uint8": InType.UINT8, "int16": InType.INT16, "uint16": InType.UINT16, "int32": InType.INT32,
    "uint32": InType.UINT32, "int64": InType.INT64, "uint64": InType.UINT64, "boolean": InType.BOOLEAN, "pointer": InType.POINTER,
    "guid": InType.GUID, "utf16": InType.UTF16, "ansi": InType.ANSI, "counted-utf16": InType.COUNTED_UTF16,
    "counted-ansi": InType.COUNTED_ANSI,
}  # fmt: skip
"""Types of fields that a map may describe itself."""


@cache
def own_fields(kind: str) -> dict[str, Any]:
    """Return a record's fields that a map may name: name -> type."""
    return {
        field.name: field.type
        for field in msgspec.structs.fields(KINDS[kind])
        if field.name not in FROM_EVENT - {"cpu", "thread"}
    }


@cache
def record_fields(kind: str) -> tuple[tuple[str, type, bool], ...]:
    """Return the same fields in the record's order, with name, type, and whether the record must have it."""
    own = own_fields(kind)
    return tuple(
        (field.name, field.type, field.required)
        for field in msgspec.structs.fields(KINDS[kind])
        if field.name in own
    )


def absent(kind: str, mapped: set[str]) -> list[str]:
    """Return the fields of a record that have no source, if ``mapped`` are mapped."""
    may = SAMPLED | OPTIONAL.get(kind, frozenset())
    return sorted(name for name in own_fields(kind) if name in may and name not in mapped)


class EventMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event and the record that it becomes."""

    record: str
    id: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    version: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    name: str = ""
    payload: dict[str, str] = {}
    fields: dict[str, str] = {}
    values: dict[str, int | str] = {}


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    driver: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    event: Annotated[list[EventMap], msgspec.Meta(min_length=1, max_length=1000)]
    provider: str = ""
    manifest: str = ""
    service: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{0,64}$")] = ""


class DriverMap(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded map. ``provider`` has the GUID's 16 bytes, ``described`` is the manifest's provider, if there is one.

    ``layouts`` are those that the map itself describes, by the event's place in ``events``. ``service`` is the Windows
    service that loads the driver, "" for one named as the driver.
    """

    driver: str
    provider: bytes
    events: list[EventMap]
    described: Provider | None
    layouts: dict[int, Layout]
    files: list[Path]
    service: str = ""

    def absent(self) -> dict[str, list[str]]:
        """Return the absent fields by kind of record. A field that only some events give counts as absent."""
        found: dict[str, set[str]] = {"hello": set(SAMPLED)}
        for event in self.events:
            found.setdefault(event.record, set()).update(absent(event.record, {*event.fields, *event.values}))
        return {kind: sorted(names) for kind, names in found.items()}


def keep(kept: DriverMap, directory: Path) -> None:
    """Copy the map and its manifest to a run directory, so that the run's logs can be read without the driver's folder.

    Raises InfrastructureError.
    """
    with system_errors(f"cannot keep the driver's map in {directory}"):
        place = directory / DRIVER_MAP
        place.parent.mkdir(mode=0o700)
        for file in kept.files:
            shutil.copyfile(file, place if file is kept.files[0] else place.with_name(file.name))


def kept_in(directory: Path) -> Path | None:
    """Return the map that a run directory keeps, or None if there is none."""
    file = directory / DRIVER_MAP
    return file if file.is_file() else None


def load(path: Path) -> DriverMap:
    """Read a map. Raises BadDocument with file:line, and UsageError for a missing manifest."""
    text = read_document(path)
    return decode(text, name=str(path), folder=path.parent, path=path)


def decode(text: str, *, name: str, folder: Path, path: Path | None = None) -> DriverMap:
    """Decode a map, called ``name`` in messages, whose manifest is in ``folder``. Raises BadDocument."""
    document = decode_toml(text, _Document, name=name)

    def bad(steps: list[Any], what: str, hint: str = "") -> BadDocument:
        return BadDocument(f"{name}:{line_of(text, steps)}: {what}", hint=hint)

    described = None
    files = [path] if path is not None else []
    if document.manifest:
        there = folder / document.manifest
        files.append(there if there.exists() else folder / Path(document.manifest).name)
        described = _described(document, files[-1], bad)
    try:
        raw = guid.parse(document.provider) if document.provider else described.guid if described else b""
    except ValueError as error:
        raise bad(["provider"], str(error)) from error
    if not raw:
        raise bad([], "neither provider nor manifest says whose events are meant", 'provider = "{GUID}"')
    layouts: dict[int, Layout] = {}
    for index, event in enumerate(document.event):
        _check(event, index, bad)
        if event.payload:
            layouts[index] = _layout(event, index, bad)
        else:
            _check_names(event, index, described, bad)
    return DriverMap(
        driver=document.driver, provider=raw, events=document.event, described=described, layouts=layouts, files=files,
        service=document.service,
    )  # fmt: skip


def _described(document: _Document, file: Path, bad: Any) -> Provider:
    providers = manifest.load(file)
    if document.provider:
        providers = [
            one for one in providers if guid.text(one.guid) == document.provider.strip("{} ").lower()
        ]
    if len(providers) != 1:
        raise bad(["manifest"], f"{file} describes {len(providers)} providers that may be meant, not one",
                  "provider = \"{GUID}\" says which.")  # fmt: skip
    return providers[0]


def _check(event: EventMap, index: int, bad: Any) -> None:
    """Refuse an event that cannot become its record."""
    where = ["event", index]
    if event.record not in KINDS:
        raise bad([*where, "record"], f"no record is called {event.record!r}", suggest(event.record, KINDS))
    if (event.id is None) == (not event.name):
        raise bad(where, "an event is named by its id, or by its name (TraceLogging), and not by both")
    known = own_fields(event.record)
    for table in ("fields", "values"):
        for field in getattr(event, table):
            if field not in known:
                raise bad([*where, table], f"{event.record} has no field {field!r}", suggest(field, known))
    twice = sorted(event.fields.keys() & event.values.keys())
    if twice:
        raise bad([*where, "values"], f"{twice[0]!r} is mapped twice")
    for field, value in event.values.items():
        if isinstance(value, int) != (known[field] is int):
            raise bad(
                [*where, "values"],
                f"{field!r} is {'a number' if known[field] is int else 'text'}, not {value!r}",
            )
    may_lack = SAMPLED | OPTIONAL.get(event.record, frozenset()) | DERIVED | {"cpu", "thread"}
    call = event.values.get("call", "")
    if not (event.record == "call.exit" and call == "reg_sync"):
        may_lack |= {"handle"}
    if not (event.record == "call.enter" and call in ("reg_sync", "reg_async")):
        may_lack |= {"flags"}
    if not (event.record == "call.enter" and call == "reg_async"):
        may_lack |= {"cls"}
    missing = [field for field in known if field not in may_lack and field not in event.fields | event.values]
    if missing:
        raise bad([*where, "record"], f"{event.record} needs {', '.join(missing)}",
                  "Name the event's field in `fields`, or what it always is in `values`.")  # fmt: skip


def _layout(event: EventMap, index: int, bad: Any) -> Layout:
    for kind in event.payload.values():
        if kind not in PAYLOAD:
            raise bad(["event", index, "payload"], f"no type is called {kind!r}", suggest(kind, PAYLOAD))
    _check_sources(event, index, set(event.payload), bad)
    return Layout(tuple(Field(name=name, in_type=PAYLOAD[kind]) for name, kind in event.payload.items()))


def _check_names(event: EventMap, index: int, described: Provider | None, bad: Any) -> None:
    """Check an event without a payload of its own against the manifest. A TraceLogging event describes itself."""
    if event.name:
        return
    if described is None:
        raise bad(["event", index], f"nothing describes the payload of event {event.id}",
                  "Give the manifest, or payload = { Name = \"uint32\", … } in the order of the event.")  # fmt: skip
    versions = [one for one in described.events.values() if one.id == event.id]
    if event.version is not None:
        versions = [one for one in versions if one.version == event.version]
    if not versions:
        raise bad(["event", index, "id"], f"the manifest has no event {event.id}")
    for one in versions:
        _check_sources(event, index, {field.name for field in one.fields}, bad)


def _check_sources(event: EventMap, index: int, known: set[str], bad: Any) -> None:
    for source in event.fields.values():
        if source not in known:
            raise bad(
                ["event", index, "fields"],
                f"the event has no field {source!r}",
                suggest(source, sorted(known)),
            )
