# SPDX-License-Identifier: MIT
"""The model of a manifest: its providers with all references resolved, ready to be written.

Objects are compared by identity: two equal definitions are distinct.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.driver.instrumentation.source import Element


@dataclass(eq=False, slots=True)
class LocalizedMessage:
    """A string of the string table: ``texts`` by culture, ``number`` in the message table, None while it is unused."""

    key: str
    texts: dict[str, str]
    number: int | None = None
    fixed: bool = False
    """Its number is the manifest's (``messageTable``)."""


@dataclass(eq=False, slots=True)
class ChannelDefinition:
    """A channel. ``kind`` is Admin, Operational, Analytic or Debug, "" for a channel of another manifest.

    ``bit`` is the keyword that its events carry besides their own, 0 for a log of Windows that is not imported.
    """

    name: str
    chid: str
    value: int
    kind: str
    message: LocalizedMessage | None
    imported: bool
    bit: int = 0
    classic: bool = False


@dataclass(eq=False, slots=True)
class NamedDefinition:
    """A definition to which events refer by its name."""

    name: str
    value: int
    message: LocalizedMessage | None


@dataclass(eq=False, slots=True)
class LevelDefinition(NamedDefinition):
    """A level."""


@dataclass(eq=False, slots=True)
class OpcodeDefinition(NamedDefinition):
    """An opcode, of one task (its value) or of the whole provider (0)."""

    task: int = 0


@dataclass(eq=False, slots=True)
class TaskDefinition(NamedDefinition):
    """A task, with its own opcodes by (namespace, name). ``guid`` is b"" or 16 bytes."""

    guid: bytes = b""
    opcodes: dict[tuple[str, str], OpcodeDefinition] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class KeywordDefinition(NamedDefinition):
    """A keyword. Its value is a mask with one bit, or that of Windows' own AnyKeyword without one."""


@dataclass(eq=False, slots=True)
class MapDefinition:
    """A value map or a bit map: ``items`` has (value, text) in the manifest's order."""

    name: str
    bits: bool
    items: list[tuple[int, LocalizedMessage]]


@dataclass(eq=False, slots=True)
class PatternMapDefinition:
    """A named query: ``items`` has (name, value) in the manifest's order."""

    name: str
    format: str
    items: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Extent:
    """A length or a count: ``fixed``, or the value of the field with the index ``reference``; 0 and None for none."""

    fixed: int = 0
    reference: int | None = None

    @property
    def given(self) -> bool:
        """Whether a length or count is given."""
        return bool(self.fixed) or self.reference is not None


NO_EXTENT = Extent()


@dataclass(eq=False, slots=True)
class FieldDefinition:
    """A field of a template; ``members`` are a structure's fields, whose references are indexes among themselves."""

    name: str
    in_type: int
    out_type: int
    length: Extent = NO_EXTENT
    count: Extent = NO_EXTENT
    map: MapDefinition | None = None
    members: list[FieldDefinition] | None = None


@dataclass(eq=False, slots=True)
class TemplateDefinition:
    """The fields of an event, and the XML for rendering it: an element of the user's, or None for EventData."""

    tid: str
    name: str
    fields: list[FieldDefinition]
    user_data: Element | None


@dataclass(eq=False, slots=True)
class FilterDefinition:
    """A filter."""

    name: str
    value: int
    version: int
    template: TemplateDefinition | None
    message: LocalizedMessage | None


@dataclass(eq=False, slots=True)
class EventDefinition:
    """An event with all its references."""

    value: int
    version: int
    channel: ChannelDefinition | None
    level: LevelDefinition | None
    opcode: OpcodeDefinition | None
    task: TaskDefinition | None
    keywords: list[KeywordDefinition]
    template: TemplateDefinition | None
    message: LocalizedMessage | None
    name: str
    attributes: list[str]
    """``name=value`` each, for tools (``attributes="FILE=source.c;LINE=12"``)."""

    element: Element
    """The element in the manifest."""


@dataclass(eq=False, slots=True)
class ProviderDefinition:
    """A provider. Lists are in the manifest's order; Windows' own definitions follow in the order of their first use."""

    name: str
    guid: bytes
    control_guid: bytes
    group_guid: bytes
    message: LocalizedMessage | None
    channels: list[ChannelDefinition] = field(default_factory=list)
    levels: list[LevelDefinition] = field(default_factory=list)
    tasks: list[TaskDefinition] = field(default_factory=list)
    opcodes: list[OpcodeDefinition] = field(default_factory=list)
    keywords: list[KeywordDefinition] = field(default_factory=list)
    maps: list[MapDefinition] = field(default_factory=list)
    pattern_maps: list[PatternMapDefinition] = field(default_factory=list)
    templates: list[TemplateDefinition] = field(default_factory=list)
    filters: list[FilterDefinition] = field(default_factory=list)
    events: list[EventDefinition] = field(default_factory=list)

    def all_opcodes(self) -> list[OpcodeDefinition]:
        """Return the provider's opcodes, then those of its tasks."""
        return [*self.opcodes, *(each for task in self.tasks for each in task.opcodes.values())]


@dataclass(slots=True)
class ManifestDefinition:
    """The content of a manifest. ``cultures`` are the names of its languages, the first being the primary one."""

    providers: list[ProviderDefinition]
    cultures: list[str]
    messages: list[LocalizedMessage]
