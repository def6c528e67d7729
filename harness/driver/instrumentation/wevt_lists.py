# SPDX-License-Identifier: MIT
"""Blocks of WEVT_TEMPLATE that are lists of definitions: channels, opcodes, levels, tasks, keywords, maps, named queries."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from harness.driver.instrumentation import model as m
from harness.driver.instrumentation.wevt_image import LIST, WevtImage, number_of

_CHANNEL = struct.Struct("<IIII")
_OPCODE = struct.Struct("<HHII")
_LEVEL = struct.Struct("<III")
_TASK = struct.Struct("<II16sI")
_KEYWORD = struct.Struct("<QII")
_MAP = struct.Struct("<4sIIII")
_QUERY = struct.Struct("<4sIIII")
_PAIR = struct.Struct("<II")
_OFFSET = struct.Struct("<I")


class _Definition(Protocol):
    name: str


_D = TypeVar("_D", bound=_Definition)


def write_channels(image: WevtImage, provider: m.ProviderDefinition) -> None:
    """Append the channels in the provider's order."""

    def entry(each: m.ChannelDefinition, name: int) -> bytes:
        return _CHANNEL.pack(each.imported, name, each.value, number_of(each.message))

    _write(image, b"CHAN", provider.channels, _CHANNEL.size, entry)


def write_opcodes(image: WevtImage, provider: m.ProviderDefinition) -> None:
    """Append the opcodes, those of tasks included, by value and task."""

    def entry(each: m.OpcodeDefinition, name: int) -> bytes:
        return _OPCODE.pack(each.task, each.value, number_of(each.message), name)

    opcodes = sorted(provider.all_opcodes(), key=lambda each: (each.value, each.task))
    _write(image, b"OPCO", opcodes, _OPCODE.size, entry)


def write_levels(image: WevtImage, provider: m.ProviderDefinition) -> None:
    """Append the levels by value."""

    def entry(each: m.LevelDefinition, name: int) -> bytes:
        return _LEVEL.pack(each.value, number_of(each.message), name)

    _write(image, b"LEVL", sorted(provider.levels, key=lambda each: each.value), _LEVEL.size, entry)


def write_tasks(image: WevtImage, provider: m.ProviderDefinition) -> None:
    """Append the tasks in the provider's order."""

    def entry(each: m.TaskDefinition, name: int) -> bytes:
        return _TASK.pack(each.value, number_of(each.message), each.guid or bytes(16), name)

    _write(image, b"TASK", provider.tasks, _TASK.size, entry)


def write_keywords(image: WevtImage, provider: m.ProviderDefinition) -> None:
    """Append the keywords by mask."""

    def entry(each: m.KeywordDefinition, name: int) -> bytes:
        return _KEYWORD.pack(each.value, number_of(each.message), name)

    _write(image, b"KEYW", sorted(provider.keywords, key=lambda each: each.value), _KEYWORD.size, entry)


def write_maps(image: WevtImage, provider: m.ProviderDefinition) -> None:
    """Append the maps: offsets by name, the maps in the provider's order, their names by name."""
    start = image.reserve(LIST.size)
    offsets = image.reserve(_OFFSET.size * len(provider.maps))
    for each in provider.maps:
        image.mark(each, image.reserve(_MAP.size + _PAIR.size * len(each.items)))
    for index, each in enumerate(sorted(provider.maps, key=lambda each: each.name)):
        _OFFSET.pack_into(image.made, offsets + index * _OFFSET.size, image.place(each))
        _write_map(image, each, image.counted(each.name))
    image.finish(b"MAPS", start, len(provider.maps))


def write_pattern_maps(image: WevtImage, provider: m.ProviderDefinition) -> None:
    """Append the named queries. The size of each covers its start up to the end of its texts."""
    start = image.reserve(LIST.size)
    offsets = image.reserve(_OFFSET.size * len(provider.pattern_maps))
    places = [image.reserve(_QUERY.size + _PAIR.size * len(each.items)) for each in provider.pattern_maps]
    for index, (each, place) in enumerate(zip(provider.pattern_maps, places, strict=True)):
        _OFFSET.pack_into(image.made, offsets + index * _OFFSET.size, place)
        _write_query(image, each, place)
    image.finish(b"QTAB", start, len(provider.pattern_maps))


def _write(
    image: WevtImage, tag: bytes, definitions: Sequence[_D], size: int, entry: Callable[[_D, int], bytes]
) -> None:
    """Append a list: entries of one size, made with the offsets of their names, then the names."""
    start = image.reserve(LIST.size)
    entries = image.reserve(size * len(definitions))
    for index, each in enumerate(definitions):
        place = entries + index * size
        image.mark(each, place)
        name = image.counted(each.name)
        image.made[place : place + size] = entry(each, name)
    image.finish(tag, start, len(definitions), sizeless=not definitions)


def _write_map(image: WevtImage, each: m.MapDefinition, name: int) -> None:
    place = image.place(each)
    size = _MAP.size + _PAIR.size * len(each.items)
    _MAP.pack_into(
        image.made, place, b"BMAP" if each.bits else b"VMAP", size, name, int(each.bits), len(each.items)
    )
    for index, (value, message) in enumerate(sorted(each.items, key=lambda item: item[0])):
        _PAIR.pack_into(image.made, place + _MAP.size + index * _PAIR.size, value, number_of(message))


def _write_query(image: WevtImage, each: m.PatternMapDefinition, place: int) -> None:
    name, form = image.counted(each.name), image.counted(each.format)
    for index, (key, value) in enumerate(each.items):
        pair = image.counted(key), image.counted(value)
        _PAIR.pack_into(image.made, place + _QUERY.size + index * _PAIR.size, *pair)
    _QUERY.pack_into(image.made, place, b"QUER", image.end - place, name, form, len(each.items))
