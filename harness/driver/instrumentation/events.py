# SPDX-License-Identifier: MIT
"""The events of a provider (W32:WES/eventmanifestschema-eventdefinitiontype-complextype.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from harness.driver.instrumentation import attributes
from harness.driver.instrumentation import model as m
from harness.driver.instrumentation.attributes import QName
from harness.driver.instrumentation.definitions import NONE, Once, find_template
from harness.driver.instrumentation.imports import standard_channel
from harness.driver.instrumentation.inserts import check_inserts
from harness.driver.instrumentation.source import Element, choices
from harness.driver.instrumentation.strings import Strings
from harness.driver.instrumentation.vocabulary import (
    CHANNELS,
    KEYWORDS,
    LEVELS,
    OPCODES,
    TASKS,
    WIN,
    Standard,
)

ADMIN_LEVELS = range(1, 5)
"""Critical to Informational: the allowed levels of an Admin channel's events."""

_EVENT = frozenset(
    {
        "value", "version", "level", "template", "channel", "keywords", "task", "opcode", "symbol", "message", "notLogged",
        "name", "attributes", "suppressProjection",
    }
)  # fmt: skip
_PAIR = re.compile(r'([^"=;]+=(?:"(?:""|[^";])+"|[^";]+))(?:;|$)')

Named = TypeVar("Named", bound=m.NamedDefinition)


@dataclass(frozen=True)
class EventReader:
    """A reader of one provider's events. Windows' own definitions are added to the provider where an event first uses them."""

    provider: m.ProviderDefinition
    strings: Strings
    levels: dict[tuple[str, str], m.LevelDefinition]
    tasks: dict[tuple[str, str], m.TaskDefinition]
    opcodes: dict[tuple[str, str], m.OpcodeDefinition]
    keywords: dict[tuple[str, str], m.KeywordDefinition]
    templates: Mapping[str, m.TemplateDefinition]

    def read(self, element: Element) -> None:
        """Read the events of the provider's element into the provider. Raises BadDocument."""
        once = Once()
        for child in element.grandchildren("events", "event"):
            event = self._event(child)
            once.check(child, "value", (event.value, event.version), "value and version")
            once.check(child, "symbol", attributes.symbol(child))
            self.provider.events.append(event)

    def _event(self, element: Element) -> m.EventDefinition:
        attributes.check_names(element, _EVENT, NONE)
        value = attributes.number(element, "value", 16)
        version = attributes.number(element, "version", 8, default=0)
        for name in ("notLogged", "suppressProjection"):
            attributes.flag(element, name)
        task = self._task(element)
        event = m.EventDefinition(
            value=value,
            version=version,
            channel=self._channel(element),
            level=self._level(element),
            opcode=self._opcode(element, task),
            task=task,
            keywords=[
                self._keyword(element, name) for name in attributes.qualified_list(element, "keywords")
            ],
            template=find_template(element, "template", self.templates),
            message=self.strings.find(element),
            name=element.attributes.get("name", ""),
            attributes=_pairs(element),
            element=element,
        )
        _check_admin(event)
        if event.message is not None:
            check_inserts(event.message, event)
        return event

    def _channel(self, element: Element) -> m.ChannelDefinition | None:
        name = attributes.optional_token(element, "channel")
        if not name:
            return None
        for channel in self.provider.channels:
            if name in (channel.chid, channel.name):
                return channel
        if name not in CHANNELS:
            known = [each.chid or each.name for each in self.provider.channels]
            raise element.error(
                "there is no such channel", attribute="channel", hint=choices(name, [*known, *CHANNELS])
            )
        channel = standard_channel(name, self.strings)
        self.provider.channels.append(channel)
        return channel

    def _level(self, element: Element) -> m.LevelDefinition | None:
        name = attributes.qualified_or_none(element, "level")
        if name is None:
            return None
        found = self.levels.get(name.key)
        if found is None:
            standard, message = self._standard(element, "level", name, LEVELS, self.levels)
            found = self.levels[name.key] = m.LevelDefinition(name.shown, standard.value, message)
            self.provider.levels.append(found)
        return found

    def _task(self, element: Element) -> m.TaskDefinition | None:
        name = attributes.qualified_or_none(element, "task")
        if name is None:
            return None
        found = self.tasks.get(name.key)
        if found is None:
            standard, message = self._standard(element, "task", name, TASKS, self.tasks)
            found = self.tasks[name.key] = m.TaskDefinition(name.shown, standard.value, message)
            self.provider.tasks.append(found)
        return found

    def _opcode(self, element: Element, task: m.TaskDefinition | None) -> m.OpcodeDefinition | None:
        name = attributes.qualified_or_none(element, "opcode")
        if name is None:
            return None
        local = {} if task is None else task.opcodes
        if name.key in local:
            return local[name.key]
        found = self.opcodes.get(name.key)
        if found is None:
            known = {**self.opcodes, **local}
            standard, message = self._standard(element, "opcode", name, OPCODES, known)
            found = self.opcodes[name.key] = m.OpcodeDefinition(name.shown, standard.value, message)
            self.provider.opcodes.append(found)
        for other in local.values():
            if other.value == found.value:
                raise element.error(
                    f"the opcode {other.name} of the event's own task has the same value, {other.value}",
                    attribute="opcode",
                    hint="Give one of the two another value.",
                )
        return found

    def _keyword(self, element: Element, name: QName) -> m.KeywordDefinition:
        found = self.keywords.get(name.key)
        if found is None:
            standard, message = self._standard(element, "keyword", name, KEYWORDS, self.keywords)
            found = self.keywords[name.key] = m.KeywordDefinition(name.shown, standard.value, message)
            self.provider.keywords.append(found)
        return found

    def _standard(
        self,
        element: Element,
        kind: str,
        name: QName,
        standards: Mapping[str, Standard],
        known: Mapping[tuple[str, str], Named],
    ) -> tuple[Standard, m.LocalizedMessage]:
        """Return Windows' definition of a name. Raises BadDocument with all existing names if there is none."""
        if name.namespace != WIN or name.local not in standards:
            names = [each.name for each in known.values()] + [f"win:{each}" for each in standards]
            attribute = "keywords" if kind == "keyword" else kind
            raise element.error(
                f"there is no {kind} {name.shown!r}",
                attribute=attribute,
                hint=choices(name.shown, dict.fromkeys(names)),
            )
        standard = standards[name.local]
        return standard, self.strings.standard(kind, name.local, standard.text)


def _check_admin(event: m.EventDefinition) -> None:
    """Raise BadDocument for an event of an Admin channel that administrators could not understand."""
    if event.channel is None or event.channel.kind != "Admin":
        return
    if event.message is None:
        raise event.element.error(
            f"is written to the Admin channel {event.channel.name} and has no message",
            hint='Add message="$(string.ID)", or write it to a channel of another type.',
        )
    if event.level is None or event.level.value not in ADMIN_LEVELS:
        raise event.element.error(
            f"is written to the Admin channel {event.channel.name} and does not have one of its levels",
            attribute="level" if event.level else "",
            hint="Add level= win:Critical, win:Error, win:Warning or win:Informational.",
        )


def _pairs(element: Element) -> list[str]:
    """Return the ``name=value`` pairs of ``attributes``, as written."""
    value = element.attributes.get("attributes", "")
    pairs = []
    position = 0
    while position < len(value):
        found = _PAIR.match(value, position)
        if found is None:
            raise element.error(
                "is not a list of name=value",
                attribute="attributes",
                hint='Separate the pairs by ;, and put a value with " or ; into quotes.',
            )
        pairs.append(found[1])
        position = found.end()
    return pairs
