# SPDX-License-Identifier: MIT
"""Instrumentation manifests: the XML in which a provider describes its events.

All ordinary manifests that ``mc.exe`` compiles are accepted: several providers, templates with arrays,
structures, lengths and counts by field name, value and bit maps, tasks, opcodes, levels, keywords, and messages
through the string table of one language. Omitted parts take the defaults that Windows documents
(W32:WES/eventmanifestschema-schema.md). XML comes from users: a DOCTYPE is refused, and with it all entities.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from xml.parsers import expat

import msgspec

from harness.capture.etl import guid
from harness.capture.etl.field import Field, InType, OutType
from harness.capture.etl.layout import Layout
from harness.errors import BadDocument, UsageError, system_errors

LARGEST = 64 << 20
"""Bytes of the largest manifest that is read; those of Windows itself stay below 10 MB."""

_IN = {
    "unicodestring": InType.UTF16,
    "ansistring": InType.ANSI,
    "int8": InType.INT8,
    "uint8": InType.UINT8,
    "int16": InType.INT16,
    "uint16": InType.UINT16,
    "int32": InType.INT32,
    "uint32": InType.UINT32,
    "int64": InType.INT64,
    "uint64": InType.UINT64,
    "float": InType.FLOAT,
    "double": InType.DOUBLE,
    "boolean": InType.BOOLEAN,
    "binary": InType.BINARY,
    "guid": InType.GUID,
    "pointer": InType.POINTER,
    "filetime": InType.FILETIME,
    "systemtime": InType.SYSTEMTIME,
    "sid": InType.SID,
    "hexint32": InType.HEX32,
    "hexint64": InType.HEX64,
    "countedunicodestring": InType.COUNTED_UTF16,
    "countedansistring": InType.COUNTED_ANSI,
    "countedbinary": InType.COUNTED_BINARY,
}
_OUT = {
    "win:hexint8": OutType.HEX,
    "win:hexint16": OutType.HEX,
    "win:hexint32": OutType.HEX,
    "win:hexint64": OutType.HEX,
    "win:pid": OutType.PID,
    "win:tid": OutType.TID,
    "win:port": OutType.PORT,
    "win:ipv4": OutType.IPV4,
    "win:ipv6": OutType.IPV6,
    "win:socketaddress": OutType.SOCKET_ADDRESS,
    "win:errorcode": OutType.WIN32_ERROR,
    "win:win32error": OutType.WIN32_ERROR,
    "win:ntstatus": OutType.NTSTATUS,
    "win:hresult": OutType.HRESULT,
    "win:xml": OutType.XML,
    "win:json": OutType.JSON,
    "win:utf8": OutType.UTF8,
    "win:codepointer": OutType.CODE_POINTER,
    "win:datetimeutc": OutType.DATE_TIME_UTC,
    "xs:boolean": OutType.BOOLEAN,
    "xs:string": OutType.STRING,
}
LEVELS = {1: "Critical", 2: "Error", 3: "Warning", 4: "Informational", 5: "Verbose"}
"""Levels that every provider has (winmeta.xml)."""

OPCODES = {
    0: "Info",
    1: "Start",
    2: "Stop",
    3: "DC_Start",
    4: "DC_Stop",
    5: "Extension",
    6: "Reply",
    7: "Resume",
    8: "Suspend",
    9: "Send",
    240: "Receive",
}
"""Opcodes that every provider has (winmeta.xml)."""


class EventDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a provider. ``keywords`` have the manifest's names; ``message`` keeps its ``%1`` …."""

    id: int
    version: int
    name: str
    level: int
    opcode: int
    task: str
    opcode_name: str
    keywords: tuple[str, ...]
    message: str
    fields: tuple[Field, ...]


class Provider:
    """One provider of a manifest: its events by (id, version), each with a layout for reading."""

    def __init__(self, name: str, raw_guid: bytes, events: list[EventDescription]) -> None:
        self.name = name
        self.guid = raw_guid
        self.events = {(event.id, event.version): event for event in events}
        self._layouts: dict[tuple[int, int], Layout] = {}

    def find(self, event_id: int, version: int) -> EventDescription | None:
        """Return the description of an event of exactly this version, or None when the manifest has none."""
        return self.events.get((event_id, version))

    def layout(self, event: EventDescription) -> Layout:
        """Return the layout of an event's payload, made on first use."""
        key = (event.id, event.version)
        if key not in self._layouts:
            self._layouts[key] = Layout(event.fields)
        return self._layouts[key]


@dataclass(slots=True)
class _Element:
    """An XML element without its namespace: the needed parts of a tree, with the line for messages."""

    tag: str
    attributes: dict[str, str]
    line: int
    children: list[_Element] = field(default_factory=list)

    def all(self, *path: str) -> list[_Element]:
        """Return the elements at the end of a path of tags below this one."""
        found = [self]
        for tag in path:
            found = [child for parent in found for child in parent.children if child.tag == tag]
        return found

    def get(self, name: str) -> str:
        return self.attributes.get(name, "")


def _tree(raw: bytes, name: str) -> _Element:
    parser = expat.ParserCreate()
    root = _Element("", {}, 0)
    stack = [root]

    def begin(tag: str, attributes: dict[str, str]) -> None:
        if len(stack) > 64:
            raise BadDocument(f"{name}:{parser.CurrentLineNumber}: elements are nested more than 64 deep")
        element = _Element(tag.rpartition(":")[2], attributes, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)

    def refuse(*_arguments: object) -> int:
        raise BadDocument(
            f"{name}:{parser.CurrentLineNumber}: a manifest with a DOCTYPE is not read",
            hint="Remove the DOCTYPE and any entities; an instrumentation manifest needs neither.",
        )

    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda _tag: stack.pop()
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        raise BadDocument(
            f"{name}:{error.lineno}: not well-formed XML: {expat.ErrorString(error.code)}"
        ) from error
    except (LookupError, ValueError) as error:
        raise BadDocument(f"{name}: its encoding cannot be read: {error}") from error
    return root


class _Reader:
    def __init__(self, name: str, strings: dict[str, str]) -> None:
        self.name = name
        self.strings = strings

    def bad(self, element: _Element, what: str) -> BadDocument:
        return BadDocument(f"{self.name}:{element.line}: <{element.tag}> {what}")

    def integer(self, element: _Element, attribute: str, default: int | None = None) -> int:
        written = element.get(attribute)
        if not written and default is not None:
            return default
        try:
            return int(written, 0)
        except ValueError:
            try:
                return int(written, 10)  # "007" is decimal in a manifest
            except ValueError:
                raise self.bad(element, f"{attribute}={written[:40]!r} is not a number") from None

    def text(self, written: str) -> str:
        match = re.fullmatch(r"\$\(string\.(.+)\)", written)
        return self.strings.get(match[1], written) if match else written

    def maps(self, provider: _Element) -> dict[str, tuple[dict[int, str], bool]]:
        found: dict[str, tuple[dict[int, str], bool]] = {}
        for tag, bits in (("valueMap", False), ("bitMap", True)):
            for element in provider.all("maps", tag):
                labels = {
                    self.integer(one, "value"): self.text(one.get("message")) for one in element.all("map")
                }
                found[element.get("name")] = (labels, bits)
        return found

    def amount(self, element: _Element, attribute: str) -> int | str | None:
        written = element.get(attribute)
        if not written:
            return None
        return self.integer(element, attribute) if written[0].isdigit() else written

    def field(self, element: _Element, maps: dict[str, tuple[dict[int, str], bool]]) -> Field:
        name = element.get("name")
        if not name:
            raise self.bad(element, "has no name")
        count = self.amount(element, "count")
        if element.tag == "struct":
            members = tuple(
                self.field(one, maps) for one in element.children if one.tag in ("data", "struct")
            )
            return Field(name=name, in_type=InType.STRUCT, count=count, members=members)
        written = element.get("inType")
        in_type = _IN.get(written.rpartition(":")[2].lower())
        if in_type is None:
            raise self.bad(element, f"{name!r}: inType {written[:40]!r} is not known")
        out_type = _OUT.get(element.get("outType").lower(), OutType.NULL)
        length = self.amount(element, "length")
        if in_type == InType.BINARY and length is None and out_type == OutType.IPV6:
            length = 16
        labels, bits = maps.get(element.get("map"), ({}, False))
        return Field(
            name=name,
            in_type=in_type,
            out_type=out_type,
            count=count,
            length=length,
            labels=labels,
            bits=bits,
        )

    def named(self, provider: _Element, *path: str) -> dict[str, tuple[int, str]]:
        """Return name -> (value, displayed name) for tasks, opcodes and levels."""
        return {
            one.get("name"): (self.integer(one, "value"), one.get("name").rpartition(":")[2])
            for one in provider.all(*path)
        }

    def event(
        self,
        element: _Element,
        templates: dict[str, tuple[Field, ...]],
        levels: dict[str, tuple[int, str]],
        opcodes: dict[tuple[str, str], int],
    ) -> EventDescription:
        template = element.get("template")
        if template and template not in templates:
            raise self.bad(
                element, f"names the template {template[:60]!r}, which the provider does not define"
            )
        level = element.get("level")
        opcode = element.get("opcode")
        task = element.get("task")
        number = self.integer(element, "value")
        opcode_name = opcode.rpartition(":")[2]
        known = {f"win:{name}": value for value, name in OPCODES.items()}
        known_levels = {f"win:{name}": value for value, name in LEVELS.items()}
        value = opcodes.get((task, opcode), opcodes.get(("", opcode), known.get(opcode, 0)))
        symbol = element.get("symbol")
        name = "/".join(part for part in (task.rpartition(":")[2], opcode_name) if part)
        return EventDescription(
            id=number,
            version=self.integer(element, "version", 0),
            name=symbol or name or f"event {number}",
            level=levels[level][0] if level in levels else known_levels.get(level, 0),
            opcode=value,
            task=task.rpartition(":")[2],
            opcode_name=opcode_name,
            keywords=tuple(element.get("keywords").split()),
            message=self.text(element.get("message")),
            fields=templates.get(template, ()),
        )

    def provider(self, element: _Element) -> Provider:
        name = element.get("name") or element.get("symbol")
        try:
            raw_guid = guid.parse(element.get("guid"))
        except ValueError as error:
            raise self.bad(element, f"{name!r}: {error}") from error
        maps = self.maps(element)
        templates = {
            one.get("tid"): tuple(
                self.field(child, maps) for child in one.children if child.tag in ("data", "struct")
            )
            for one in element.all("templates", "template")
        }
        opcodes = {
            ("", one.get("name")): self.integer(one, "value") for one in element.all("opcodes", "opcode")
        }
        for task in element.all("tasks", "task"):
            for one in task.all("opcodes", "opcode"):
                opcodes[task.get("name"), one.get("name")] = self.integer(one, "value")
        levels = self.named(element, "levels", "level")
        events = [self.event(one, templates, levels, opcodes) for one in element.all("events", "event")]
        return Provider(name, raw_guid, events)


def parse(raw: bytes, name: str) -> list[Provider]:
    """Read the providers of a manifest; messages call it ``name``. Raises BadDocument with file:line."""
    root = _tree(raw, name)
    strings: dict[str, str] = {}
    # The first language wins: its author probably wrote in it.
    for resources in root.all("instrumentationManifest", "localization", "resources"):
        for one in resources.all("stringTable", "string"):
            strings.setdefault(one.get("id"), one.get("value"))
    reader = _Reader(name, strings)
    elements = root.all("instrumentationManifest", "instrumentation", "events", "provider")
    if not elements:
        raise BadDocument(
            f"{name}: no <provider> under instrumentationManifest/instrumentation/events",
            hint="Give the instrumentation manifest (.man) that the driver's build passes to mc.exe.",
        )
    return [reader.provider(one) for one in elements]


def load(path: Path) -> list[Provider]:
    """Read a manifest file. Raises UsageError when it cannot be opened, BadDocument when it cannot be used."""
    with (
        system_errors(str(path), hint="Name an instrumentation manifest (.man).", kind=UsageError),
        path.open("rb") as file,
    ):
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise BadDocument(f"{path}: larger than the {LARGEST >> 20} MB that a manifest may have")
    return parse(raw, str(path))


_INSERT = re.compile(r"%(\d{1,2}|[ntbr%])(![^!]*!)?")
_PLAIN = {"n": "\n", "t": "\t", "b": " ", "r": "\r", "%": "%"}


@lru_cache(maxsize=4096)
def pieces(message: str) -> tuple[tuple[str, int], ...]:
    """Return the parts of a message: text with 0, or an insert as written with its number."""
    found: list[tuple[str, int]] = []
    at = 0
    for match in _INSERT.finditer(message):
        if match.start() > at:
            found.append((message[at : match.start()], 0))
        found.append((match[0], int(match[1])) if match[1].isdigit() else (_PLAIN[match[1]], 0))
        at = match.end()
    if at < len(message):
        found.append((message[at:], 0))
    return tuple(found)


def fill(message: str, count: int, shown: Callable[[int], str]) -> str:
    """Put ``count`` values into a message's ``%1`` … (W32:Msg, FormatMessage). An insert without a value stays unchanged.

    ``shown`` returns a value that the message names, by its number from 0 on.
    """
    return "".join(shown(number - 1) if 0 < number <= count else text for text, number in pieces(message))
