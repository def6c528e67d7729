# SPDX-License-Identifier: MIT
"""Blocks of WEVT_TEMPLATE about events and the provider itself: events, their names and attributes, filters, traits."""

from __future__ import annotations

import struct

from harness.driver.instrumentation.model import EventDefinition, ProviderDefinition
from harness.driver.instrumentation.wevt_image import LIST, WevtImage, number_of

NAME, CONTROL_GUID, GROUP_GUID = 0x10000001, 0x20000001, 0x20000002
EVENT_NAME, EVENT_ATTRIBUTE = 0x11, 0x12
_EVENTS = struct.Struct("<4sIII")
_EVENT = struct.Struct("<HBBBBHQIIIIIIII")
_ATTRIBUTE = struct.Struct("<BBHI")
_FILTERS = struct.Struct("<4sIII")
_FILTER = struct.Struct("<BBHIII")
_TRAIT = struct.Struct("<II")
_OFFSET = struct.Struct("<I")


def write_events(image: WevtImage, provider: ProviderDefinition) -> None:
    """Append the events by value, then the offsets of their keywords in the order of the masks."""
    events = sorted(provider.events, key=lambda each: each.value)
    start = image.reserve(_EVENTS.size)
    entries = image.reserve(_EVENT.size * len(events))
    for index, event in enumerate(events):
        keywords = sorted(event.keywords, key=lambda each: each.value)
        place = image.end if keywords else 0
        image.made += b"".join(_OFFSET.pack(image.place(each)) for each in keywords)
        _EVENT.pack_into(image.made, entries + index * _EVENT.size, *_event(image, event), len(keywords), place,
                         image.place(event.channel))  # fmt: skip
    _EVENTS.pack_into(image.made, start, b"EVNT", image.end - start, len(events), 0)


def write_event_attributes(image: WevtImage, provider: ProviderDefinition) -> None:
    """Append names and attributes of events, by value and version; each text is stored once, in the order of code units."""
    events = sorted(provider.events, key=lambda each: (each.value, each.version))
    rows = []
    for event in events:
        if event.name:
            rows.append((EVENT_NAME, event, event.name))
        rows += [(EVENT_ATTRIBUTE, event, each) for each in event.attributes]
    start = image.reserve(LIST.size)
    entries = image.reserve(_ATTRIBUTE.size * len(rows))
    texts = sorted({text for _, _, text in rows}, key=lambda text: text.encode("utf-16-be"))
    places = {text: image.plain(text) for text in texts}
    for index, (kind, event, text) in enumerate(rows):
        _ATTRIBUTE.pack_into(
            image.made, entries + index * _ATTRIBUTE.size, kind, event.version, event.value, places[text]
        )
    image.made += bytes(-(image.end - start) % 4)
    image.finish(b"EVTA", start, len(rows))


def write_filters(image: WevtImage, provider: ProviderDefinition) -> None:
    """Append the filters in the provider's order. The head ends with the last filter's template, like mc.exe's."""
    start = image.reserve(_FILTERS.size)
    entries = image.reserve(_FILTER.size * len(provider.filters))
    for index, each in enumerate(provider.filters):
        entry = (
            each.value,
            each.version,
            0,
            number_of(each.message),
            image.counted(each.name),
            image.place(each.template),
        )
        _FILTER.pack_into(image.made, entries + index * _FILTER.size, *entry)
    last = image.place(provider.filters[-1].template)
    _FILTERS.pack_into(image.made, start, b"FLTR", image.end - start, len(provider.filters), last)


def write_provider_attributes(image: WevtImage, provider: ProviderDefinition) -> None:
    """Append the provider's name and, if present, the GUIDs of its control and of its group."""
    guids = [(CONTROL_GUID, provider.control_guid), (GROUP_GUID, provider.group_guid)]
    guids = [(kind, guid) for kind, guid in guids if guid]
    start = image.reserve(LIST.size)
    entries = image.reserve(_TRAIT.size * (1 + len(guids)))
    _TRAIT.pack_into(image.made, entries, NAME, image.plain(provider.name))
    for index, (kind, guid) in enumerate(guids, start=1):
        image.align(4)
        _TRAIT.pack_into(image.made, entries + index * _TRAIT.size, kind, image.end)
        image.made += guid
    image.made += bytes(-(image.end - start) % 4)
    image.finish(b"PRVA", start, 1 + len(guids))


def _event(image: WevtImage, event: EventDefinition) -> tuple[int, ...]:
    """Return the descriptor of an event and the offsets of its references, up to its task."""
    mask = event.channel.bit if event.channel else 0
    for keyword in event.keywords:
        mask |= keyword.value
    return (
        event.value,
        event.version,
        event.channel.value if event.channel else 0,
        event.level.value if event.level else 0,
        event.opcode.value if event.opcode else 0,
        event.task.value if event.task else 0,
        mask,
        number_of(event.message),
        *(image.place(each) for each in (event.template, event.opcode, event.level, event.task)),
    )
