# SPDX-License-Identifier: MIT
"""The definitions of a provider to which its events refer: channels, levels, tasks, opcodes, keywords, maps, filters.

Duplicates in a list are checked here: names, values and symbols.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.driver.instrumentation import attributes
from harness.driver.instrumentation import model as m
from harness.driver.instrumentation.attributes import QName
from harness.driver.instrumentation.source import Element, choices
from harness.driver.instrumentation.strings import Strings
from harness.driver.instrumentation.vocabulary import WIN

NONE: frozenset[str] = frozenset()
LEAST_LEVEL, LEAST_OPCODE, MOST_OPCODE, LEAST_CHANNEL = 16, 10, 239, 16
MOST_CHANNELS = 8
"""W32:WES/eventmanifestschema-channellisttype-complextype.md."""

MOST_KEYWORD_BIT = 47
"""W32:WES/eventmanifestschema-keywordtype-complextype.md."""

LONGEST_CHANNEL = 255
KINDS = frozenset({"Admin", "Operational", "Analytic", "Debug"})
ISOLATIONS = frozenset({"Application", "System", "Custom"})
_CHANNEL = frozenset({"name", "chid", "type", "symbol", "access", "isolation", "enabled", "value", "message"})
_LOGGING = frozenset({"autoBackup", "retention", "maxSize"})
_PUBLISHING = frozenset(
    {
        "level", "keywords", "controlGuid", "bufferSize", "fileMax", "minBuffers", "maxBuffers", "latency", "clockType", "sidType",
    }
)  # fmt: skip


class Once:
    """A check for duplicates in a list, by attribute."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, object], int] = {}

    def check(self, element: Element, attribute: str, value: object, what: str = "") -> None:
        """Raise BadDocument if another element has this value for the attribute. Empty values do not count.

        ``what`` names the duplicate if it is more than the attribute.
        """
        if value in ("", None, b""):
            return
        if (attribute, value) in self._seen:
            raise element.error(
                f"another one, on line {self._seen[attribute, value]}, has the same {what or attribute}",
                attribute=attribute,
                hint=f"Give each <{element.tag}> its own {what or attribute}.",
            )
        self._seen[attribute, value] = element.line


class Definitions:
    """A reader of one provider's lists, each into a dictionary in the manifest's order. Raises BadDocument."""

    def __init__(self, provider: Element, strings: Strings) -> None:
        self._provider = provider
        self._strings = strings

    def channels(self) -> list[tuple[m.ChannelDefinition, bool]]:
        """Return the channels, each with whether the manifest gives its value or one must be chosen."""
        once = Once()
        found = []
        for element in self._provider.grandchildren("channels", "channel", "importChannel"):
            imported = element.tag == "importChannel"
            channel = self._imported_channel(element) if imported else self._channel(element)
            once.check(element, "name", channel.name)
            once.check(element, "chid", channel.chid)
            once.check(element, "symbol", attributes.symbol(element))
            given = "value" in element.attributes
            once.check(element, "value", channel.value if given else None)
            found.append((channel, given))
        if len(found) > MOST_CHANNELS:
            raise self._provider.error(
                f"has {len(found)} channels, and a provider can have {MOST_CHANNELS}",
                hint="Write its events to fewer channels, imported ones included.",
            )
        return found

    def levels(self) -> dict[tuple[str, str], m.LevelDefinition]:
        """Return the levels by qualified name."""
        once = Once()
        found = {}
        for element in self._provider.grandchildren("levels", "level"):
            name = self._head(element, once, frozenset({"name", "symbol", "value", "message"}))
            value = attributes.ranged(element, "value", 8, LEAST_LEVEL, 255)
            once.check(element, "value", value)
            found[name.key] = m.LevelDefinition(name.shown, value, self._strings.find(element))
        return found

    def tasks(self) -> dict[tuple[str, str], m.TaskDefinition]:
        """Return the tasks by qualified name, with their opcodes."""
        once = Once()
        found = {}
        allowed = frozenset({"name", "symbol", "value", "eventGUID", "message"})
        for element in self._provider.grandchildren("tasks", "task"):
            name = self._head(element, once, allowed, frozenset({"opcodes", "event"}))
            value = attributes.number(element, "value", 16)
            once.check(element, "value", value)
            guid = attributes.guid(element, "eventGUID")
            once.check(element, "eventGUID", guid)
            task = m.TaskDefinition(name.shown, value, self._strings.find(element), guid)
            for holder in element.children("opcodes"):
                task.opcodes |= self.opcodes(holder, task=value)
            found[name.key] = task
        return found

    def global_opcodes(self) -> dict[tuple[str, str], m.OpcodeDefinition]:
        """Return the opcodes of the provider itself by qualified name."""
        found: dict[tuple[str, str], m.OpcodeDefinition] = {}
        for holder in self._provider.children("opcodes"):
            found |= self.opcodes(holder)
        return found

    def opcodes(self, holder: Element, task: int = 0) -> dict[tuple[str, str], m.OpcodeDefinition]:
        """Return the opcodes in one element, a task's or the provider's (0)."""
        once = Once()
        found = {}
        attributes.check_names(holder, NONE, frozenset({"opcode"}))
        for element in holder.children("opcode"):
            name = self._head(element, once, frozenset({"name", "symbol", "value", "mofValue", "message"}))
            value = attributes.ranged(element, "value", 8, LEAST_OPCODE, MOST_OPCODE)
            attributes.number(element, "mofValue", 8, default=0)
            once.check(element, "value", value)
            found[name.key] = m.OpcodeDefinition(name.shown, value, self._strings.find(element), task)
        return found

    def keywords(self) -> dict[tuple[str, str], m.KeywordDefinition]:
        """Return the keywords by qualified name."""
        once = Once()
        found = {}
        for element in self._provider.grandchildren("keywords", "keyword"):
            name = self._head(element, once, frozenset({"name", "symbol", "mask", "message"}))
            mask = attributes.mask(element, "mask", 64)
            if mask.bit_count() != 1 or mask.bit_length() - 1 > MOST_KEYWORD_BIT:
                raise element.error(
                    f"a keyword's mask has one bit, which is one of the lowest {MOST_KEYWORD_BIT + 1}",
                    attribute="mask",
                    hint=f"Write 0x1, 0x2, 0x4 and so on up to {1 << MOST_KEYWORD_BIT:#x}.",
                )
            once.check(element, "mask", mask)
            found[name.key] = m.KeywordDefinition(name.shown, mask, self._strings.find(element))
        return found

    def maps(self) -> dict[str, m.MapDefinition]:
        """Return the maps by name."""
        once = Once()
        found = {}
        for element in self._provider.grandchildren("maps", "valueMap", "bitMap"):
            attributes.check_names(element, frozenset({"name", "symbol"}), frozenset({"map"}))
            name = attributes.text(element, "name")
            once.check(element, "name", name)
            once.check(element, "symbol", attributes.symbol(element))
            found[name] = self._map(element, name)
        return found

    def pattern_maps(self) -> list[m.PatternMapDefinition]:
        """Return the named queries."""
        once = Once()
        found = []
        for queries in self._provider.grandchildren("namedQueries", "patternMaps"):
            for element in queries.children("patternMap"):
                attributes.check_names(element, frozenset({"name", "format", "symbol"}), frozenset({"map"}))
                name, form = attributes.text(element, "name"), attributes.text(element, "format")
                once.check(element, "name", name)
                once.check(element, "symbol", attributes.symbol(element))
                items = []
                within = Once()
                for item in element.children("map"):
                    attributes.check_names(item, frozenset({"name", "value", "symbol"}), NONE)
                    value = attributes.text(item, "value")
                    within.check(item, "value", value)
                    items.append((attributes.text(item, "name"), value))
                found.append(m.PatternMapDefinition(name, form, items))
        return found

    def filters(self, templates: Mapping[str, m.TemplateDefinition]) -> list[m.FilterDefinition]:
        """Return the filters."""
        once = Once()
        found = []
        allowed = frozenset({"name", "symbol", "value", "version", "tid", "message"})
        for element in self._provider.grandchildren("filters", "filter"):
            name = self._head(element, once, allowed)
            value = attributes.number(element, "value", 8)
            version = attributes.number(element, "version", 8, default=0)
            once.check(element, "value", (value, version), "value and version")
            template = find_template(element, "tid", templates)
            found.append(
                m.FilterDefinition(name.shown, value, version, template, self._strings.find(element))
            )
        return found

    def _head(
        self, element: Element, once: Once, allowed: frozenset[str], children: frozenset[str] = NONE
    ) -> QName:
        """Return the name of a definition after the checks common to all definitions."""
        attributes.check_names(element, allowed, children)
        name = attributes.qualified(element, "name")
        if name.namespace == WIN:
            raise element.error(
                "the namespace win is Windows' own",
                attribute="name",
                hint="Define it under a name without win:.",
            )
        once.check(element, "name", name.key)
        once.check(element, "symbol", attributes.symbol(element))
        return name

    def _map(self, element: Element, name: str) -> m.MapDefinition:
        bits = element.tag == "bitMap"
        once = Once()
        items = []
        for item in element.children("map"):
            attributes.check_names(item, frozenset({"value", "message", "symbol"}), NONE)
            value = attributes.mask(item, "value", 32) if bits else attributes.number(item, "value", 32)
            if bits and value.bit_count() > 1:
                raise item.error(
                    "a bit map's value has one bit", attribute="value", hint="Write 0x1, 0x2, 0x4 and so on."
                )
            once.check(item, "value", value)
            once.check(item, "symbol", attributes.symbol(item))
            message = self._strings.find(item, required=True)
            assert message is not None
            items.append((value, message))
        if not items:
            raise element.error(
                "has no <map>", hint='Add <map value="1" message="$(string.ID)"/>, or remove it.'
            )
        return m.MapDefinition(name, bits, items)

    def _channel(self, element: Element) -> m.ChannelDefinition:
        attributes.check_names(element, _CHANNEL, frozenset({"logging", "publishing"}))
        for child in element.children():
            attributes.check_names(child, NONE, _LOGGING if child.tag == "logging" else _PUBLISHING)
        name = attributes.resource_name(element, "a channel", LONGEST_CHANNEL)
        for attribute, known in (("type", KINDS), ("isolation", ISOLATIONS)):
            required = attribute == "type"
            given = attributes.text(element, attribute) if required else element.attributes.get(attribute)
            if given is not None and given not in known:
                raise element.error(
                    f"is not a {attribute} of channels",
                    attribute=attribute,
                    hint=f"There are: {', '.join(sorted(known))}.",
                )
        attributes.flag(element, "enabled")
        value = 0
        if "value" in element.attributes:
            value = attributes.ranged(element, "value", 8, LEAST_CHANNEL, 255)
        return m.ChannelDefinition(
            name=name,
            chid=attributes.optional_token(element, "chid"),
            value=value,
            kind=element.attributes["type"],
            message=self._strings.find(element),
            imported=False,
        )

    def _imported_channel(self, element: Element) -> m.ChannelDefinition:
        attributes.check_names(element, frozenset({"name", "chid", "symbol"}), NONE)
        chid = attributes.optional_token(element, "chid")
        return m.ChannelDefinition(
            attributes.resource_name(element, "a channel", LONGEST_CHANNEL), chid, 0, "", None, imported=True
        )


def find_template(
    element: Element, attribute: str, templates: Mapping[str, m.TemplateDefinition]
) -> m.TemplateDefinition | None:
    """Return the template that an attribute names, None without the attribute. Raises BadDocument."""
    name = attributes.optional_token(element, attribute)
    if name and name not in templates:
        raise element.error("there is no such template", attribute=attribute, hint=choices(name, templates))
    return templates[name] if name else None
