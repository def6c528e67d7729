# SPDX-License-Identifier: MIT
"""The message table: numbers for the strings that a manifest uses, and the resource that has their texts.

A number says what kind of thing the text belongs to (four bits), to which provider (four bits), and to which thing: an
event's number is its version and value, a level's its value. A string with several users has the number of the first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import count

from harness.driver.instrumentation.model import LocalizedMessage, ManifestDefinition, ProviderDefinition
from harness.errors import BadDocument

KEYWORD, OPCODE, LEVEL, TASK, CHANNEL, EVENT, VALUE_MAP, BIT_MAP = 0x1, 0x3, 0x5, 0x7, 0x9, 0xB, 0xD, 0xF
CLASSIC_EVENT = 0x0
FILTER_FLAG = 0x80 << 16
UNICODE = 1
NO_MESSAGE = 0xFFFFFFFF
_HEAD = struct.Struct("<HH")
_BLOCK = struct.Struct("<III")


def assign_numbers(manifest: ManifestDefinition, name: str) -> None:
    """Give each used string its number. Raises BadDocument if two would have the same."""
    taken: dict[int, LocalizedMessage] = {}
    for message in manifest.messages:
        if message.fixed:
            taken[message.number or 0] = message
    for index, provider in enumerate(manifest.providers):
        for used, kind, value in _uses(provider):
            if used is None or used.number is not None:
                continue
            number = kind << 28 | index << 24 | value & 0xFFFFFF
            if number in taken:
                raise BadDocument(
                    f"{name}: the strings {taken[number].key!r} and {used.key!r} would both be message {number:#010x}",
                    hint="Let both use one string, or number one of them in a <messageTable>.",
                )
            taken[number] = used
            used.number = number


def message_table(manifest: ManifestDefinition, culture: str) -> bytes:
    """Return the resource with the texts of one culture, b"" if there are none."""
    texts = {
        message.number: message.texts[culture]
        for message in manifest.messages
        if message.number is not None and culture in message.texts
    }
    if not texts:
        return b""
    blocks: list[list[int]] = []
    for number in sorted(texts):
        if blocks and blocks[-1][-1] + 1 == number:
            blocks[-1].append(number)
        else:
            blocks.append([number])
    made = bytearray(struct.pack("<I", len(blocks)) + bytes(_BLOCK.size * len(blocks)))
    for index, block in enumerate(blocks):
        _BLOCK.pack_into(made, 4 + index * _BLOCK.size, block[0], block[-1], len(made))
        for number in block:
            made += _entry(texts[number])
    return bytes(made)


def _entry(text: str) -> bytes:
    """Return one text with its head. The text ends with a line break and NUL, and is padded to 4 bytes."""
    units = f"{text}\r\n\0".encode("utf-16-le")
    size = _HEAD.size + -(-len(units) // 4) * 4
    return _HEAD.pack(size, UNICODE) + units.ljust(size - _HEAD.size, b"\0")


def _uses(provider: ProviderDefinition) -> Iterator[tuple[LocalizedMessage | None, int, int]]:
    """Yield every use of a string with its kind and value, in the order in which numbers are given."""
    channels = count(1)
    for message in (provider.message, *(channel.message for channel in provider.channels)):
        if message is not None and message.number is None:
            yield message, CHANNEL, next(channels)
    for level in provider.levels:
        yield level.message, LEVEL, level.value
    for task in provider.tasks:
        yield task.message, TASK, task.value
    for opcode in provider.all_opcodes():
        yield opcode.message, OPCODE, (opcode.task & 0xFF) << 16 | opcode.value
    for keyword in provider.keywords:
        yield keyword.message, KEYWORD, keyword.value.bit_length()
    for event in provider.events:
        classic = event.channel is not None and event.channel.classic
        yield event.message, CLASSIC_EVENT if classic else EVENT, event.version << 16 | event.value
    items = {False: count(1), True: count(1)}
    for each in provider.maps:
        for _, text in each.items:
            if text.number is None:
                yield text, BIT_MAP if each.bits else VALUE_MAP, next(items[each.bits])
    for one in provider.filters:
        yield one.message, LEVEL, FILTER_FLAG | one.version << 8 | one.value
