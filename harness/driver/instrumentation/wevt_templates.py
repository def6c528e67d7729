# SPDX-License-Identifier: MIT
"""The templates of WEVT_TEMPLATE: each has its binary XML, a description of its fields, and their names."""

from __future__ import annotations

import struct

from harness.driver.instrumentation import binary_xml
from harness.driver.instrumentation import model as m
from harness.driver.instrumentation.vocabulary import IN_TYPES
from harness.driver.instrumentation.wevt_image import LIST, WevtImage

STRUCTURE, FIXED_LENGTH, VARIABLE_LENGTH, FIXED_COUNT, VARIABLE_COUNT = 1, 2, 4, 8, 16
EVENT_DATA, USER_DATA = 1, 2
_SID = IN_TYPES["SID"].value
_TEMPLATE = struct.Struct("<4sIIIII16s")
_FIELD = struct.Struct("<IBBHIHHI")
_STRUCTURE = struct.Struct("<IHHIHHI")


def write_templates(image: WevtImage, provider: m.ProviderDefinition) -> None:
    """Append the templates in the provider's order."""
    start = image.reserve(LIST.size)
    for each in provider.templates:
        _write(image, each)
    image.finish(b"TTBL", start, len(provider.templates))


def _write(image: WevtImage, template: m.TemplateDefinition) -> None:
    types = [binary_xml.value_type(each) for each in template.fields]
    root = binary_xml.tree(template)
    user = template.user_data is not None
    start = image.reserve(_TEMPLATE.size)
    image.mark(template, start)
    image.made += binary_xml.fragment(root, types)
    # The fields, then the members of the first structure, of the second, and so on. A member's references are relative to
    # the first member of its structure.
    rows = [(each, 0) for each in template.fields]
    for each in template.fields:
        base = len(rows)
        rows += [(member, base) for member in each.members or ()]
    fields = image.reserve(_FIELD.size * len(rows))
    following = len(template.fields)
    for index, (each, base) in enumerate(rows):
        name = image.counted(each.name)
        place = fields + index * _FIELD.size
        image.made[place : place + _FIELD.size] = _entry(image, each, base, following, name)
        following += len(each.members or ())
    _TEMPLATE.pack_into(
        image.made,
        start,
        b"TEMP",
        image.end - start,
        len(template.fields),
        len(rows),
        fields,
        USER_DATA if user else EVENT_DATA,
        binary_xml.identifier(root, types, indented=user),
    )


def _entry(image: WevtImage, each: m.FieldDefinition, base: int, following: int, name: int) -> bytes:
    """Return the description of a field; ``following`` is the index of the first member not yet in a structure."""
    flags = _flag(each.length, FIXED_LENGTH, VARIABLE_LENGTH) | _flag(each.count, FIXED_COUNT, VARIABLE_COUNT)
    sizes = _size(each.count, base), _size(each.length, base)
    if each.members is not None:
        return _STRUCTURE.pack(flags | STRUCTURE, following, len(each.members), 0, *sizes, name)
    if each.in_type == _SID:
        flags &= ~FIXED_LENGTH
    return _FIELD.pack(flags, each.in_type, each.out_type, 0, image.place(each.map), *sizes, name)


def _flag(extent: m.Extent, fixed: int, variable: int) -> int:
    if extent.reference is not None:
        return variable
    return fixed if extent.fixed else 0


def _size(extent: m.Extent, base: int) -> int:
    return extent.fixed if extent.reference is None else base + extent.reference
