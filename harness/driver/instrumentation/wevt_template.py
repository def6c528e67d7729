# SPDX-License-Identifier: MIT
"""The resource WEVT_TEMPLATE, from which Windows decodes the events of a manifest's providers.

A header (CRIM) lists the providers; each (WEVT) lists its blocks by kind, in the order of :func:`_blocks`
(libyal/libfwevt: documentation).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from harness.driver.instrumentation import wevt_events, wevt_lists, wevt_templates
from harness.driver.instrumentation.model import ManifestDefinition, ProviderDefinition
from harness.driver.instrumentation.wevt_image import WevtImage, number_of

VERSION = (5, 1)
LEVELS, TASKS, OPCODES, KEYWORDS, EVENTS, CHANNELS, MAPS, TEMPLATES, QUERIES, FILTERS = range(10)
EVENT_ATTRIBUTES, PROVIDER_ATTRIBUTES = 12, 13
_HEAD = struct.Struct("<4sIHHI")
_ENTRY = struct.Struct("<16sI")
_PROVIDER = struct.Struct("<4sIII")
_BLOCK = struct.Struct("<II")

Writer = Callable[[WevtImage, ProviderDefinition], None]


def wevt_template(manifest: ManifestDefinition) -> bytes:
    """Return the resource. The messages already have their numbers."""
    image = WevtImage()
    head = image.reserve(_HEAD.size)
    entries = image.reserve(_ENTRY.size * len(manifest.providers))
    for index, provider in enumerate(manifest.providers):
        _ENTRY.pack_into(image.made, entries + index * _ENTRY.size, provider.guid, image.end)
        _write(image, provider)
    _HEAD.pack_into(image.made, head, b"CRIM", image.end, *VERSION, len(manifest.providers))
    return bytes(image.made) + b"\0\0"


def _write(image: WevtImage, provider: ProviderDefinition) -> None:
    blocks = list(_blocks(provider))
    head = image.reserve(_PROVIDER.size)
    entries = image.reserve(_BLOCK.size * len(blocks))
    for index, (kind, write) in enumerate(blocks):
        if kind == EVENTS:
            image.align(8)
        _BLOCK.pack_into(image.made, entries + index * _BLOCK.size, kind, image.end)
        write(image, provider)
    _PROVIDER.pack_into(image.made, head, b"WEVT", image.end - head, number_of(provider.message), len(blocks))


def _blocks(provider: ProviderDefinition) -> Iterator[tuple[int, Writer]]:
    """Yield the blocks that a provider has, in their order."""
    if provider.channels:
        yield CHANNELS, wevt_lists.write_channels
    if provider.maps:
        yield MAPS, wevt_lists.write_maps
    if provider.pattern_maps:
        yield QUERIES, wevt_lists.write_pattern_maps
    if provider.templates:
        yield TEMPLATES, wevt_templates.write_templates
    yield PROVIDER_ATTRIBUTES, wevt_events.write_provider_attributes
    yield OPCODES, wevt_lists.write_opcodes
    yield LEVELS, wevt_lists.write_levels
    yield TASKS, wevt_lists.write_tasks
    yield KEYWORDS, wevt_lists.write_keywords
    if provider.events:
        yield EVENTS, wevt_events.write_events
        if any(event.name or event.attributes for event in provider.events):
            yield EVENT_ATTRIBUTES, wevt_events.write_event_attributes
    if provider.filters:
        yield FILTERS, wevt_events.write_filters
