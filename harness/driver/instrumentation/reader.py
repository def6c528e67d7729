# SPDX-License-Identifier: MIT
"""The reader of manifests: providers and their events, with every reference resolved (W32:WES/eventmanifestschema-schema.md)."""

from __future__ import annotations

from harness.driver.instrumentation import attributes
from harness.driver.instrumentation import model as m
from harness.driver.instrumentation.definitions import NONE, Definitions, Once
from harness.driver.instrumentation.events import EventReader
from harness.driver.instrumentation.fields import read_template
from harness.driver.instrumentation.imports import resolve_imports
from harness.driver.instrumentation.source import ASSEMBLY, EVENTS, OWN, Element
from harness.driver.instrumentation.strings import Strings

MOST_PROVIDERS = 16
"""A message number has four bits for the provider."""

LONGEST_NAME = 255
_PROVIDER = frozenset(
    {
        "name", "guid", "symbol", "resourceFileName", "messageFileName", "parameterFileName", "helpLink", "message", "source",
        "warnOnApplicationCompatibilityError", "controlGuid", "namespace",
    }
)  # fmt: skip
_LISTS = {
    "channels": frozenset({"channel", "importChannel"}),
    "levels": frozenset({"level"}),
    "tasks": frozenset({"task"}),
    "opcodes": frozenset({"opcode"}),
    "keywords": frozenset({"keyword"}),
    "maps": frozenset({"valueMap", "bitMap"}),
    "namedQueries": frozenset({"patternMaps"}),
    "templates": frozenset({"template"}),
    "events": frozenset({"event"}),
    "filters": frozenset({"filter"}),
    "traits": NONE,
}
_GUID_DIGITS = 32


def read_manifest(root: Element) -> m.ManifestDefinition:
    """Return the content of a manifest. Raises BadDocument for the first error."""
    if root.namespace not in OWN or root.tag not in ("instrumentationManifest", "assembly"):
        raise root.error(
            "is not the root of an instrumentation manifest",
            hint=f'Begin with <instrumentationManifest xmlns="{EVENTS}" …> or <assembly xmlns="{ASSEMBLY}" …>.',
        )
    strings = Strings(root)
    _read_message_table(root, strings)
    once = Once()
    providers = []
    readers = []
    for element in root.grandchildren("instrumentation", "events"):
        attributes.check_names(element, NONE, frozenset({"provider", "messageTable"}))
        for child in element.children("provider"):
            provider, reader = _read_provider(child, strings, once)
            providers.append(provider)
            readers.append((child, reader))
            if len(providers) > MOST_PROVIDERS:
                raise child.error(
                    f"is one provider more than the {MOST_PROVIDERS} that a manifest can have",
                    hint="Put it into its own manifest.",
                )
    resolve_imports(providers, strings)
    for element, reader in readers:
        reader.read(element)
    return m.ManifestDefinition(providers, strings.cultures, strings.all())


def _read_message_table(root: Element, strings: Strings) -> None:
    """Give the strings in a messageTable their numbers."""
    once = Once()
    for events in root.grandchildren("instrumentation", "events"):
        for element in events.grandchildren("messageTable", "message"):
            attributes.check_names(element, frozenset({"value", "message", "symbol", "mid"}), NONE)
            message = strings.find(element, required=True)
            assert message is not None
            value = attributes.number(element, "value", 32)
            once.check(element, "value", value)
            once.check(element, "message", message.key)
            once.check(element, "symbol", attributes.symbol(element))
            message.number, message.fixed = value, True


def _read_provider(
    element: Element, strings: Strings, once: Once
) -> tuple[m.ProviderDefinition, EventReader]:
    """Return a provider with its definitions, and the reader of its events for when all channels are known."""
    attributes.check_names(element, _PROVIDER, frozenset(_LISTS))
    for child in element.children():
        if child.tag != "traits":
            attributes.check_names(child, NONE, _LISTS[child.tag])
    name = attributes.resource_name(element, "a provider", LONGEST_NAME)
    once.check(element, "name", name)
    if "guid" not in element.attributes:
        attributes.text(element, "guid")
    guid = attributes.guid(element, "guid") or bytes(16)
    once.check(element, "guid", guid)
    if "symbol" not in element.attributes:
        attributes.text(element, "symbol")
    once.check(element, "symbol", attributes.symbol(element))
    for file in ("resourceFileName", "messageFileName"):
        attributes.text(element, file)
    control = attributes.guid(element, "controlGuid")
    if control and not _ends_with(name, element.attributes["guid"]):
        raise element.error(
            "with a controlGuid the provider's name ends with its guid",
            attribute="name",
            hint=f'Write name="{name[:80]}.{element.attributes["guid"].strip("{}")}".',
        )
    definitions = Definitions(element, strings)
    channels = definitions.channels()
    levels, tasks, opcodes = definitions.levels(), definitions.tasks(), definitions.global_opcodes()
    keywords, maps = definitions.keywords(), definitions.maps()
    templates = _read_templates(element, maps)
    provider = m.ProviderDefinition(
        name=name,
        guid=guid,
        control_guid=control,
        group_guid=_group(element),
        message=strings.find(element),
        channels=[channel for channel, _ in channels],
        levels=list(levels.values()),
        tasks=list(tasks.values()),
        opcodes=list(opcodes.values()),
        keywords=list(keywords.values()),
        maps=list(maps.values()),
        pattern_maps=definitions.pattern_maps(),
        templates=list(templates.values()),
        filters=definitions.filters(templates),
    )
    _number_channels(provider, {id(channel) for channel, given in channels if given})
    reader = EventReader(provider, strings, levels, tasks, opcodes, keywords, templates)
    return provider, reader


def _read_templates(element: Element, maps: dict[str, m.MapDefinition]) -> dict[str, m.TemplateDefinition]:
    once = Once()
    found = {}
    for child in element.grandchildren("templates", "template"):
        template = read_template(child, maps)
        once.check(child, "tid", template.tid)
        once.check(child, "name", template.name)
        found[template.tid] = template
    return found


def _number_channels(provider: m.ProviderDefinition, given: set[int]) -> None:
    """Give each channel without a value the lowest free one, and each channel its keyword bit from the highest down."""
    taken = {channel.value for channel in provider.channels if id(channel) in given}
    following = iter(value for value in range(16, 256) if value not in taken)
    for index, channel in enumerate(provider.channels):
        if id(channel) not in given:
            channel.value = next(following)
        channel.bit = 1 << (63 - index)


def _group(element: Element) -> bytes:
    group = b""
    for traits in element.children("traits"):
        attributes.check_names(traits, frozenset({"groupGuid", "includeName"}), NONE)
        attributes.flag(traits, "includeName")
        group = attributes.guid(traits, "groupGuid")
    return group


def _ends_with(name: str, guid: str) -> bool:
    """Return whether the last 32 hexadecimal digits of a name, ignoring other characters, are those of a GUID."""
    digits = "".join(each for each in name if each in "0123456789abcdefABCDEF")
    return digits[-_GUID_DIGITS:].lower() == guid.strip("{} ").replace("-", "").lower()
